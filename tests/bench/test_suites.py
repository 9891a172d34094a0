"""Which suites run, and what a wrong name or option is answered with."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path

import pytest

from benchmarks.__main__ import ALL
from gaitstream.bench.command import run_and_write
from gaitstream.bench.process import ContenderError
from gaitstream.bench.result import Suite, read_report
from gaitstream.bench.settings import Settings
from gaitstream.bench.suites import SUITES, Run, run_suites
from gaitstream.cli.commands.bench import bench
from gaitstream.errors import BundleError, ConfigError


@pytest.mark.parametrize("run", {**SUITES, **ALL}.values())
def test_every_suite_takes_the_settings(run: Run) -> None:
    assert list(inspect.signature(run).parameters) == ["settings"]


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'pipelin' \(did you mean pipeline\?\)"):
        run_suites(["pipelin"], Settings())


def test_what_is_no_suite_stands_alone_and_a_suite_runs_once() -> None:
    with pytest.raises(ConfigError, match="'compare' is no suite and stands alone"):
        run_suites(["gallery", "compare"], Settings())
    with pytest.raises(ConfigError, match="bench profile takes no suites, got gallery"):
        bench(argparse.Namespace(suites=["profile", "gallery"]))
    suites: dict[str, Run] = {"gallery": lambda _: Suite(name="gallery", title="Gallery", rows=[])}
    found = run_suites(["gallery", "gallery"], Settings(say=lambda _: None), suites)
    assert len(found.suites) == 1


def test_a_long_run_is_the_pipelines() -> None:
    with pytest.raises(ConfigError, match="--minutes is for the pipeline suite"):
        run_suites(["gallery"], Settings(minutes=5))


def test_a_contender_that_breaks_down_leaves_the_other_suites_alone(tmp_path: Path) -> None:
    def broken(settings: Settings) -> Suite:
        raise ContenderError(f"out of memory, quick={settings.quick}")

    def whole(_: Settings) -> Suite:
        return Suite(name="gallery", title="Gallery", rows=[])

    suites_by_name = {"events": broken, "gallery": whole}
    settings = Settings(say=lambda _: None)
    assert run_and_write(["events", "gallery"], settings, tmp_path, suites_by_name) == 1
    suites = read_report(tmp_path / "report.json").suites
    assert [(suite.name, suite.failures) for suite in suites] == [
        ("events", ["out of memory, quick=False"]),
        ("gallery", []),
    ]
    assert "FAILED: out of memory" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("error", [BundleError("there is no bundle"), OSError(28, "No space left on device")])
def test_a_suite_that_cannot_run_takes_nothing_from_those_before_it(error: Exception, tmp_path: Path) -> None:
    def refused(_: Settings) -> Suite:
        raise error

    suites: dict[str, Run] = {
        "gallery": lambda _: Suite(name="gallery", title="Gallery", rows=[]),
        "recognizer": refused,
    }
    settings = Settings(say=lambda _: None)
    assert run_and_write(["gallery", "recognizer"], settings, tmp_path, suites) == 1
    held = read_report(tmp_path / "report.json").suites
    assert [(suite.name, suite.failures) for suite in held] == [
        ("gallery", []),
        ("recognizer", [str(error)]),
    ]
    with pytest.raises(type(error)):
        run_and_write(["recognizer"], settings, tmp_path, suites)


def test_what_was_measured_before_an_interrupt_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: Settings) -> Suite:
        raise KeyboardInterrupt  # as SIGINT does where it is not ignored, as in the background of a shell

    suites: dict[str, Run] = {
        "gallery": lambda _: Suite(name="gallery", title="Gallery", rows=[]),
        "recognizer": interrupted,
        "events": lambda _: pytest.fail("runs after an interrupt"),
        "pgha": lambda _: pytest.fail("runs after an interrupt"),
    }
    settings = Settings(say=lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        run_and_write(["all"], settings, tmp_path / "out", suites)
    held = read_report(tmp_path / "out/report.json").suites
    assert [(suite.name, suite.failures) for suite in held] == [
        ("gallery", []),
        ("recognizer", ["interrupted; not begun: events, pgha"]),
    ]
    assert "FAILED recognizer: interrupted; not begun: events, pgha" in capsys.readouterr().out
    with pytest.raises(KeyboardInterrupt):
        run_and_write(["recognizer"], settings, tmp_path / "none", suites)
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_a_suite_runs_and_leaves_its_files(tmp_path: Path) -> None:
    said: list[str] = []
    assert run_and_write(["gallery"], Settings(quick=True, say=said.append), tmp_path) == 0
    report = read_report(tmp_path / "report.json")
    assert [suite.name for suite in report.suites] == ["gallery"]
    assert (tmp_path / "report.md").read_text().startswith("# Benchmark")
    assert {path.suffix for path in tmp_path.glob("gallery-scaling.*")} == {".png", ".svg"}
    assert said[0] == "suite gallery"


@pytest.mark.parametrize("where", ["report.json", "report.json/below"])
def test_nothing_is_measured_for_a_report_that_cannot_be_written(where: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").touch()
    suites: dict[str, Run] = {"gallery": lambda _: pytest.fail("measured")}
    with pytest.raises(ConfigError, match=r"report.json is no folder that can be written to; give another"):
        run_and_write(["gallery"], Settings(quick=True), tmp_path / where, suites)

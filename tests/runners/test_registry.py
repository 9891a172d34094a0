"""The runners' door: built-in runners, one that another package brings, and which of them a run takes."""

from __future__ import annotations

import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest

from gaitstream.cli import main
from gaitstream.config.schema import Config
from gaitstream.deepstream.choose import DEEPSTREAM
from gaitstream.deepstream.runner import DeepStreamPipeline
from gaitstream.errors import ConfigError, MissingExtraError, SourceError
from gaitstream.pipeline.base import Outcome, Runner, RunOptions
from gaitstream.pipeline.runner import NATIVE, Pipeline
from gaitstream.pipeline.workers import WORKERS, WorkerProcesses
from gaitstream.registry import Registry
from gaitstream.runners import registry
from gaitstream.runners.launch import exit_code

CONFIG = Config.model_validate({"cameras": [{"id": "gate", "url": "gate.mp4"}]})
RUNNERS: tuple[type[Runner], ...] = (Pipeline, WorkerProcesses, DeepStreamPipeline)
"""mypy checks here that each is a runner."""


@pytest.mark.parametrize(
    ("options", "spec"),
    [
        ({}, NATIVE),
        ({"workers": 2}, WORKERS),
        ({"frontend": "native", "workers": 2}, WORKERS),
        ({"frontend": "native"}, NATIVE),
        ({"runner": "native", "workers": 2}, NATIVE),
        ({"runner": "deepstream"}, DEEPSTREAM),
    ],
)
def test_a_run_takes_what_its_options_mean(options: dict[str, object], spec: object) -> None:
    assert registry.choose_runner(RunOptions(Path("cams.yaml"), **options), CONFIG) is spec  # type: ignore[arg-type]


def test_what_is_asked_for_and_not_there_is_an_error() -> None:
    with pytest.raises(MissingExtraError):
        registry.choose_runner(RunOptions(Path("cams.yaml"), frontend="deepstream"), CONFIG)
    with pytest.raises(ConfigError, match=r"no runner 'nativ' \(nearest: native\)"):
        registry.choose_runner(RunOptions(Path("cams.yaml"), runner="nativ"), CONFIG)


def test_the_exit_code_says_how_a_run_ended() -> None:
    ended = Outcome("interrupt", 5, 0, Counter(), {})
    assert exit_code(ended) == 130
    some = Outcome("end_of_stream", 5, 0, Counter(), {"gate": "a.mp4: no such file"})
    assert exit_code(some) == 0
    nothing = Outcome("end_of_stream", 0, 0, Counter(), {"gate": "a.mp4: no such file"})
    with pytest.raises(SourceError, match="no such file"):
        exit_code(nothing)


PACKAGE = '''
"""A runner from another package: it tells what it was asked, and ends."""

import time
from collections import Counter

from gaitstream.events import RunStopped
from gaitstream.pipeline.base import Outcome, RunnerSpec
from gaitstream.telemetry.stats import Snapshot


class Countdown:
    def __init__(self, options, config, publisher):
        self.cameras = [camera.id for camera in config.cameras]
        self.publisher = publisher

    def run(self):
        stopped = RunStopped(time_ns=time.time_ns(), run="countdown", cause="done", frames=3, tracks=0)
        self.publisher.publish(stopped)
        print("counted down over", *self.cameras)
        return Outcome("done", 3, 0, Counter(), {})

    def stop(self, cause="shutdown"):
        pass

    def snapshot(self):
        return Snapshot(time_ns=time.time_ns())

    def close(self):
        print("closed")


COUNTDOWN = RunnerSpec(suits=lambda options, config: True, open=Countdown)
'''


def test_another_packages_runner_is_taken_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Installed as pip lays it out: a module, and a folder of metadata with an entry point."""
    site = tmp_path / "site"
    metadata = site / "countdown-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "countdown.py").write_text(textwrap.dedent(PACKAGE))
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: countdown\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[gaitstream.runners]\ncountdown = countdown:COUNTDOWN\n")
    monkeypatch.syspath_prepend(str(site))
    own = {"native": "gaitstream.pipeline.runner:NATIVE"}
    monkeypatch.setattr("gaitstream.runners.registry.RUNNERS", Registry("runner", "gaitstream.runners", own))
    cams = tmp_path / "cams.yaml"
    cams.write_text("cameras:\n  - {id: gate, url: gate.mp4}\nevents: {endpoint: 'tcp://127.0.0.1:0'}\n")
    assert main(["run", "--cameras", str(cams), "--no-table", "--runner", "countdown"]) == 0
    assert capsys.readouterr().out.splitlines() == ["counted down over gate", "closed"]
    assert (tmp_path / "cams.journal").is_dir()
    sys.modules.pop("countdown")

"""Two reports compared: noise is no change, a change beyond it is."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gaitstream.bench.command import run_and_write
from gaitstream.bench.compare import compare_figures, compare_reports
from gaitstream.bench.measure import figure, time_ms
from gaitstream.bench.result import Better, Figure, Machine, Report, Row, Suite, read_report, write_report
from gaitstream.bench.settings import Settings
from gaitstream.bench.table import report_markdown
from gaitstream.cli import main
from gaitstream.errors import ConfigError

MACHINE = Machine(
    cpu="test",
    cores=2,
    instruction_sets=[],
    memory_gib=1.0,
    system="test",
    gpu="none",
    driver="",
    versions={},
)


def report(ms: list[float], better: Better = "lower") -> Report:
    row = Row(
        contender="ours",
        setting={"n": 4},
        figures={"latency": figure(ms, "ms", better)},
        floor={"latency": 2},
    )
    return Report(
        command="bench", started_utc="now", machine=MACHINE, suites=[Suite(name="s", title="S", rows=[row])]
    )


@pytest.mark.parametrize(
    ("before", "after", "better", "verdict"),
    [
        ([10.0, 10.1, 10.2, 9.9], [10.1, 10.2, 10.0, 10.3], "lower", "same"),
        ([10.0, 10.1, 10.2, 9.9], [12.0, 12.1, 12.2, 11.9], "lower", "worse"),
        ([10.0, 10.1, 10.2, 9.9], [8.0, 8.1, 8.2, 7.9], "lower", "better"),
        ([10.0, 10.1, 10.2, 9.9], [8.0, 8.1, 8.2, 7.9], "higher", "worse"),
        ([10.0, 10.1, 10.2, 9.9], [80.0, 80.1, 80.2, 79.0], "neither", "same"),
        ([5.0, 10.0, 15.0, 20.0], [8.0, 13.0, 18.0, 23.0], "lower", "same"),
        ([10.0], [11.0], "lower", "same"),
        ([10.0], [12.0], "lower", "worse"),
    ],
)
def test_verdict(before: list[float], after: list[float], better: Better, verdict: str) -> None:
    assert compare_figures(figure(before, "ms", better), figure(after, "ms", better)) == verdict


def test_reports_are_matched_by_suite_row_and_figure(tmp_path: Path) -> None:
    write_report(report([10, 10, 10]), tmp_path / "a.json")
    write_report(report([20, 20, 20]), tmp_path / "b.json")
    changes = compare_reports(read_report(tmp_path / "a.json"), read_report(tmp_path / "b.json"))
    assert [(c.row, c.figure, c.verdict, c.ratio) for c in changes] == [("ours n=4", "latency", "worse", 2.0)]


def run_again(ms: list[float], out: Path, *, fail_if_worse: bool = True) -> int:
    suites = {"s": lambda _: report(ms).suites}
    return run_and_write(["s"], Settings(quick=True), out, suites, fail_if_worse=fail_if_worse)


def test_a_run_is_compared_with_the_report_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gaitstream.bench.suites.describe", lambda: MACHINE)
    assert run_again([10, 10, 10], tmp_path) == 0
    assert "Since" not in capsys.readouterr().out
    assert run_again([20, 20, 20], tmp_path, fail_if_worse=False) == 0
    assert "| s | ours n=4 | latency [ms] | 10.0 | 20.0 | 2.00 | worse |" in capsys.readouterr().out
    assert run_again([40, 40, 40], tmp_path) == 1
    assert run_again([41, 41, 41], tmp_path) == 0
    medians = [
        read_report(tmp_path / f"{name}.json").suites[0].rows[0].figures["latency"].median
        for name in ("before", "report")
    ]
    assert medians == [40, 41]
    assert "1 of 1 figures the same within noise" in (tmp_path / "report.md").read_text()


def test_a_report_of_another_machine_is_not_compared_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gaitstream.bench.suites.describe", lambda: MACHINE)
    run_again([10, 10, 10], tmp_path)
    other = msgspec.structs.replace(MACHINE, cpu="another")
    monkeypatch.setattr("gaitstream.bench.suites.describe", lambda: other)
    assert run_again([20, 20, 20], tmp_path) == 0
    assert "of another machine" in capsys.readouterr().out
    assert read_report(tmp_path / "before.json").machine.cpu == "test"


def test_a_stored_report_that_is_damaged_is_said_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gaitstream.bench.suites.describe", lambda: MACHINE)
    (tmp_path / "report.json").write_text('{"schema": 1')
    with pytest.raises(ConfigError, match=r"report.json is not a benchmark report: .*; move it away"):
        run_again([10, 10, 10], tmp_path)
    assert run_again([10, 10, 10], tmp_path, fail_if_worse=False) == 0
    assert "Nothing to compare with" in capsys.readouterr().out
    assert (tmp_path / "before.json").read_text() == '{"schema": 1'
    assert run_again([20, 20, 20], tmp_path) == 1


def test_reports_of_two_machines_are_said_to_be_and_those_without_common_figures_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = report([10, 10, 10]), report([20, 20, 20])
    files = [str(tmp_path / name) for name in ("a.json", "b.json")]
    write_report(first, Path(files[0]))
    other = msgspec.structs.replace(MACHINE, cpu="another")
    write_report(msgspec.structs.replace(second, machine=other), Path(files[1]))
    assert main(["bench", "compare", *files]) == 1
    assert "of different machines" in capsys.readouterr().out
    write_report(msgspec.structs.replace(second, suites=[]), Path(files[1]))
    assert main(["bench", "compare", *files]) == 2
    assert "have no figure in common" in capsys.readouterr().err


def test_a_missing_or_foreign_report_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no benchmark report at .*nowhere\.json"):
        read_report(tmp_path / "nowhere.json")
    (tmp_path / "other.json").write_text('{"hello": 1}')
    with pytest.raises(ConfigError, match="is not a benchmark report"):
        read_report(tmp_path / "other.json")


def test_the_table_shows_the_ratio_to_the_floor() -> None:
    assert "10.0 (10.0..10.0), 5.00 x floor" in report_markdown(report([10, 10, 10]))


def test_time_ms_repeats_until_the_time_is_up() -> None:
    calls: list[None] = []
    times = time_ms(lambda: calls.append(None), repeats=3, warmup=2)
    assert (len(times), len(calls)) == (3, 5)
    assert figure(times, "ms").repeats == 3
    assert isinstance(figure([1.0], "ms"), Figure)

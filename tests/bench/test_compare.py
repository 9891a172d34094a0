"""Two reports compared: noise is no change, a change beyond it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaitstream.bench.compare import compare_figures, compare_reports
from gaitstream.bench.measure import figure, time_ms
from gaitstream.bench.result import Better, Figure, Machine, Report, Row, Suite, read_report, write_report
from gaitstream.bench.table import report_markdown
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

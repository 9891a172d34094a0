"""Runs suites, writes report and plots: what `gaitstream bench` and `python -m benchmarks` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gaitstream.bench.plots import draw_report
from gaitstream.bench.result import Report, write_report
from gaitstream.bench.settings import Settings
from gaitstream.bench.suites import SUITES, Run, run_suites
from gaitstream.bench.table import report_markdown


def run_and_write(
    names: Sequence[str], settings: Settings, out: Path, suites: Mapping[str, Run] = SUITES
) -> int:
    """Run suites, print their tables, write report.json, report.md and the plots.

    Returns:
        0, or 1 when a suite found a failure, such as memory that grows.
    """
    report = run_suites(names, settings, suites)
    write_report(report, out / "report.json")
    text = report_markdown(report)
    (out / "report.md").write_text(text)
    print(text)  # noqa: T201 - the command's output
    draw_report(report, out)
    charts = sum(len(suite.charts) for suite in report.suites)
    print(f"written to {out}: report.json, report.md and {charts} plots as PNG and SVG")  # noqa: T201
    return _failed(report)


def _failed(report: Report) -> int:
    failures = [f"{suite.name}: {text}" for suite in report.suites for text in suite.failures]
    for text in failures:
        print(f"FAILED {text}")  # noqa: T201
    return 1 if failures else 0


def say(line: str) -> None:
    """Print a line of progress."""
    print(f"... {line}", flush=True)  # noqa: T201

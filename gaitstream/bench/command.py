"""Runs suites, writes report and plots: what `gaitstream bench` and the scripts in benchmarks/ share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from gaitstream.bench.plots import draw_report
from gaitstream.bench.result import Report, write_report
from gaitstream.bench.suites import Settings, run_suites
from gaitstream.bench.table import report_markdown
from gaitstream.errors import GaitstreamError


def run_and_write(names: Sequence[str], settings: Settings, out: Path) -> int:
    """Run suites, print their tables, write report.json, report.md and the plots.

    Returns:
        0, or 1 when a suite found a failure, such as memory that grows.
    """
    report = run_suites(names, settings)
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


def main(suite: str, description: str | None, argv: Sequence[str] | None = None) -> int:
    """The command line of a script that runs one suite."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer settings and repetitions")
    parser.add_argument(
        "--bundle", type=Path, action="append", default=[], help="recognizer to measure; may be repeated"
    )
    parser.add_argument("--minutes", type=float, default=0.0, help="pipeline: run this long, watch growth")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="default: out/bench")
    args = parser.parse_args(argv)
    settings = Settings(quick=args.quick, bundles=args.bundle, minutes=args.minutes, say=say)
    try:
        return run_and_write([suite], settings, args.out)
    except GaitstreamError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")

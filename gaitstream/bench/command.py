"""Runs suites, writes report and plots: what `gaitstream bench` and `python -m benchmarks` share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gaitstream.bench.compare import changes_markdown, compare_reports
from gaitstream.bench.plots import draw_report
from gaitstream.bench.result import Report, read_report, write_report
from gaitstream.bench.settings import Settings
from gaitstream.bench.suites import SUITES, Run, SuitesInterrupt, run_suites
from gaitstream.bench.table import report_markdown
from gaitstream.errors import ConfigError


def run_and_write(
    names: Sequence[str],
    settings: Settings,
    out: Path,
    suites: Mapping[str, Run] = SUITES,
    *,
    fail_if_worse: bool = False,
) -> int:
    """Run suites, print their tables, write report.json, report.md and the plots.

    A report that is there already is kept as `before.json`, and compared with the new one if it is of the
    same machine.

    Args:
        names: of `suites`, or `all`.
        settings: of every suite.
        out: folder of the report.
        suites: what there is, by name.
        fail_if_worse: a figure that got worse than in the report that was there is a failure, too.

    Returns:
        0, or 1 when a suite found a failure, such as memory that grows.

    Raises:
        ConfigError: there is no such suite, nothing can be written to the folder, or the report there, with
            which `fail_if_worse` compares, cannot be read; before anything runs.
        KeyboardInterrupt: Ctrl-C; suites that were through by then are written.
    """
    check_folder(out)
    if fail_if_worse:
        _check_stored(out / "report.json")
    try:
        report = run_suites(names, settings, suites)
    except SuitesInterrupt as interrupt:
        _write(interrupt.report, out)
        _failed(interrupt.report)
        raise
    changes = _write(report, out)
    return max(_failed(report), int(fail_if_worse and changes.worse))


def _write(report: Report, out: Path) -> Since:
    """Write report and plots and print the tables; returns what changed since the report that was there."""
    changes = compare_with_stored(report, out)
    write_report(report, out / "report.json")
    text = report_markdown(report) + changes.text
    (out / "report.md").write_text(text)
    print(text)  # noqa: T201 - the command's output
    draw_report(report, out)
    charts = sum(len(suite.charts) for suite in report.suites)
    print(f"written to {out}: report.json, report.md and {charts} plots as PNG and SVG")  # noqa: T201
    return changes


def check_folder(out: Path) -> None:
    """See that a folder can be made or written to, before minutes of measuring.

    Raises:
        ConfigError: it cannot.
    """
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"--out {out}: {there} is no folder that can be written to; give another one")
    if (out / "report.json").is_dir():
        raise ConfigError(f"--out {out}: its report.json is a folder; give another one")


def _check_stored(stored: Path) -> None:
    """See that the report to compare with, if there is one, can be read."""
    try:
        if stored.exists():
            read_report(stored)
    except ConfigError as error:
        raise ConfigError(
            f"--fail-if-worse has nothing to compare with: {error}; move it away, or give another --out"
        ) from error


@dataclass(frozen=True, slots=True)
class Since:
    """What changed since the stored report: a section of the page, and whether anything got worse."""

    text: str = ""
    worse: bool = False


def compare_with_stored(report: Report, out: Path) -> Since:
    """Compare with the report in the folder, and keep that as `before.json`; nothing where there is none."""
    stored, kept = out / "report.json", out / "before.json"
    if not stored.exists():
        return Since()
    try:
        before = read_report(stored)
    except ConfigError as error:
        stored.replace(kept)
        return Since(f"\nNothing to compare with: {error}. It is kept as {kept.name}.\n")
    stored.replace(kept)
    if not before.machine.is_same(report.machine):
        return Since(
            f"\nThe report of {before.started_utc} is of another machine: nothing to compare with. It is "
            f"kept as {kept.name}.\n"
        )
    changes = compare_reports(before, report)
    busy = " Other work was going on in one of the runs." * (
        before.machine.disturbed or report.machine.disturbed
    )
    title = f"\n## Since {before.started_utc}\n\nThe same machine, beyond the noise of either run.{busy}\n\n"
    return Since(title + changes_markdown(changes), any(change.verdict == "worse" for change in changes))


def _failed(report: Report) -> int:
    failures = [f"{suite.name}: {text}" for suite in report.suites for text in suite.failures]
    for text in failures:
        print(f"FAILED {text}")  # noqa: T201
    return 1 if failures else 0


def say(line: str) -> None:
    """Print a line of progress."""
    print(f"... {line}", flush=True)  # noqa: T201

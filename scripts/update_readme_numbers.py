"""Write a benchmark report's figures into a page, between its markers.

    python scripts/update_readme_numbers.py out/bench/report.json [README.md] [--check]

The page has the lines <!-- numbers:begin --> and <!-- numbers:end -->; what stands between them is replaced.
With --check nothing is written, and the exit code is 1 when the page differs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from gaitstream.bench.result import Report, Row, read_report
from gaitstream.bench.table import format_number
from gaitstream.errors import ConfigError, GaitstreamError

BEGIN, END = "<!-- numbers:begin -->", "<!-- numbers:end -->"
SHOWN = ("analysed", "p50", "p95", "p99", "tracklet", "frame", "last", "per frame", "append", "rate", "probe")
"""Figures by name that a reader of the page looks for; the rest is in the report."""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path)
    parser.add_argument("page", type=Path, nargs="?", default=Path("README.md"))
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when the page differs")
    args = parser.parse_args(argv)
    try:
        old = read_page(args.page)
        new = replace_numbers(old, numbers(read_report(args.report)), args.page)
    except GaitstreamError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")
    if args.check:
        return int(new != old)
    args.page.write_text(new, encoding="utf-8")
    return 0


def read_page(path: Path) -> str:
    """The page's text.

    Raises:
        ConfigError: there is no such file.
    """
    if not path.is_file():
        raise ConfigError(f"there is no page {path}")
    return path.read_text(encoding="utf-8")


def replace_numbers(page: str, text: str, path: Path) -> str:
    """The page with `text` between its markers.

    Raises:
        ConfigError: the markers are not there once each, in order.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ConfigError(f"{path} needs one line {BEGIN} and, below it, one line {END}")
    head, _, rest = page.partition(BEGIN)
    return f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}"


def numbers(report: Report) -> str:
    """The machine, the command, and a table per suite."""
    machine = report.machine
    parts = [
        f"`{report.command}`, {report.started_utc}: {machine.cpu}, {machine.cores} cores, GPU {machine.gpu}."
    ]
    for suite in report.suites:
        lines = [f"**{suite.title}**", "", "| what | setting | figures |", "| --- | --- | --- |"]
        lines += [line for row in suite.rows if (line := _line(row))]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _line(row: Row) -> str:
    figures = [
        f"{name} {format_number(row.figures[name].median)} {row.figures[name].unit}"
        for name in SHOWN
        if name in row.figures
    ]
    setting = ", ".join(f"{name} {value}" for name, value in row.setting.items())
    return f"| {row.contender} | {setting} | {'; '.join(figures)} |" if figures else ""


if __name__ == "__main__":
    raise SystemExit(main())

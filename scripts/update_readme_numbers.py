"""Write a benchmark report's figures into a page, between its markers, and its plots into docs/images.

    python scripts/update_readme_numbers.py out/bench/report.json [README.md] [--images docs/images] [--check]

The page has the lines <!-- numbers:begin --> and <!-- numbers:end -->; what stands between them is replaced.
With --images plots are drawn there and shown in the benchmarks.md beside that folder. With --check nothing is
written, and the exit code is 1 when the page differs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gaitstream.bench.result import Report, Row, Suite, read_report
from gaitstream.bench.table import suite_table
from gaitstream.cli.script import run_script
from gaitstream.errors import ConfigError, GaitstreamError

BEGIN, END = "<!-- numbers:begin -->", "<!-- numbers:end -->"
SHOWN: dict[str, tuple[str, ...]] = {
    "recognizer": ("tracklet", "frame", "last"),
    "pgha": ("per frame",),
    "pipeline": ("analysed", "p50", "p95"),
    "comparison": ("analysed", "p50", "memory"),
    "events": ("append", "p50", "p99", "rate"),
    "gallery": ("probe",),
}
"""Suites and figures that a reader of the page looks for; the rest is in the report."""
PLOTS = ("pipeline-scaling", "pipeline-frame", "comparison-speed", "recognizer-biggait-throughput")
"""Plots that docs/benchmarks.md shows, between its own markers."""
PLOTS_BEGIN, PLOTS_END = "<!-- plots:begin -->", "<!-- plots:end -->"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path)
    parser.add_argument("page", type=Path, nargs="?", default=Path("README.md"))
    parser.add_argument("--images", type=Path, help="folder for the plots")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when the page differs")
    args = parser.parse_args(argv)
    try:
        report = read_report(args.report)
        old = read_page(args.page)
        new = replace_numbers(old, numbers(report), args.page)
        if args.images and not args.check:
            draw(report, args.images)
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


def replace_numbers(page: str, text: str, path: Path, begin: str = BEGIN, end: str = END) -> str:
    """The page with `text` between its markers.

    Raises:
        ConfigError: the markers are not there once each, in order.
    """
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ConfigError(f"{path} needs one line {begin} and, below it, one line {end}")
    head, _, rest = page.partition(begin)
    return f"{head}{begin}\n{text}\n{end}{rest.partition(end)[2]}"


def numbers(report: Report) -> str:
    """The machine, the command, and a short table per suite."""
    machine = report.machine
    parts = [
        f"`{report.command}`, {report.started_utc}: {machine.cpu}, {machine.cores} cores, GPU {machine.gpu}."
    ]
    parts += [shorten(suite) for suite in report.suites if suite.name in SHOWN]
    return "\n\n".join(parts)


def shorten(suite: Suite) -> str:
    """A suite's table with the figures of `SHOWN`, without its notes."""
    names = SHOWN[suite.name]
    rows = [short for row in telling(suite) if (short := pick(row, names)).figures]
    present = [name for name in names if any(name in row.figures for row in rows)]
    return suite_table(msgspec.structs.replace(suite, rows=rows, columns=present, notes=[])).strip()


def telling(suite: Suite) -> Sequence[Row]:
    """The rows a reader looks for.

    Of the pipeline, the most cameras that are carried and the first too many; of the alignment, the largest
    batch.
    """
    rows = suite.rows
    if suite.name == "pipeline":
        full = [i for i, row in enumerate(rows) if row.note.startswith("saturated")]
        return [rows[i] for place in full for i in (place - 1, place)] or rows
    if suite.name == "pgha":
        most = max((int(row.setting.get("frames", 0)) for row in rows), default=0)
        return [row for row in rows if int(row.setting.get("frames", 0)) == most]
    return rows


def pick(row: Row, names: Sequence[str]) -> Row:
    """The row with these figures without their spread, and the first words of its note."""
    figures = {name: row.figures[name] for name in names if name in row.figures}
    figures = {name: msgspec.structs.replace(found, repeats=1) for name, found in figures.items()}
    return msgspec.structs.replace(row, figures=figures, note=row.note.partition(":")[0] if row.note else "")


def draw(report: Report, folder: Path) -> None:
    """Draw the plots of `PLOTS` that the report has, and show them in the page beside the folder.

    Raises:
        ConfigError: the page or its markers are missing.
        MissingExtraError: matplotlib is not installed.
    """
    from gaitstream.bench.plots import draw_chart

    page = folder.parent / "benchmarks.md"
    old = read_page(page)
    folder.mkdir(parents=True, exist_ok=True)
    charts = [chart for suite in report.suites for chart in suite.charts if chart.name in PLOTS]
    lines = []
    for chart in charts:
        path, drawing = draw_chart(chart, folder)
        drawing.unlink()
        lines.append(f"![{chart.title}]({folder.name}/{path.name})")
    text = replace_numbers(old, "\n".join(lines), page, PLOTS_BEGIN, PLOTS_END)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run_script(main)

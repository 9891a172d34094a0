"""What `gaitstream evaluate` and `gaitstream compare` do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from gaitstream.bench.compare_models import ComparedModel, compare_bundles, compare_random
from gaitstream.cli.commands.tables import table_console
from gaitstream.engines.cache import replace_file
from gaitstream.errors import ConfigError
from gaitstream.evaluate.collecting import Videos, kept_in
from gaitstream.evaluate.evaluation import Result
from gaitstream.evaluate.evaluation import evaluate as run_evaluation
from gaitstream.evaluate.options import EvaluationOptions
from gaitstream.evaluate.page import render
from gaitstream.pipeline.sequences import VideoSequences, fingerprint

RESULT = "evaluation.json"


def evaluate(args: argparse.Namespace) -> int:
    """Evaluate a bundle, write the result and its page."""
    options = EvaluationOptions(
        bundle=args.bundle, data=args.data, protocol=args.protocol, out=args.out, runtime=args.runtime,
        precision=args.precision, partition=args.partition, probes=args.probes, frames=args.frames or None,
        processes=max(1, args.processes), metric=args.metric, site=args.cameras,
        files=tuple(name.strip() for name in args.files.split(",") if name.strip()),
    )  # fmt: skip
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("embedding sequences", total=None)
        result = run_evaluation(
            options, lambda done, total: progress.update(task, completed=done, total=total), VIDEOS
        )
    _show(result)
    with kept_in(args.out):
        replace_file(args.out / RESULT, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
        replace_file(args.out / "evaluation.html", render(result).encode())
    print(f"written to {args.out}: {RESULT}, evaluation.html, and the embeddings")
    return 0


def open_videos(options: EvaluationOptions, threads: int | None) -> VideoSequences:
    """What embeds the videos of a data set."""
    return VideoSequences(
        options.bundle, options.site, options.runtime, options.precision, threads, options.frames
    )


def key_of_models(options: EvaluationOptions) -> str:
    """What the models are that find people in videos."""
    return fingerprint(options.bundle, options.site)


VIDEOS = Videos(open_videos, key_of_models)


def compare(args: argparse.Namespace) -> int:
    """Measure bundles side by side."""
    if not args.bundles and args.random is None:
        raise ConfigError("name bundles to compare, or give --random for the published sizes")
    scores = [_read_result(path) for path in args.scores]
    rows: list[ComparedModel] = []
    try:
        for row in _compared(args, scores):
            rows.append(row)
            print(f"{row.name}: {row.tracklet_ms:.0f} ms a tracklet", file=sys.stderr, flush=True)
    except BaseException:
        if rows:  # which took minutes
            _print(rows, args)
        raise
    _print(rows, args)
    return 0


def _print(rows: list[ComparedModel], args: argparse.Namespace) -> None:
    if args.json:
        print(msgspec.json.encode(rows).decode())
    elif args.markdown:
        print("\n".join(_markdown(rows)))
    else:
        table_console().print(_table(rows))


def _compared(args: argparse.Namespace, scores: list[Result]) -> Iterator[ComparedModel]:
    yield from compare_bundles(args.bundles, args.runtime, args.precision, scores)
    if args.random is not None:
        yield from compare_random(args.random, args.runtime, args.precision)


def _table(rows: list[ComparedModel]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    cells = [_cells(row) for row in rows]
    for index, column in enumerate(_filled(cells)):
        table.add_column(column, justify="left" if index in (0, 1) else "right", overflow="fold")
    for row in cells:
        table.add_row(*(row[column] for column in _filled(cells)))
    return table


def _markdown(rows: list[ComparedModel]) -> Iterator[str]:
    cells = [_cells(row) for row in rows]
    columns = _filled(cells)
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in cells:
        yield f"| {' | '.join(row[column] for column in columns)} |"


def _filled(cells: list[dict[str, str]]) -> list[str]:
    """The columns in which somebody has something."""
    return [column for column in (cells[0] if cells else {}) if any(row[column] for row in cells)]


def _show(result: Result) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", title=f"{result.model} on {result.title}")
    for column in ("figure", "here", "published"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for index, (name, value) in enumerate(result.figures.items()):
        known = f"{result.published:.1f} %" if not index and result.published is not None else ""
        table.add_row(name, f"{value:.2f} %", known)
    if result.eer is not None:
        table.add_row("equal error rate, pairs of different views", f"{result.eer:.2f} %", "")
    Console().print(table)
    if result.identities == 1:
        print("! all sequences are of one person: with nobody to be taken for, everybody is found")


def _cells(row: ComparedModel) -> dict[str, str]:
    """A row's text by column, in the order of the table."""
    here, published = row.torch_ms, row.published_ms
    return {
        "bundle": row.name,
        "model": "" if row.name.partition(":")[0] == row.model else row.model,
        "MiB": f"{row.size_mib:.1f}",
        "GFLOP a frame": f"{row.gflop:.2f}",
        "ms a tracklet": f"{row.tracklet_ms:.0f}",
        "the next": f"{row.next_ms:.0f}",
        "after the last frame": f"{row.last_ms:.1f}",
        "PyTorch here": "" if here is None else f"{here:.0f}",
        "faster": "" if here is None else f"{here / row.tracklet_ms:.1f} x",
        "published code, elsewhere": "" if published is None else f"{published:.0f}",
        "on": f"{row.runtime} {row.precision}",
        "parity": "" if row.parity is None else f"{row.parity:.1e}",
        "accuracy": "" if row.accuracy is None else f"{row.accuracy:.1f} % ({row.protocol})",
    }


def _read_result(path: object) -> Result:
    from pathlib import Path

    try:
        found = msgspec.json.decode(Path(str(path)).read_bytes(), type=Result)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is no result of 'gaitstream evaluate': {error}") from error
    if not found.figures:
        raise ConfigError(f"{path} is no result of 'gaitstream evaluate': it has no figures")
    return found

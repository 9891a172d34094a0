"""What `gaitstream evaluate` and `gaitstream compare` do."""

from __future__ import annotations

import argparse

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from gaitstream.bench.compare_models import COLUMNS, ComparedModel, compare_bundles
from gaitstream.errors import ConfigError
from gaitstream.evaluate.evaluation import EvaluationOptions, Result
from gaitstream.evaluate.evaluation import evaluate as run_evaluation
from gaitstream.evaluate.page import render

RESULT = "evaluation.json"


def evaluate(args: argparse.Namespace) -> int:
    """Evaluate a bundle, write the result and its page."""
    options = EvaluationOptions(
        bundle=args.bundle, data=args.data, protocol=args.protocol, out=args.out, runtime=args.runtime,
        precision=args.precision, partition=args.partition, probes=args.probes, frames=args.frames or None,
        processes=max(1, args.processes), metric=args.metric,
    )  # fmt: skip
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("embedding sequences", total=None)
        result = run_evaluation(
            options, lambda done, total: progress.update(task, completed=done, total=total)
        )
    (args.out / RESULT).write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    (args.out / "evaluation.html").write_text(render(result), encoding="utf-8")
    _show(result)
    print(f"written to {args.out}: {RESULT}, evaluation.html, and the embeddings")
    return 0


def compare(args: argparse.Namespace) -> int:
    """Measure bundles side by side."""
    scores = [_read_result(path) for path in args.scores]
    rows = compare_bundles(args.bundles, args.runtime, args.precision, scores)
    if args.json:
        print(msgspec.json.encode(rows).decode())
        return 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if index in (0, 1) else "right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    Console().print(table)
    return 0


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


def _cells(row: ComparedModel) -> tuple[str, ...]:
    accuracy = "" if row.accuracy is None else f"{row.accuracy:.1f} % ({row.protocol})"
    return (
        row.name,
        row.model,
        f"{row.size_mib:.1f}",
        f"{row.gflop:.2f}",
        f"{row.tracklet_ms:.0f}",
        f"{row.last_ms:.1f}",
        f"{row.runtime} {row.precision}",
        "" if row.parity is None else f"{row.parity:.1e}",
        accuracy,
    )


def _read_result(path: object) -> Result:
    from pathlib import Path

    try:
        return msgspec.json.decode(Path(str(path)).read_bytes(), type=Result)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path} is no result of 'gaitstream evaluate': {error}") from error

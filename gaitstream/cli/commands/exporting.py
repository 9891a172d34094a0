"""The command `export`: a checkpoint becomes a bundle with its proof."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from gaitstream.cli.exporting import OPTION, installed
from gaitstream.errors import ConfigError, MissingExtraError
from gaitstream.export.report import COLUMNS, cells, conclusions

if TYPE_CHECKING:
    from gaitstream.export.parity import Report

PRECISIONS = ("fp32", "fp16")


def parse_precisions(text: str | None) -> tuple[Any, ...] | None:
    """Read precisions of graphs to store, such as `fp32,fp16`; None where nothing was asked for.

    Raises:
        ConfigError: one is unknown.
    """
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name == "bf16":
            raise ConfigError("bf16 has no graphs of its own: it is a mode of running the fp32 graphs")
        if name not in PRECISIONS:
            raise ConfigError(f"there are no {name!r} graphs: use {', '.join(PRECISIONS)}, or both")
    return names


def export(args: argparse.Namespace) -> int:
    """Export, and print the proof."""
    precisions = parse_precisions(args.precision)
    given = _given(args)
    try:
        from gaitstream.export.api import Options, export_bundle
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "export", "Exporting a checkpoint") from error
    note = {"licence": args.licence} if args.licence else {}
    options = Options(
        precisions=precisions,
        window=args.window,
        version=args.version,
        calibration=args.calibration,
        overwrite=args.overwrite,
        deepstream=args.target == "deepstream",
        **note,
    )
    exported = export_bundle(args.model, args.checkpoint, args.out, options=options, say=_say, **given)
    print_report(exported.report)
    print(f"{args.out}: {exported.report.model}, fingerprint {exported.bundle.fingerprint[:12]}")
    return 0


def print_report(report: Report) -> None:
    """Print the proof as a table and sentences."""
    table = Table(box=None, padding=(0, 1, 0, 0), title=f"{report.model} against {report.reference}")
    for column in COLUMNS:
        table.add_column(column, no_wrap=True)
    for row in cells(report):
        table.add_row(*row, style={"fail": "red"}.get(row[-1]))
    console = Console()
    console.print(table)
    for line in conclusions(report):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """The family's own options that were given, read from their text.

    Raises:
        ConfigError: a value is wrong.
    """
    flags = {name: flag for family in installed() for name, flag in family.flags().items()}
    texts = {name.removeprefix(OPTION): text for name, text in vars(args).items() if name.startswith(OPTION)}
    return {name: flags[name].parse(text) for name, text in texts.items()}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

"""The command `export`: a checkpoint becomes a bundle with its proof."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from gaitstream.cli.commands.ending import tidy_at_the_end
from gaitstream.cli.exporting import AUTO, OPTION
from gaitstream.errors import ConfigError, MissingExtraError
from gaitstream.export.report import COLUMNS, cells, conclusions
from gaitstream.models.spec import find_family

if TYPE_CHECKING:
    from gaitstream.export.verdicts import ParityReport

PRECISIONS = ("fp32", "fp16", "int8", "fp8")


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
            raise ConfigError(f"there are no {name!r} graphs: use one or more of {', '.join(PRECISIONS)}")
    return names


def export(args: argparse.Namespace) -> int:
    """Export, and print the proof."""
    precisions = parse_precisions(args.precision)
    texts = {name.removeprefix(OPTION): text for name, text in vars(args).items() if name.startswith(OPTION)}
    given = {} if args.model == AUTO else find_family(args.model).read(texts)
    try:
        from gaitstream.export.api import ExportOptions, export_bundle
        from gaitstream.models.graphs.checkpoint import recognise_checkpoint
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "export", "Exporting a checkpoint") from error
    family = args.model
    if family == AUTO:
        recognised = recognise_checkpoint(args.checkpoint)
        _say(f"it is a checkpoint of {recognised.title}")
        family, given = recognised.name, recognised.read(texts)
    note = {"licence": args.licence} if args.licence else {}
    options = ExportOptions(
        precisions=precisions,
        window=args.window,
        version=args.version,
        calibration=args.calibration,
        overwrite=args.overwrite,
        deepstream=args.target == "deepstream",
        masks=args.masks,
        metric=args.metric,
        **note,
    )
    with tidy_at_the_end():
        exported = export_bundle(family, args.checkpoint, args.out, options=options, say=_say, **given)
    print_report(exported.report)
    print(f"{args.out}: {exported.report.model}, fingerprint {exported.bundle.fingerprint[:12]}")
    return 0


def print_report(report: ParityReport) -> None:
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


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

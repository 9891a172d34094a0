"""The command `export`: a checkpoint becomes a bundle with its proof."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaitstream.errors import ConfigError, MissingExtraError
from gaitstream.models.spec import FAMILIES, ModelFamily, find_family

if TYPE_CHECKING:
    from gaitstream.export.parity import Report

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

AUTO = "auto"
PRECISIONS = ("fp32", "fp16")
OPTION = "option_"
"""Prefix of the attributes that hold a family's own options."""


def add(commands: Commands) -> None:
    """Add `export` with every model family that is installed, and `export auto`."""
    parser = commands.add_parser(
        "export",
        help="turn a trained checkpoint into a bundle, and prove it",
        description="Turn a trained checkpoint into a bundle of ONNX graphs. The bundle is written only when "
        "its graphs compute what the checkpoint's PyTorch module does.",
    )
    models = parser.add_subparsers(dest="model", required=True, metavar="FAMILY")
    families = _installed()
    auto = models.add_parser(AUTO, help="the family is told by the checkpoint's keys")
    _add_own(auto, families)
    _add_shared(auto)
    for family in families:
        one = models.add_parser(family.name, help=family.summary)
        _add_own(one, [family])
        _add_shared(one)


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


def run(args: argparse.Namespace) -> int:
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
    from rich.console import Console
    from rich.table import Table

    from gaitstream.export.report import COLUMNS, cells, conclusions

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


def _installed() -> list[ModelFamily]:
    """All families; one that another package brings and that cannot be imported is left out, and said."""
    found = []
    for name in FAMILIES.names():
        try:
            found.append(find_family(name))
        except ConfigError as error:
            _say(f"gaitstream: {error}")
    return found


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """The family's own options that were given, read from their text.

    Raises:
        ConfigError: a value is wrong.
    """
    flags = {name: flag for family in _installed() for name, flag in family.flags().items()}
    texts = {name.removeprefix(OPTION): text for name, text in vars(args).items() if name.startswith(OPTION)}
    return {name: flags[name].parse(text) for name, text in texts.items()}


def _add_own(parser: argparse.ArgumentParser, families: Sequence[ModelFamily]) -> None:
    """The families' own flags, those of one name once. What is not given leaves no attribute."""
    flags = {name: flag for family in families for name, flag in family.flags().items()}
    for name, flag in flags.items():
        parser.add_argument(
            f"--{flag.name}",
            dest=OPTION + name,
            default=argparse.SUPPRESS,
            choices=flag.choices,
            metavar=flag.metavar,
            help=flag.help,
        )


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", type=Path, required=True, metavar="FILE", help=".pt, .pth or .safetensors"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the bundle goes")
    parser.add_argument(
        "--precision",
        metavar="LIST",
        help="graphs to store, fp32 or fp32,fp16; what is named here has to hold (default: fp32, and fp16 "
        "where it holds)",
    )
    parser.add_argument(
        "--calibration", type=Path, metavar="FILE", help="labelled inputs (.npz) to judge fp16 and bf16 by"
    )
    parser.add_argument(
        "--window", type=int, default=30, metavar="N", help="frames of a tracklet (default: 30)"
    )
    parser.add_argument("--version", default="", help="name of this version (default: from the file's hash)")
    parser.add_argument("--licence", default="", help="licence note kept in the manifest")
    parser.add_argument(
        "--target",
        choices=("native", "deepstream"),
        default="native",
        help="deepstream: also write the graphs for DeepStream's nvinfer, beside the others",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the bundle that lies at --out")
    parser.set_defaults(handler=run)

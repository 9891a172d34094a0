"""The command `export`: a checkpoint becomes a bundle with its proof."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.errors import ConfigError
from gaitstream.models.spec import FAMILIES, ModelFamily, find_family

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

AUTO = "auto"
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
    families = installed()
    auto = models.add_parser(AUTO, help="the family is told by the checkpoint's keys")
    _add_own(auto, families)
    _add_shared(auto)
    for family in families:
        one = models.add_parser(family.name, help=family.summary)
        _add_own(one, [family])
        _add_shared(one)


def installed() -> list[ModelFamily]:
    """All families; one that another package brings and that cannot be imported is left out, and said."""
    found = []
    for name in FAMILIES.names():
        try:
            found.append(find_family(name))
        except ConfigError as error:
            print(f"gaitstream: {error}", file=sys.stderr)
    return found


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
    parser.set_defaults(handler="exporting:export")

"""The command `export`: a checkpoint becomes a bundle with its proof."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gaitstream.models.spec import ModelFamily

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

log = logging.getLogger(__name__)

AUTO = "auto"
OPTION = "option_"
"""Prefix of the attributes that hold a family's own options, by the names of their flags."""


def add(commands: Commands) -> None:
    """Add `export`."""
    commands.add_parser(
        "export",
        fill=_add_families,
        help="turn a trained checkpoint into a bundle, and prove it",
        description="Turn a trained checkpoint into a bundle of ONNX graphs. The bundle is written only when "
        "its graphs compute what the checkpoint's PyTorch module does.",
    )


def _add_families(parser: argparse.ArgumentParser) -> None:
    """Add every model family that is installed, and `auto`; looking for them takes as long as the rest."""
    from gaitstream.models.spec import families

    models = parser.add_subparsers(dest="model", required=True, metavar="FAMILY")
    shared = argparse.ArgumentParser(add_help=False)
    _add_shared(shared)
    found = [family for family in families() if _fits(family, shared)]
    auto = models.add_parser(AUTO, help="the family is told by the checkpoint's keys")
    _add_own(auto, found)
    _add_shared(auto)
    for family in found:
        one = models.add_parser(family.name, help=family.summary.replace("%", "%%"))
        _add_own(one, [family])
        _add_shared(one)


def _fits(family: ModelFamily, shared: argparse.ArgumentParser) -> bool:
    """Whether a family's flags stand beside the shared ones; another package's may not, and is left out."""
    taken = {
        "help",
        *(word.removeprefix("--") for action in shared._actions for word in action.option_strings),
    }
    both = sorted(taken.intersection(flag.name for flag in family.flags().values()))
    if both:
        names = ", ".join(f"--{name}" for name in both)
        log.warning("%s cannot be exported: every family has %s, and it brings its own", family.title, names)
    return not both


def _add_own(parser: argparse.ArgumentParser, found: Sequence[ModelFamily]) -> None:
    """The families' own flags; what is not given leaves no attribute.

    Flags of one name are one flag here, with the choices of all: the checkpoint tells whose they are.
    """
    flags = [flag for family in found for flag in family.flags().values()]
    for name in dict.fromkeys(flag.name for flag in flags):
        mine = [flag for flag in flags if flag.name == name]
        choices = [choice for flag in mine for choice in flag.choices or ()]
        free = any(flag.choices is None for flag in mine)
        parser.add_argument(
            f"--{name}",
            dest=OPTION + name,
            default=argparse.SUPPRESS,
            choices=None if free else tuple(dict.fromkeys(choices)),
            metavar=mine[0].metavar,
            help="; or: ".join(dict.fromkeys(flag.help for flag in mine)),
        )


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", type=Path, required=True, metavar="FILE", help=".pt, .pth or .safetensors"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the bundle goes")
    parser.add_argument(
        "--precision",
        metavar="LIST",
        help="graphs to store, of fp32,fp16,int8,fp8; what is named here has to hold, and int8 and fp8 (for "
        "TensorRT) need --calibration (default: fp32, and fp16 where it holds)",
    )
    parser.add_argument(
        "--calibration",
        metavar="SOURCE",
        help="labelled inputs (.npz) to judge lower precisions by, or synth: the synthetic world's; for int8 "
        "and fp8 also where activations' ranges come from, which may be a video or a cams.yaml that "
        "names videos",
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
    parser.add_argument(
        "--masks",
        action="store_true",
        help="also write the model's own masks of people as a segmentation model: models.segmenter then "
        "takes the bundle's directory",
    )
    parser.add_argument(
        "--metric",
        choices=("euc", "cos"),
        help="how embeddings of this checkpoint are compared, as its training configuration's evaluator_cfg "
        "says (default: as most published ones of the family)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the bundle that lies at --out")
    parser.set_defaults(handler="exporting:export")

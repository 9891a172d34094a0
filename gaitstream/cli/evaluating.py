"""`gaitstream evaluate` and `gaitstream compare`: accuracy by published protocols, models side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.cli.building import RUNTIMES
from gaitstream.cli.numbers import natural

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

PROTOCOLS = (
    "casia-b", "casia-b-cross", "ou-mvlp", "grew", "gait3d", "ccpg", "sustech1k", "ccgr", "ccgr-easy",
    "ccgr-mini",
)  # fmt: skip


def add(commands: Commands) -> None:
    """Add `evaluate` and `compare`."""
    _add_evaluate(commands)
    _add_compare(commands)


def _add_evaluate(commands: Commands) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="accuracy of a bundle on a data set, by its published protocol",
        description="Embed a data set in OpenGait's layout (id/type/view/*.pkl), or of videos "
        "(id/type/view.mp4), with a bundle, on any runtime and precision, and score it as the published "
        "evaluators do. A run that was stopped goes on where it was.",
    )
    option = parser.add_argument
    option("bundle", type=Path, metavar="BUNDLE", help="bundle directory")
    option("--data", type=Path, required=True, metavar="DIR", help="the data set's folder")
    option("--protocol", choices=PROTOCOLS, required=True, help="whose test it is")
    option("--partition", type=Path, metavar="FILE", help="OpenGait's partition file: its TEST_SET alone")
    option(
        "--probes",
        type=Path,
        metavar="FILE",
        help="Gait3D.json or CCGR-MINI.json, whose lists those tests need",
    )
    option(
        "--files", default="", metavar="LIST",
        help="of a sequence's pickles, those whose names match, such as '*Sils_aligned*' (default: all)",
    )  # fmt: skip
    option(
        "--cameras", type=Path, metavar="CAMS.YAML",
        help="whose models find the person in a video (default: the packaged ones)",
    )  # fmt: skip
    option("--runtime", choices=RUNTIMES, default="auto", help="default: the best that works here")
    option(
        "--precision", choices=("auto", "fp32", "fp16", "bf16", "int8", "fp8"), default="auto",
        help="default: the lowest that the bundle's parity report allows",
    )  # fmt: skip
    option("--metric", choices=("euc", "cos"), help="default: the bundle's own")
    option(
        "--frames",
        type=natural,
        default=720,
        metavar="N",
        help="of a sequence at most; 0: all, of a video 720 (default: 720)",
    )
    option("--processes", type=natural, default=1, metavar="N", help="embed in so many (default: 1)")
    option("--out", type=Path, default=Path("out/evaluation"), metavar="DIR", help="default: out/evaluation")
    parser.set_defaults(handler="evaluating:evaluate")


def _add_compare(commands: Commands) -> None:
    parser = commands.add_parser(
        "compare",
        help="models side by side: size, work, speed, parity, accuracy",
        description="Measure bundles on this machine and print one table to choose from. Accuracy comes from "
        "evaluation.json files of 'gaitstream evaluate'.",
    )
    option = parser.add_argument
    option("bundles", type=Path, nargs="*", metavar="BUNDLE", help="bundle directories")
    option(
        "--random", nargs="*", metavar="NAME",
        help="published sizes with random weights, FAMILY or FAMILY:VARIANT, on a CPU by turns with PyTorch; "
        "alone: all",
    )  # fmt: skip
    option("--runtime", choices=RUNTIMES, default="auto", help="default: the best that works here")
    option(
        "--precision",
        choices=("auto", "fp32", "fp16", "bf16", "int8", "fp8"),
        default="auto",
        help="default: auto",
    )
    option(
        "--scores", type=Path, action="append", default=[], metavar="FILE",
        help="evaluation.json of one of them; may be repeated",
    )  # fmt: skip
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print plain data")
    form.add_argument("--markdown", action="store_true", help="print a table for a page")
    parser.set_defaults(handler="evaluating:compare")

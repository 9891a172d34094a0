"""The command `quantise`: a detector or pose model in int8."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add `quantise`."""
    parser = commands.add_parser(
        "quantise",
        help="make a detector or pose model that computes in int8, and prove it",
        description="Quantise the ONNX graph of a detector or pose model, and judge it by what it finds. Its "
        "manifest lets auto take int8 only where it is as good as in fp32. Gait models: gaitstream export "
        "--precision fp32,int8.",
    )
    parser.add_argument("kind", choices=("detector", "pose"), metavar="KIND", help="detector or pose")
    parser.add_argument(
        "model", metavar="MODEL", help="an ONNX file, its manifest, or a name of the model zoo"
    )
    parser.add_argument(
        "--calibration", required=True, metavar="SOURCE",
        help="synth: the synthetic world, which has a truth to judge by; or a video, or a cams.yaml that "
        "names videos and a detector",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the files go")
    parser.set_defaults(handler="quantising:quantise")

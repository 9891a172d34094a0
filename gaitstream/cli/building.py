"""`gaitstream build`: compile a bundle's graphs ahead of time."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gaitstream.cli.numbers import counting

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

RUNTIMES = ("auto", "tensorrt", "tensorrt-rtx", "onnxruntime", "openvino")


def add(commands: Commands) -> None:
    """Add `build`."""
    parser = commands.add_parser(
        "build",
        help="compile a bundle for a runtime and device",
        description="Compile a bundle's graphs (or one ONNX file) into the engine cache, and prove that they "
        "run in the precision asked for.",
    )
    parser.add_argument("model", metavar="BUNDLE", help="bundle directory, or an ONNX file")
    parser.add_argument(
        "--runtime", choices=RUNTIMES, default="auto", help="default: the best that works here"
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "fp16", "bf16", "int8", "fp8"),
        default="auto",
        help="default: the lowest the device computes natively and the bundle's parity report allows",
    )
    parser.add_argument(
        "--batch",
        metavar="MIN,OPT,MAX",
        help="frames per inference (default 1,16,64; of a graph over whole windows 1,2,2 windows)",
    )
    parser.add_argument(
        "--device", metavar="D", help="target: cpu, cuda, or a GPU not at hand, such as sm_89 (tensorrt-rtx)"
    )
    parser.add_argument("--threads", type=counting, metavar="N", help="CPU threads the engine will run with")
    parser.set_defaults(handler="building:build")

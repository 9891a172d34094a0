"""`gaitstream doctor`: what is installed, what works, what `auto` picks, and what to install to get more."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add `doctor`."""
    parser = commands.add_parser(
        "doctor",
        help="what works on this machine, and what to install to get more",
        description="Compile and run a small graph on every runtime, and say what 'auto' picks and why. "
        "Exits with 1 when nothing works.",
    )
    about = parser.add_mutually_exclusive_group()
    about.add_argument(
        "--gpu", action="store_true",
        help="try driver, TensorRT, kernels and plugin; exit with 1 unless the GPU does it all",
    )  # fmt: skip
    about.add_argument("--bundle", metavar="DIR", help="say what 'auto' picks for this bundle")
    parser.add_argument("--json", action="store_true", help="print plain data")
    parser.set_defaults(handler="doctor:doctor")

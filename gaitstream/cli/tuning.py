"""The command `tune`: what to set at a site."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.cli.numbers import positive

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add this group's commands."""
    tune = commands.add_parser(
        "tune",
        help="look at a site's cameras and say what to set",
        description="Watch the cameras of a cams.yaml with its models for some minutes and say what to set: "
        "least height of people, regions, rates, a detector that this machine carries, thresholds to begin "
        "with; and write the file with these values and the reasons as comments. Nobody is searched for, and "
        "no picture is kept. What was seen too little of is said and not set. Exit code 1 when no camera "
        "gave a picture.",
    )
    option = tune.add_argument
    option("--cameras", type=Path, required=True, metavar="FILE", help="the cams.yaml")
    option(
        "--minutes", type=positive, default=5.0, metavar="N",
        help="watch for so long (default: 5); Ctrl-C ends sooner",
    )  # fmt: skip
    option(
        "--detector", action="append", default=[], metavar="MODEL",
        help="also try this detector, a file or a name, beside those that were fetched; may be repeated",
    )  # fmt: skip
    option(
        "--out", type=Path, metavar="FILE",
        help="where to write, in the same folder (default: NAME.tuned.yaml); the cams.yaml itself is allowed",
    )  # fmt: skip
    option("--json", action="store_true", help="one JSON object per finding")
    tune.set_defaults(handler="tuning:tune")

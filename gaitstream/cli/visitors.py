"""Commands about strangers: visitors of the gallery, and search for earlier appearances."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.cli.numbers import positive

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add `gaitstream search`."""
    search = commands.add_parser(
        "search",
        help="find earlier appearances of somebody",
        description="Which of the walks that the gallery keeps look like a given one; see gallery.visitors.",
    )
    search.add_argument(
        "--cameras", required=True, type=Path, metavar="FILE", help="the cams.yaml: models, gallery"
    )
    search.add_argument(
        "--like", required=True, metavar="TRACK|VIDEO",
        help="run/camera/track as events have them, a visitor's name, or a video of one person",
    )  # fmt: skip
    search.add_argument("--since", default="30d", metavar="TIME", help="how far back (default: 30d)")
    search.add_argument("--track", type=int, metavar="N", help="which of the video's tracks it is")
    search.add_argument("--most", type=int, default=20, metavar="N", help="how many (default: 20)")
    search.add_argument("--seconds", type=positive, metavar="S", help="watch the video no longer than this")
    search.add_argument("--json", action="store_true", help="one JSON object per appearance")
    search.set_defaults(handler="visitors:search")

"""Commands about people who are seen: enrol and identify."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.cli.numbers import positive

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add this group's commands."""
    enroll = commands.add_parser(
        "enroll",
        help="enrol a person from a video, a camera, a stream or saved pictures",
        description="Enrol the one person who walks in a video, before a camera or in a stream, or in a "
        "folder of 'run --save-tracklets'. Where several walk it is said how to name one (exit code 2).",
    )
    enroll.add_argument("--person", required=True, metavar="NAME", help="the name that events will carry")
    seen = _add_seen(enroll)
    seen.add_argument("--tracklet", type=Path, metavar="DIR", help="a saved track's folder of pictures")
    enroll.add_argument("--track", type=int, metavar="N", help="which of a video's tracks it is")
    enroll.add_argument(
        "--pictures", type=Path, default=Path("tracks"), metavar="DIR", help="for the tracks' pictures"
    )
    enroll.set_defaults(handler="people:enroll")
    identify = commands.add_parser(
        "identify", help="say who walks in a video, before a camera or in a stream"
    )
    _add_seen(identify)
    identify.add_argument("--json", action="store_true", help="one JSON object per track")
    identify.set_defaults(handler="people:identify")


def _add_seen(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """What is watched, and with which models."""
    parser.add_argument(
        "--cameras", required=True, type=Path, metavar="FILE", help="the cams.yaml: models, gallery"
    )
    seen = parser.add_mutually_exclusive_group(required=True)
    seen.add_argument("--video", metavar="FILE", help="a video, or the URL of a stream")
    seen.add_argument("--camera", metavar="ID", help="a camera of the cams.yaml")
    parser.add_argument(
        "--seconds", type=positive, metavar="S",
        help="watch no longer, from the first picture; of a file so much, however fast it is read "
        "(default: 30 for cameras and streams)",
    )  # fmt: skip
    return seen

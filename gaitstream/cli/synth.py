"""Commands of the synthetic world: synth, demo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.cli.numbers import is_whole, natural, positive

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add this group's commands."""
    synth = commands.add_parser(
        "synth",
        help="write synthetic camera videos with ground truth",
        description="Write videos of a synthetic site with cams.yaml and ground truth (MOT challenge format, "
        "identities, keypoints). The same seed gives the same people and routes.",
    )
    synth.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory to fill")
    synth.add_argument(
        "--site", default="plaza", help="plaza, lobby, corridor, yard or terminal (default: plaza)"
    )
    synth.add_argument("--cameras", type=_count, default=4, metavar="N", help="how many (default: 4)")
    synth.add_argument("--people", type=natural, default=8, metavar="N", help="how many (default: 8)")
    synth.add_argument("--seconds", type=positive, default=60.0, metavar="S", help="length (default: 60)")
    synth.add_argument("--seed", type=natural, default=7, help="of people and routes (default: 7)")
    synth.add_argument("--day", type=natural, default=0, help="other clothes and routes (default: 0)")
    synth.add_argument("--fps", type=positive, default=15.0, help="frames per second (default: 15)")
    synth.add_argument("--size", type=_size, default=(640, 360), metavar="WxH", help="default: 640x360")
    synth.set_defaults(handler="synth:synth")
    _add_demo(commands)


def _add_demo(commands: Commands) -> None:
    demo = commands.add_parser(
        "demo",
        help="see it work: synthetic cameras, recognition, score, report",
        description="Three live synthetic cameras and eight people: five are enrolled from one camera, three "
        "are strangers. Shows who is recognised, scores it against the ground truth and writes report.html. "
        "Needs no GPU and no network.",
    )
    demo.add_argument("--seconds", type=_demo_seconds, default=40.0, metavar="S", help="default: 40")
    demo.add_argument("--seed", type=natural, default=7, help="of people and routes (default: 7)")
    demo.add_argument(
        "--wait", action=argparse.BooleanOptionalAction,
        help="cameras wait for the machine: no frame is dropped (default: a slow one, or --console)",
    )  # fmt: skip
    demo.add_argument(
        "--gait",
        nargs="*",
        metavar="FAMILY",
        help="which packaged gait models: gaitheat (default), gaitbase, and gaitjoints where 'walkers' are "
        "installed; several are fused. Alone: the first two",
    )
    demo.add_argument("--view", action="store_true", help="live pictures as a page on this machine")
    demo.add_argument("--console", action="store_true", help="end with the console open on the demo's world")
    demo.add_argument("--port", type=natural, default=0, help="of either (default: a free one)")
    demo.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR", help="default: out/demo")
    demo.set_defaults(handler="synth:demo")


def _demo_seconds(text: str) -> float:
    if not 5 <= (value := positive(text)) <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is out of range: 5 to 3600 seconds")
    return value


def _count(text: str) -> int:
    if not 1 <= (value := natural(text)) <= 64:
        raise argparse.ArgumentTypeError(f"{text} is out of range: 1 to 64")
    return value


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    known = is_whole(width) and is_whole(height) and len(text) < 19
    if not known or min(int(width), int(height)) < 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: write WIDTHxHEIGHT, as in 640x360")
    if int(width) % 2 or int(height) % 2:
        raise argparse.ArgumentTypeError(f"{text}: video needs an even width and height")
    return int(width), int(height)

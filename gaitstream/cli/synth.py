"""Commands of the synthetic world: synth, demo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.cli.numbers import natural, positive

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
    synth.add_argument("--site", default="plaza", help="plaza, lobby, corridor or yard (default: plaza)")
    synth.add_argument("--cameras", type=_count, default=4, metavar="N", help="how many (default: 4)")
    synth.add_argument("--people", type=natural, default=8, metavar="N", help="how many (default: 8)")
    synth.add_argument("--seconds", type=positive, default=60.0, metavar="S", help="length (default: 60)")
    synth.add_argument("--seed", type=natural, default=7, help="of people and routes (default: 7)")
    synth.add_argument("--day", type=natural, default=0, help="other clothes and routes (default: 0)")
    synth.add_argument("--fps", type=positive, default=15.0, help="frames per second (default: 15)")
    synth.add_argument("--size", type=_size, default=(640, 360), metavar="WxH", help="default: 640x360")
    synth.set_defaults(handler=_synth)
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
        "--wait", action="store_true", help="cameras wait for a slow machine: no frame is dropped"
    )
    demo.add_argument("--view", action="store_true", help="live pictures as a page on this machine")
    demo.add_argument("--port", type=natural, default=0, help="of that page (default: a free one)")
    demo.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR", help="default: out/demo")
    demo.set_defaults(handler=_demo)


def _synth(args: argparse.Namespace) -> int:
    from rich.progress import Progress

    from gaitstream.synth.address import Address
    from gaitstream.synth.dataset import write_dataset

    width, height = args.size
    addresses = [
        Address(
            site=args.site, camera=number, people=args.people, seed=args.seed, day=args.day, fps=args.fps,
            width=width, height=height, seconds=args.seconds,
        )
        for number in range(1, args.cameras + 1)
    ]  # fmt: skip
    with Progress(transient=True) as progress:
        tasks = {f"cam{address.camera}": progress.add_task(f"cam{address.camera}") for address in addresses}

        def say(name: str, done: int, total: int) -> None:
            progress.update(tasks[name], completed=done, total=total)

        path = write_dataset(addresses, args.out, say)
    print(f"{args.cameras} cameras, {args.people} people, {args.seconds:g} s: {path}")
    return 0


def _demo(args: argparse.Namespace) -> int:
    import shlex
    import sys

    from rich.console import Console

    from gaitstream.demo.plan import DemoPlan
    from gaitstream.demo.run import DemoOptions, run_demo
    from gaitstream.demo.summary import summary

    command = shlex.join(["gaitstream", *sys.argv[1:]])
    plan = DemoPlan(seed=args.seed, seconds=args.seconds, live=not args.wait)
    console = Console(highlight=False)
    try:
        record, result = run_demo(DemoOptions(plan, args.out, args.view, args.port, command), console)
    except KeyboardInterrupt:
        print("Stopped: no report was written.")
        return 130
    for line in summary(record, result):
        console.print(line, soft_wrap=True, markup=False)
    print(f"Report: {args.out / 'report.html'} ({record.total_s:.0f} s in all)")
    return 130 if record.stopped else 0


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
    if not (width.isdecimal() and height.isdecimal()) or min(int(width), int(height)) < 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: write WIDTHxHEIGHT, as in 640x360")
    if int(width) % 2 or int(height) % 2:
        raise argparse.ArgumentTypeError(f"{text}: video needs an even width and height")
    return int(width), int(height)

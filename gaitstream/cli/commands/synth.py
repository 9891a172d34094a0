"""Commands of the synthetic world: synth, demo."""

from __future__ import annotations

import argparse
import shlex
import sys

from rich.console import Console
from rich.progress import Progress

from gaitstream.demo.plan import DemoPlan
from gaitstream.demo.record import DemoRecord
from gaitstream.demo.run import DemoOptions, run_demo
from gaitstream.demo.score import DemoScore
from gaitstream.demo.summary import summary
from gaitstream.errors import ConfigError
from gaitstream.synth.address import Address
from gaitstream.synth.dataset import write_dataset
from gaitstream.zoo import advised, demo_families


def synth(args: argparse.Namespace) -> int:
    """Write videos with ground truth."""
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


def plan_of(args: argparse.Namespace) -> DemoPlan:
    """Who walks where; for the console, which shows it afterwards, the cameras wait unless told otherwise."""
    wait = args.console if args.wait is None else args.wait
    return DemoPlan(seed=args.seed, seconds=args.seconds, live=not wait, gait=_recognizers(args.gait))


def _recognizers(named: list[str] | None) -> tuple[str, ...]:
    """The families of the packaged recognizers that are asked for, each once.

    Raises:
        ConfigError: one of them is not packaged.
    """
    packaged, own = list(advised()), demo_families()
    if named is None:
        return own[:1]
    asked = [family for text in named for family in text.split(",") if family] or list(own)
    for family in asked:
        if family not in packaged:
            raise ConfigError(f"--gait {family}: packaged are {', '.join(packaged)}")
    return tuple(family for family in packaged if family in asked)


def demo(args: argparse.Namespace) -> int:
    """Run the demo and say how it went."""
    command = shlex.join(["gaitstream", *sys.argv[1:]])
    console = Console(highlight=False)
    options = DemoOptions(
        plan_of(args), args.out, args.view, args.port, args.console, command, may_wait=args.wait is None
    )

    def tell(record: DemoRecord, result: DemoScore) -> None:
        for line in summary(record, result):
            console.print(line, soft_wrap=True, markup=False)
        print(f"Report: {args.out / 'report.html'} ({record.total_s:.0f} s in all)", flush=True)

    try:
        record, _ = run_demo(options, console, tell)
    except KeyboardInterrupt:
        print("Stopped: no report was written.")
        return 130
    return 130 if record.stopped else 0

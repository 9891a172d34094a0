"""Commands that measure: bench, plan."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.cli.numbers import is_whole, positive

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

MOST_ENROLLED = 10_000_000_000
"""More people than there are."""
LEAST_GIB = 0.125
"""Of a machine: less is a slip of units."""


def add(commands: Commands) -> None:
    """Add this group's commands."""
    bench = commands.add_parser(
        "bench",
        help="measure this machine: FPS, latency, cost of every stage",
        description="Run benchmark suites (recognizer, pgha, pipeline, overhead, events, gallery, all). "
        "'gaitstream bench compare A.json B.json' compares two reports, 'gaitstream bench profile' says "
        "where the "
        "time of a saturated pipeline goes.",
    )
    add_arguments(bench)
    bench.set_defaults(handler="bench:bench")
    _add_plan(commands)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of a command that runs suites."""
    parser.add_argument("suites", nargs="*", default=["all"], metavar="SUITE", help="default: all")
    parser.add_argument("--quick", action="store_true", help="fewer settings and repetitions")
    parser.add_argument(
        "--bundle", type=Path, action="append", default=[], help="recognizer to measure; may be repeated"
    )
    parser.add_argument(
        "--minutes", type=positive, default=0.0, metavar="N",
        help="pipeline: run this long and fail when memory, threads or open files grow; profile: its length",
    )  # fmt: skip
    parser.add_argument("--cameras", type=_count, default=4, help="of the long run (default: 4)")
    parser.add_argument("--people", type=_count, default=4, help="in the long run's world (default: 4)")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto",
        help="recognizer, pgha, gallery: where to measure; cuda fails where no GPU is usable (default: auto)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("out/bench"),
        help="folder for report.json, .md and plots; an earlier report there is compared with",
    )  # fmt: skip
    parser.add_argument(
        "--fail-if-worse", action="store_true",
        help="exit with 1 when a figure got worse than in the earlier report of the same machine",
    )  # fmt: skip


def _add_plan(commands: Commands) -> None:
    plan = commands.add_parser(
        "plan",
        help="how many machines a site needs, from measured rates",
        description="Predict the load of every step, cameras per machine, memory and machines to buy. The "
        "rates come from a report of 'gaitstream bench', or are measured in a minute or two.",
    )
    which = plan.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--cameras", type=_count, metavar="N", help="so many, with packaged or published models"
    )
    which.add_argument(
        "--config", type=Path, metavar="FILE", help="the site's cams.yaml: its cameras, rates and models"
    )
    plan.add_argument("--fps", type=positive, help="analysed per camera (default: 15)")
    plan.add_argument("--people", type=positive, help="in a picture, on average (default: 4)")
    plan.add_argument("--size", type=_megapixels, metavar="WxH", help="of a picture (default: 1280x720)")
    plan.add_argument(
        "--model", choices=("demo", "gaitheat", "biggait"),
        help="recognizer: the packaged one, or a published one at its full size (default: demo)",
    )  # fmt: skip
    plan.add_argument("--enrolled", type=_enrolled, metavar="N", help="people in the gallery: does it fit?")
    plan.add_argument("--memory", type=_gib, metavar="GIB", help="of a machine (default: this one's)")
    plan.add_argument("--rates", type=Path, metavar="REPORT", help="report.json of 'gaitstream bench'")
    plan.add_argument("--device", metavar="NAME", help="also estimate a GPU from its datasheet: l4, t4, ...")
    plan.add_argument(
        "--check", action="store_true",
        help="compare predictions with the report's saturated rows and with crowds measured here",
    )  # fmt: skip
    plan.set_defaults(handler="bench:plan")


def _count(text: str) -> int:
    if not (is_whole(text) and 1 <= int(text) <= 1_000_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 1000000")
    return int(text)


def _enrolled(text: str) -> int:
    if not (is_whole(text) and int(text) <= MOST_ENROLLED):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of people: 0 to {MOST_ENROLLED}")
    return int(text)


def _gib(text: str) -> float:
    value = positive(text)
    if value < LEAST_GIB:
        raise argparse.ArgumentTypeError(
            f"{text!r} GiB is less than a machine has: give {LEAST_GIB:g} or more"
        )
    return value


def _megapixels(text: str) -> float:
    width, cross, height = text.lower().partition("x")
    known = cross and is_whole(width) and is_whole(height) and len(text) < 19
    if not (known and 0 < int(width) * int(height) < 1e9):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: give width and height, such as 1920x1080")
    return int(width) * int(height) / 1e6

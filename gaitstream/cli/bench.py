"""Commands that measure: bench, plan."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.cli.numbers import positive

if TYPE_CHECKING:
    from gaitstream.bench.settings import Settings

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


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
    bench.set_defaults(handler=_bench)
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
        help="recognizer and pgha: where to measure; cuda fails where no GPU can be used (default: auto)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("out/bench"), help="folder for report.json, .md and plots"
    )


def settings_of(args: argparse.Namespace) -> Settings:
    """What the arguments of `add_arguments` ask for."""
    from gaitstream.bench.command import say
    from gaitstream.bench.settings import Settings

    return Settings(
        quick=args.quick,
        say=say,
        bundles=args.bundle,
        minutes=args.minutes,
        cameras=args.cameras,
        people=args.people,
        device=args.device,
    )


def _add_plan(commands: Commands) -> None:
    plan = commands.add_parser(
        "plan",
        help="how many machines a site needs, from measured rates",
        description="Predict the load of every step, cameras per machine, memory and machines to buy. The "
        "rates come from a report of 'gaitstream bench', or are measured in about a minute.",
    )
    plan.add_argument("--cameras", type=_count, required=True, metavar="N")
    plan.add_argument("--fps", type=positive, default=15.0, help="analysed per camera (default: 15)")
    plan.add_argument("--people", type=positive, default=4.0, help="in a picture, on average (default: 4)")
    plan.add_argument(
        "--size", type=_megapixels, default=0.9216, metavar="WxH", help="of a picture (default: 1280x720)"
    )
    plan.add_argument(
        "--model", choices=("demo", "gaitheat", "biggait"), default="demo",
        help="recognizer: the packaged one, or a published one at its full size (default: demo)",
    )  # fmt: skip
    plan.add_argument("--rates", type=Path, metavar="REPORT", help="report.json of 'gaitstream bench'")
    plan.add_argument("--device", metavar="NAME", help="also estimate a GPU from its datasheet: l4, t4, ...")
    plan.add_argument(
        "--check", action="store_true",
        help="compare predictions with the report's saturated rows and with crowds measured here",
    )  # fmt: skip
    plan.set_defaults(handler=_plan)


def _plan(args: argparse.Namespace) -> int:
    from gaitstream.bench.command import say
    from gaitstream.bench.devices import find_device
    from gaitstream.bench.plan import SiteLoad, describe_device, describe_plan, make_plan
    from gaitstream.bench.rates import from_report, measure_rates
    from gaitstream.bench.result import read_report
    from gaitstream.errors import ConfigError

    device = find_device(args.device) if args.device else None
    if args.check and args.model != "demo":
        raise ConfigError("--check runs the packaged weights: use it with --model demo")
    site = SiteLoad(args.cameras, args.fps, args.people, args.model, args.size)
    report = read_report(args.rates) if args.rates else None
    rates = from_report(report, site.model, str(args.rates)) if report else measure_rates(site.model, say)
    print(describe_plan(make_plan(site, rates), rates))
    if device is not None:
        print("\n" + describe_device(site, device))
    if not args.check:
        return 0
    from gaitstream.bench.plan_check import check_crowds, check_report

    checks = [*(check_report(rates, report) if report else []), *check_crowds(rates, say)]
    print("\n".join(map(str, checks)))
    return 0 if all(one.holds for one in checks) else 1


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of cameras: 1 to 1000000")
    return int(text)


def _megapixels(text: str) -> float:
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and 0 < int(width) * int(height) < 1e9):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: give width and height, such as 1920x1080")
    return int(width) * int(height) / 1e6


def _bench(args: argparse.Namespace) -> int:
    if args.suites[0] == "compare":
        return _compare([Path(name) for name in args.suites[1:]])
    from gaitstream.bench.command import run_and_write, say

    if args.suites[0] == "profile":
        from gaitstream.bench.profile import profile

        print(profile(args.minutes or 1.0, args.out, say))
        return 0
    return run_and_write(args.suites, settings_of(args), args.out)


def _compare(paths: list[Path]) -> int:
    from gaitstream.bench.compare import changes_markdown, compare_reports
    from gaitstream.bench.result import read_report
    from gaitstream.errors import ConfigError

    if len(paths) != 2:
        raise ConfigError(f"bench compare takes two report.json files, got {len(paths)}")
    changes = compare_reports(read_report(paths[0]), read_report(paths[1]))
    print(changes_markdown(changes))
    return 1 if any(change.verdict == "worse" for change in changes) else 0

"""Commands that measure: bench, plan."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from gaitstream.bench import device_overhead
from gaitstream.bench.command import check_folder, run_and_write, say
from gaitstream.bench.compare import changes_markdown, compare_reports
from gaitstream.bench.devices import DEMO, find_device
from gaitstream.bench.plan import SiteLoad, describe_device, describe_plan, make_plan
from gaitstream.bench.plan_check import check_crowds, check_report
from gaitstream.bench.plan_gallery import describe_gallery, plan_gallery
from gaitstream.bench.process import run_contender
from gaitstream.bench.profile import profile
from gaitstream.bench.rates import from_report, measure_rates
from gaitstream.bench.result import Report, read_report
from gaitstream.bench.settings import Settings
from gaitstream.bench.site import GUESSED_MEGAPIXELS, GUESSED_PEOPLE, measure_site, read_site
from gaitstream.config.reading import load_config
from gaitstream.errors import ConfigError

USUAL_FPS = 15.0
"""Analysed per camera, where nothing is said."""


def settings_of(args: argparse.Namespace) -> Settings:
    """What the arguments of `add_arguments` ask for."""
    return Settings(
        quick=args.quick,
        say=say,
        bundles=args.bundle,
        minutes=args.minutes,
        cameras=args.cameras,
        people=args.people,
        device=args.device,
    )


def plan(args: argparse.Namespace) -> int:
    """How many machines a site needs, and its gallery."""
    if args.memory is not None and args.enrolled is None:
        raise ConfigError("--memory says what a gallery has to fit into: give --enrolled N with it")
    code = _plan_load(args)
    if args.enrolled is not None:
        memory = None if args.memory is None else round(args.memory * 2**30)
        print("\n" + describe_gallery(plan_gallery(args.enrolled, machine_bytes=memory)))
    return code


def _plan_load(args: argparse.Namespace) -> int:
    if args.config is not None:
        return _plan_site(args)
    device = None if args.device is None else find_device(args.device)
    model = args.model or DEMO
    if args.check and model != DEMO:
        raise ConfigError("--check runs the packaged weights: use it with --model demo")
    fps = USUAL_FPS if args.fps is None else args.fps
    people = GUESSED_PEOPLE if args.people is None else args.people
    megapixels = GUESSED_MEGAPIXELS if args.size is None else args.size
    site = SiteLoad(args.cameras, fps, people, model, megapixels)
    report = read_report(args.rates) if args.rates else None
    if report is not None:
        rates = from_report(report, site.model, str(args.rates))
        where = f"{args.rates}, of {report.machine.cpu}, {report.machine.cores} cores"
        rates = msgspec.structs.replace(rates, source=where)
    else:
        rates = measure_rates(site.model, say)
    print(describe_plan(make_plan(site, rates), rates))
    if report is not None and report.machine.disturbed:
        print(
            f"warning: other work disturbed that measurement (load average {report.machine.load:g} on "
            f"{report.machine.cores} cores): an idle machine carries more; run 'gaitstream bench' on one"
        )
    if device is not None:
        print("\n" + describe_device(site, device, _host_ms(report)))
    if not args.check:
        return 0
    checks = [*(check_report(rates, report) if report else []), *check_crowds(rates, say)]
    print("\n".join(map(str, checks)))
    return 0 if all(one.holds for one in checks) else 1


def _host_ms(report: Report | None) -> float:
    """Host time of a person in a frame: of the report, or measured now."""
    suites = report.suites if report else []
    known = device_overhead.host_ms(
        [row for suite in suites if suite.name == "overhead" for row in suite.rows]
    )
    if known is not None:
        return known
    say("measuring what the host does for a person where all networks run on a GPU")
    measured = device_overhead.host_ms(run_contender(device_overhead.rows, {"quick": True}))
    if measured is None:
        raise ConfigError("the host's work was not measured")
    return measured


def _plan_site(args: argparse.Namespace) -> int:
    """The same for a site's own configuration and models, always measured here."""
    if args.rates or args.device or args.check:
        raise ConfigError(
            "--config measures the site's own models here: leave --rates, --device and --check out"
        )
    if args.fps is not None or args.model is not None:
        raise ConfigError(
            "--config takes rates and models from the file: leave --fps and --model out, or plan with "
            "--cameras N"
        )
    question = read_site(load_config(args.config), args.people, args.size)
    rates, doubts = measure_site(args.config, question, say)
    print(describe_plan(make_plan(question.site, rates), rates))
    for line in (*question.guesses, *doubts):
        print(f"warning: {line}")
    return 0


def bench(args: argparse.Namespace) -> int:
    """Run suites, a profile, or a comparison of two reports."""
    if args.suites[0] == "compare":
        return _compare([Path(name) for name in args.suites[1:]])
    if args.suites[0] == "profile":
        if args.suites[1:]:
            raise ConfigError(f"bench profile takes no suites, got {' '.join(args.suites[1:])}")
        check_folder(args.out)
        print(profile(args.minutes or 1.0, args.out, say))
        return 0
    return run_and_write(args.suites, settings_of(args), args.out, fail_if_worse=args.fail_if_worse)


def _compare(paths: list[Path]) -> int:
    if len(paths) != 2:
        raise ConfigError(f"bench compare takes two report.json files, got {len(paths)}")
    before, after = map(read_report, paths)
    changes = compare_reports(before, after)
    if not changes:
        raise ConfigError(
            f"{paths[0]} and {paths[1]} have no figure in common: compare reports of the same suites and "
            "options"
        )
    if not before.machine.is_same(after.machine):
        print("The reports are of different machines: the table compares these, not two versions.\n")
    print(changes_markdown(changes))
    return 1 if any(change.verdict == "worse" for change in changes) else 0

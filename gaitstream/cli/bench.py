"""Commands that measure: bench."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add this group's commands."""
    bench = commands.add_parser(
        "bench",
        help="measure this machine: FPS, latency, cost of every stage",
        description="Run benchmark suites (recognizer, pgha, pipeline, events, gallery, all), or compare two "
        "reports: gaitstream bench compare A.json B.json",
    )
    bench.add_argument("suites", nargs="*", default=["all"], metavar="SUITE", help="default: all")
    bench.add_argument("--quick", action="store_true", help="fewer settings and repetitions")
    bench.add_argument(
        "--out", type=Path, default=Path("out/bench"), help="folder for report.json, .md and plots"
    )
    bench.set_defaults(handler=_bench)


def _bench(args: argparse.Namespace) -> int:
    if args.suites[0] == "compare":
        return _compare([Path(name) for name in args.suites[1:]])
    from gaitstream.bench.plots import draw_report
    from gaitstream.bench.result import write_report
    from gaitstream.bench.suites import run_suites
    from gaitstream.bench.table import report_markdown

    report = run_suites(args.suites, quick=args.quick, say=lambda line: print(f"... {line}", flush=True))
    write_report(report, args.out / "report.json")
    text = report_markdown(report)
    (args.out / "report.md").write_text(text)
    print(text)
    draw_report(report, args.out)
    print(
        f"written to {args.out}/report.json, report.md and {sum(len(s.charts) for s in report.suites)} plots"
    )
    return 0


def _compare(paths: list[Path]) -> int:
    from gaitstream.bench.compare import changes_markdown, compare_reports
    from gaitstream.bench.result import read_report
    from gaitstream.errors import ConfigError

    if len(paths) != 2:
        raise ConfigError(f"bench compare takes two report.json files, got {len(paths)}")
    changes = compare_reports(read_report(paths[0]), read_report(paths[1]))
    print(changes_markdown(changes))
    return 1 if any(change.verdict == "worse" for change in changes) else 0

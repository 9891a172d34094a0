"""Speed of BigGait and GaitHeat per 30-frame tracklet, beside eager PyTorch and the machine's floor.

    python benchmarks/bench_recognizer.py [--bundle DIR ...] [--quick] [--json FILE]

Without --bundle, full-width models with random weights are exported first. Every contender runs in a
process of its own after a warm-up; medians over five runs are shown, with quartiles.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

from gaitstream.bench.machine import describe
from gaitstream.bench.recognizer import run
from gaitstream.bench.result import Report, write_report
from gaitstream.bench.table import report_markdown


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, action="append", help="a bundle to measure; may be repeated")
    parser.add_argument("--quick", action="store_true", help="one repetition")
    parser.add_argument("--json", type=Path, help="write the report here")
    args = parser.parse_args()
    started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    suite = run(args.quick, lambda line: print(line, file=sys.stderr), args.bundle)
    report = Report(
        command=shlex.join(["python", *sys.argv]), started_utc=started, machine=describe(), suites=[suite]
    )
    print(report_markdown(report))
    if args.json is not None:
        write_report(report, args.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

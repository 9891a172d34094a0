"""Heatmap alignment beside its memory floor: the GPU's forms, or the CPU's where there is no GPU.

python benchmarks/bench_pgha.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

from gaitstream.bench.machine import describe
from gaitstream.bench.pgha import run
from gaitstream.bench.result import Report, write_report
from gaitstream.bench.table import report_markdown


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer sizes and repetitions")
    parser.add_argument("--json", type=Path, help="write the report here")
    args = parser.parse_args()
    started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    suite = run(quick=args.quick, say=lambda line: print(line, file=sys.stderr))
    command = shlex.join(["python", "benchmarks/bench_pgha.py", *sys.argv[1:]])
    report = Report(command=command, started_utc=started, machine=describe(), suites=[suite])
    print(report_markdown(report))
    if args.json:
        write_report(report, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

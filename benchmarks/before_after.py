"""The quick pipeline benchmark of an older revision and of this one, by turns in one run.

    python -m benchmarks.before_after --before REVISION [--rounds 2]

Each takes its own code and its own packaged weights, in this environment. Printed are medians over the
rounds: frames a second where a machine is full, p95 and memory at as many cameras as both were given.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

from benchmarks.older import ROOT, checked_out, run_python

Cell = tuple[int, str, int]
"""People, size of the picture, cameras."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", required=True, metavar="REVISION", help="of this repository")
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    runs: dict[str, list[dict[Cell, dict[str, float]]]] = defaultdict(list)
    with checked_out(args.before) as old, tempfile.TemporaryDirectory() as folder:
        for number in range(args.rounds):
            for name, tree in (("before", old), ("after", ROOT)):
                print(f"round {number + 1}, {name}", flush=True)
                runs[name].append(measure(tree, Path(folder) / f"{name}{number}"))
    print(table(runs["before"], runs["after"]))


def measure(tree: Path, out: Path) -> dict[Cell, dict[str, float]]:
    """Medians of a checkout's benchmark, by figure."""
    run_python(tree, "-m", "gaitstream", "bench", "pipeline", "--quick", "--out", str(out))
    report = json.loads((out / "report.json").read_text())
    rows = next(suite["rows"] for suite in report["suites"] if suite["name"] == "pipeline")
    return {
        (row["setting"]["people"], row["setting"]["size"], row["setting"]["cameras"]): {
            name: found["median"] for name, found in row["figures"].items()
        }
        for row in rows
    }


def table(before: list[dict[Cell, dict[str, float]]], after: list[dict[Cell, dict[str, float]]]) -> str:
    """A row for every setting that all runs have, and one for the most that each setting's machine did."""
    lines = ["| people, size | cameras | | before | after | ratio |", "|---|---:|---|---:|---:|---:|"]
    common = sorted(set.intersection(*(set(run) for run in before + after)))
    for people, size in dict.fromkeys((cell[0], cell[1]) for cell in common):
        counts = [cell[2] for cell in common if cell[:2] == (people, size)]
        most = [
            median(
                max(row["analysed"] for cell, row in run.items() if cell[:2] == (people, size))
                for run in runs
            )
            for runs in (before, after)
        ]
        lines.append(_row(people, size, "full", "frames/s", *most))
        for count in counts:
            for name, unit in (("p95", "p95 [ms]"), ("memory", "memory [MiB]")):
                pair = [[run[people, size, count].get(name) for run in runs] for runs in (before, after)]
                known = [[value for value in values if value is not None] for values in pair]
                if all(known):
                    lines.append(_row(people, size, str(count), unit, *(median(values) for values in known)))
    return "\n".join(lines)


def _row(people: int, size: str, cameras: str, unit: str, before: float, after: float) -> str:
    return f"| {people}, {size} | {cameras} | {unit} | {before:.1f} | {after:.1f} | {after / before:.2f} |"


if __name__ == "__main__":
    main()

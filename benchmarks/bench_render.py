"""Milliseconds per picture of the synthetic world on one core, for crowds of several sizes.

    python benchmarks/bench_render.py --width 640 --height 360 --pictures 96

A picture is what a synthetic camera gives: people moved, drawn, noise, JPEG there and back.
"""

from __future__ import annotations

import argparse
import statistics
import time

import cv2

from gaitstream.bench.machine import describe
from gaitstream.synth import open_synthetic

PEOPLE = (1, 5, 10)
WARM_UP = 32


def main() -> int:
    """Print a line per crowd."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--site", default="plaza", help="plaza, lobby, corridor or yard")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--pictures", type=int, default=96, help="measured per crowd, after a warm-up")
    args = parser.parse_args()
    if args.pictures < 2:
        parser.error(f"--pictures {args.pictures}: give at least 2, which make a spread")
    cv2.setNumThreads(1)
    machine = describe()
    versions = ", ".join(f"{name} {machine.versions[name]}" for name in ("numpy", "opencv-python"))
    print(f"{machine.cpu}, {machine.cores} cores, load {machine.load}; {machine.system}; {versions}")
    print(f"{args.site} {args.width} x {args.height}, one thread, {args.pictures} pictures, ms per picture")
    print(f"{'people':>6} {'median':>8} {'5%':>8} {'95%':>8} {'CPU':>8}")
    for people in PEOPLE:
        wall, cpu = measure(args.site, people, args.width, args.height, args.pictures)
        cuts = statistics.quantiles(wall, n=20)
        print(f"{people:>6} {statistics.median(wall):8.2f} {cuts[0]:8.2f} {cuts[-1]:8.2f} {cpu:8.2f}")
    return 0


def measure(site: str, people: int, width: int, height: int, pictures: int) -> tuple[list[float], float]:
    """Wall time of each picture and mean CPU time, in milliseconds."""
    camera = open_synthetic(f"synth://{site}?people={people}&width={width}&height={height}")
    for _ in range(WARM_UP):
        camera.read()
    wall = []
    start_cpu = time.process_time()
    for _ in range(pictures):
        start = time.perf_counter()
        camera.read()
        wall.append((time.perf_counter() - start) * 1e3)
    return wall, (time.process_time() - start_cpu) * 1e3 / pictures


if __name__ == "__main__":
    raise SystemExit(main())

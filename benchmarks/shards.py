"""A gallery on one machine and in shards on Ray actors of the same machine: equal rankings, times, memory.

python -m benchmarks.shards --persons 10000 --shards 4
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gaitstream.bench.crowd import BATCH, TEMPLATES_EACH, Floats, blocks, people_of, probes_of
from gaitstream.bench.gallery import MODEL, PRINT
from gaitstream.errors import GalleryError
from gaitstream.gallery import Gallery
from gaitstream.gallery.gallery import Enrolment
from gaitstream.gallery.keeper import Keeper
from gaitstream.gallery.people import People
from gaitstream.gallery.ray_loading import load_ray
from gaitstream.gallery.shards_ray import start_shards, stop_shards
from gaitstream.gallery.shards_server import ShardPlace
from gaitstream.pipeline.ranking import ComparedWindow, ScoreScale, rank

SCALES = {MODEL: ScoreScale()}
NEAREST = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--persons", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gaitstream-shards-") as folder:
        path = Path(folder) / "gallery"
        _fill(path, args.persons)
        probes = list(probes_of(2 * BATCH, args.persons))
        with Keeper(path, [MODEL], "none") as keeper:
            whole, expected = _measure("one process", keeper.people(), probes, args.repeats)
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        ray = load_ray("a gallery in shards", GalleryError)
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        places = [ShardPlace(path, "none", (MODEL,), number, args.shards) for number in range(args.shards)]
        started_s = time.perf_counter()
        parts = start_shards(places, args.replicas)
        print(f"{args.shards} shards x {args.replicas} loaded in {time.perf_counter() - started_s:.1f} s")
        sharded, found = _measure(f"{args.shards} shards", parts, probes, args.repeats)
        stop_shards(places, args.replicas)
        ray.shutdown()
    same = sum(one == other for one, other in zip(expected, found, strict=True))
    print(f"| gallery of {args.persons} people x {TEMPLATES_EACH} | one probe [ms] | one of {BATCH} [ms] |")
    print("|---|---:|---:|")
    print(f"{whole}\n{sharded}")
    print(f"rankings equal, names and distances to the last bit: {same} of {len(probes)}")


def _fill(path: Path, persons: int) -> None:
    with Gallery(path, create=True, key="none") as gallery:
        for first, count in blocks(persons):
            gallery.enroll_many(
                Enrolment(f"person {first + index}", MODEL, PRINT, one)
                for index, one in enumerate(people_of(first, count))
            )


def _measure(
    title: str, people: People, probes: list[Floats], repeats: int
) -> tuple[str, list[list[tuple[np.float32, str]]]]:
    """A row of the table, and the ranking of each probe."""
    _rank(people, probes[:1])  # the first one starts threads
    single = _median_ms(lambda: _rank(people, probes[:1]), repeats)
    batch = _median_ms(lambda: _rank(people, probes[:BATCH]), max(3, repeats // 3)) / BATCH
    return f"| {title} | {single:.1f} | {batch:.1f} |", _rank(people, probes)


def _rank(people: People, probes: list[Floats]) -> list[list[tuple[np.float32, str]]]:
    """From embeddings to the nearest people with exact distances, as the pipeline asks."""
    windows = [ComparedWindow(probe) for probe in probes]
    for window, nearest in zip(windows, people.search(MODEL, probes), strict=True):
        window.nearest = nearest
    ranked = [rank(people, SCALES, {MODEL: [window]}, count=NEAREST) for window in windows]
    return [
        [(far, people.names[one]) for far, one in zip(found.distances, found.persons, strict=True)]
        for found in ranked
    ]


def _median_ms(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        started_s = time.perf_counter()
        work()
        times.append((time.perf_counter() - started_s) * 1e3)
    return statistics.median(times)


if __name__ == "__main__":
    main()

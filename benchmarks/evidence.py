"""What keeping evidence costs a run: the same site with and without it, in turn, each in a fresh process.

    python benchmarks/evidence.py [--cameras 4] [--seconds 20] [--rounds 3] [--out FILE]

Synthetic cameras are played as fast as they go, so that every millisecond of the pipeline's thread shows.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from gaitstream.config.reading import load_config
from gaitstream.evidence.observing import open_observers
from gaitstream.gallery import Gallery
from gaitstream.pipeline.base import RunOptions
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.publish import open_publisher
from gaitstream.pipeline.runner import Pipeline

KINDS: dict[str, dict[str, Any]] = {
    "without": {},
    "tracks": {"keep": True},
    "tracks and minutes": {"keep": True, "minutes": 5},
}


def write_site(folder: Path, cameras: int, seconds: float, evidence: dict[str, Any]) -> Path:
    """A site of synthetic cameras with four people each, the demo's models and an empty gallery."""
    url = "synth://plaza?people=4&fps=15&camera={}&seconds={:g}"
    content = {
        "cameras": [
            {"id": f"cam{number}", "url": url.format(1 + number % 4, seconds), "fps": None}
            for number in range(cameras)
        ],
        "models": {"detector": "demo", "pose": "demo", "gaitheat": "demo"},
        "gallery": {"path": "people.gallery"},
        "events": {"endpoint": "tcp://127.0.0.1:0"},
        "evidence": evidence,
    }
    path = folder / "cams.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


class Timed(Observer):
    """Another hook, and the CPU time that the pipeline's thread spends in it."""

    def __init__(self, inner: Observer) -> None:
        self.spent_s = 0.0
        for name in ("on_begin", "on_looks", "on_frame", "on_basis", "on_track_ended", "close"):
            setattr(self, name, self._timed(getattr(inner, name)))

    def _timed(self, hook: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any) -> None:
            begun_s = time.thread_time()
            hook(*args)
            self.spent_s += time.thread_time() - begun_s if hook.__name__ != "close" else 0.0

        return call


def measure(path: Path) -> dict[str, Any]:
    """Run a site to its end in this process."""
    config = load_config(path)
    Gallery(path.parent / "people.gallery", create=True).close()
    observers = [Timed(one) for one in open_observers(RunOptions(config=path), config)]
    with open_publisher(config, path) as publisher:
        with Pipeline(config, sink=publisher, observers=observers) as pipeline:
            before_s, cpu_s = time.perf_counter(), _cpu_s()
            outcome = pipeline.run()
            wall_s = time.perf_counter() - before_s
        cpu_s = _cpu_s() - cpu_s  # with the writer's last
    snapshot = pipeline.snapshot()
    kept = [file.stat().st_size for file in path.parent.rglob("*.evidence") if file.is_file()]
    return {
        "frames": outcome.frames,
        "tracks": outcome.tracks,
        "wall_ms": 1e3 * wall_s / outcome.frames,
        "cpu_ms": 1e3 * cpu_s / outcome.frames,
        "hooks_ms": 1e3 * sum(one.spent_s for one in observers) / outcome.frames,
        "evidence": dict(snapshot.evidence),
        "bytes_a_track": statistics.mean(kept) if kept else 0,
    }


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure, print a table, write a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(measure(args.one)))
        return
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for _ in range(args.rounds):
        for kind, section in KINDS.items():
            with tempfile.TemporaryDirectory() as folder:
                path = write_site(Path(folder), args.cameras, args.seconds, section)
                command = [sys.executable, __file__, "--one", str(path)]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found[kind].append(json.loads(said.splitlines()[-1]))
    print(
        f"{'':20}{'frames':>8}{'wall ms':>9}{'CPU ms':>8}{'hooks ms':>10}  a frame; median of {args.rounds}"
    )
    for kind, rounds in found.items():
        figures = ("wall_ms", "cpu_ms", "hooks_ms")
        wall, cpu, hooks = (statistics.median(one[name] for one in rounds) for name in figures)
        last = rounds[-1]
        print(f"{kind:20}{last['frames']:8}{wall:9.2f}{cpu:8.2f}{hooks:10.3f}  {last['evidence']}", end="")
        print(f", {last['bytes_a_track'] / 1e3:.0f} kB a track" if last["bytes_a_track"] else "")
    if args.out is not None:
        args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Gaitstream's own row beside the assemblies: a module without PyTorch, whose memory would count as ours."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from benchmarks.baselines.assembly import contender_row
from gaitstream.bench.floors import FrameWork, find_limits
from gaitstream.bench.pipeline import drive, latencies, open_models
from gaitstream.bench.result import Row

SIZE = (640, 360)
"""Width and height of the comparison's videos."""


def contend(name: str, clips: list[str], bundle: str, seconds: float, precision: str) -> list[Row]:
    """Gaitstream on the comparison's work: every person is evidence, files as fast as they go."""
    paths = [Path(clip) for clip in clips]
    limits = find_limits(*open_models(paths, 1, bundle, plain=True, precision=precision))
    with tempfile.TemporaryDirectory() as folder:
        load = drive(
            paths, len(paths), Path(folder), seconds,
            realtime=False, bundle=bundle, plain=True, precision=precision,
        )  # fmt: skip
    people = load.persons / max(load.frames, 1)
    row = contender_row(name, load.fps, people, latencies(load), load.windows / load.seconds)
    least_ms = limits.frame_ms(FrameWork(SIZE[0] * SIZE[1], people, people))
    return [msgspec.structs.replace(row, floor={"analysed": 1e3 / least_ms})]

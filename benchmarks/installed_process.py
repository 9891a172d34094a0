"""A process of `installed.py`: alignment and crops by whatever the package it imports brings.

python benchmarks/installed_process.py

Run by its path, so that the package beside it is not the one imported. Writes one line of JSON.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import msgspec
import numpy as np

from gaitstream.bench.measure import time_ms
from gaitstream.bench.pgha import GROUPS, frames
from gaitstream.kernels import align, cpu
from gaitstream.models.crops import crop_around

FRAMES = 64
"""Frames of one alignment: a tracklet."""
NUMPY_FRAMES = 4
PEOPLE = 8
"""Crops of one picture."""
CROP = (256, 192)


@dataclasses.dataclass
class Measured:
    """What one process found; times are one thread's, the least of several calls.

    Attributes:
        kernels: which library, or why there is none.
        align_us: of one frame.
        crop_us: of one person.
        off: the largest difference from numpy's alignment.
    """

    kernels: str
    align_us: float
    crop_us: float
    off: float


def measure() -> Measured:
    """Time both, and compare with numpy."""
    compiled = cpu.kind().compiled
    maps, keypoints = frames(FRAMES if compiled else NUMPY_FRAMES)
    n = len(maps)
    align_ms = time_ms(
        lambda: align(maps, keypoints, groups=GROUPS, threads=1), repeats=40 if compiled else 3, warmup=1
    )
    few = slice(NUMPY_FRAMES)
    ours = align(maps[few], keypoints[few], groups=GROUPS).parts
    oracle = align(maps[few], keypoints[few], groups=GROUPS, backend="numpy").parts
    return Measured(
        kernels=cpu.kind().said,
        align_us=1e3 * min(align_ms) / n,
        crop_us=1e3 * min(time_ms(_cropping(), repeats=40, warmup=2)) / PEOPLE,
        off=float(abs(ours - oracle).max()),
    )


def _cropping() -> Callable[[], object]:
    image = np.random.default_rng(1).integers(0, 256, (720, 1280, 3), np.uint8)
    left = np.linspace(20, 1100, PEOPLE)
    boxes = np.stack([left, np.full(PEOPLE, 200), left + 110, np.full(PEOPLE, 520)], axis=1)
    out = np.empty((PEOPLE, 3, *CROP), np.uint8)
    return lambda: crop_around(image, boxes, CROP, out=out)


if __name__ == "__main__":
    print(msgspec.json.encode(measure()).decode())

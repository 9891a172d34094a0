"""How fast one network is on this machine: what `gaitstream models get` notes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from gaitstream.bench.machine import describe
from gaitstream.engines import Engine
from gaitstream.models.detector import DetectorModel
from gaitstream.models.pose import PoseModel
from gaitstream.models.pose_outputs import CROP_HEIGHT, CROP_WIDTH
from gaitstream.models.segmenter import Segmenter
from gaitstream.zoo.fetched import Speed

WARM_UPS = 2
MOST_CALLS = 30
MOST_S = 2.0
PICTURE = (1080, 1920, 3)


def measure_network(task: str, manifest: Path) -> Speed | None:
    """Time single looks of a network, with what `auto` picks; None for what is none.

    Args:
        task: `detector`, `pose` or `segmenter`.
        manifest: its manifest.

    Raises:
        EngineError: it does not run here.
        ConfigError: the manifest is wrong.
    """
    noise = np.random.default_rng(0).integers(0, 256, PICTURE, np.uint8)
    if task == "detector":
        detector = DetectorModel.load(manifest)
        return _timed(detector.engine, lambda: detector.detect([noise]), "picture")
    if task == "pose":
        pose = PoseModel.load(manifest)
        crop = np.ascontiguousarray(noise[:CROP_HEIGHT, :CROP_WIDTH].transpose(2, 0, 1))[None]
        return _timed(pose.engine, lambda: pose.heatmaps(crop), "crop")
    if task == "segmenter":
        segmenter = Segmenter.load(manifest)
        height, width = segmenter.size
        masked = np.ascontiguousarray(noise[:height, :width].transpose(2, 0, 1))[None]
        return _timed(segmenter.engine, lambda: segmenter.masks(masked), "crop")
    return None


def _timed(engine: Engine, look: Callable[[], object], of: str) -> Speed:
    """The median of a few looks; the engine is closed afterwards."""
    try:
        for _ in range(WARM_UPS):
            look()
        times: list[float] = []
        while len(times) < MOST_CALLS and sum(times) < MOST_S:
            start = time.perf_counter()
            look()
            times.append(time.perf_counter() - start)
    finally:
        engine.close()
    machine = describe()
    where = machine.cpu if engine.device == "cpu" else engine.device
    return Speed(
        milliseconds=round(1e3 * median(times), 2),
        of=of,
        runtime=engine.runtime,
        precision=engine.precision,
        machine=f"{where}, {machine.cores} cores",
    )

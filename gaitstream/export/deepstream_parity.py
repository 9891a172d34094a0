"""The proof that the graphs for nvinfer give the ordinary frame graph's features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.engines import open_engine
from gaitstream.engines.base import Batch, Engine, Precision
from gaitstream.engines.cache import EngineCache
from gaitstream.errors import ExportError
from gaitstream.export.cases import Case, draw_crop
from gaitstream.export.compare import Distance, measure
from gaitstream.export.deepstream import BIGGAIT_FEATURE, GAITHEAT_FEATURE, INPUT
from gaitstream.models.bundle import Bundle
from gaitstream.models.pose import CROP_HEIGHT, CROP_WIDTH, PoseModel, keypoints

Array = NDArray[Any]
LIMIT = 1e-3
"""Largest relative error of the features: outputs are rounded to half precision, which is 2e-4."""
POSES = 6


def compare(
    bundle: Bundle, case: Case, runtime: str, precision: Precision, cache: EngineCache, pose: Path | None
) -> Distance:
    """Run the graph for nvinfer and the ordinary one on the same pixels and the same runtime.

    Args:
        bundle: with the graph for nvinfer.
        case: BigGait's fixed inputs; GaitHeat's are drawn here, as pixels.
        runtime: where both run.
        precision: of both.
        cache: for compiled engines.
        pose: GaitHeat's pose model.
    """
    if bundle.manifest.model == "biggait":
        crops = case.feeds["crops"]
        reference = _run(bundle.graph("frame", precision), case.feeds, "features", runtime, precision, cache)
        name = BIGGAIT_FEATURE
    else:
        crops = _walkers()
        reference = _ordinary(bundle, crops, runtime, precision, cache, pose)
        name = GAITHEAT_FEATURE
    graph = bundle.graph("deepstream", precision)
    found = _run(graph, {INPUT: crops.astype(np.float32)}, name, runtime, precision, cache)
    return measure(found, reference)


def limit(model: str, precision: Precision) -> float | None:
    """What must hold; None where the comparison is recorded only.

    GaitHeat's half-precision graph runs the pose model in half precision too, and a joint that moves to the
    neighbouring pixel moves the alignment with it.
    """
    return LIMIT if model == "biggait" or precision == "fp32" else None


def _ordinary(
    bundle: Bundle, crops: Array, runtime: str, precision: Precision, cache: EngineCache, pose: Path | None
) -> Array:
    if pose is None:
        raise ExportError("GaitHeat's graph for DeepStream holds a pose model: give it with --pose FILE")
    model = PoseModel.load(pose, runtime, "fp32", cache=cache)
    try:
        heatmaps = model.heatmaps(crops)
    finally:
        model.close()
    feeds = {"heatmaps": heatmaps, "keypoints": keypoints(heatmaps)}
    parts = _run(bundle.graph("align", "fp32"), feeds, "parts", runtime, "fp32", cache)
    return _run(bundle.graph("frame", precision), {"parts": parts}, "features", runtime, precision, cache)


def _run(
    graph: Path, feeds: dict[str, Array], output: str, runtime: str, precision: str, cache: EngineCache
) -> Array:
    engine: Engine
    with open_engine(graph, runtime, precision, batch=Batch(1, 12, 16), cache=cache) as engine:
        return engine.infer(feeds)[output]


def _walkers() -> NDArray[np.uint8]:
    """Drawn people for the pose model, RGB `[n, 3, 256, 192]`."""
    rng = np.random.default_rng(7)
    crops = np.zeros((POSES, 3, CROP_HEIGHT, CROP_WIDTH), np.uint8)
    for index, crop in enumerate(crops):
        picture = draw_crop(index % 3, index * 1.1, 0.5, rng)
        left = (CROP_WIDTH - picture.shape[2]) // 2
        crop[:, :, left : left + picture.shape[2]] = picture
    return crops

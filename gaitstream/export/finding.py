"""What detectors and pose models find in scenes, and how well: the yardstick of their int8 graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from supervision import box_iou_batch

from gaitstream.data import Floats
from gaitstream.export.quantise import Feeds
from gaitstream.export.scenes import Scene
from gaitstream.models.detector import DetectorModel, find_detector
from gaitstream.models.detector_layouts import DetectorContract
from gaitstream.models.pose import PoseContract, PoseModel, keypoints, read_contract, to_heatmap

CALIBRATED_BY = "onnxruntime"
"""Runs the original graph with the very inputs that NNCF gives it."""
LEAST_SCORE = 0.3
IOU = 0.5
NEAR_PX = 2.0
"""Heatmap pixels within which a joint is found."""
POINTS = 0.3
"""What recall, precision and the share of joints found may lose, percentage points."""
ERROR_RISE = 0.02
"""What the median error of joints may gain, as a share."""
MOVED_PX = 0.1
"""What joints may move, heatmap pixels, where their true places are not known."""
Figures = dict[str, float]


class Finder(Protocol):
    """A network of one kind.

    Attributes:
        graph: its ONNX file in float32.
        contract: its manifest.
    """

    graph: Path
    contract: Any

    def feeds(self, scenes: Sequence[Scene]) -> list[Feeds]:
        """The graph's inputs for scenes, one inference each."""
        ...

    def judge(self, manifest: Path, scenes: Sequence[Scene], *, true: bool) -> tuple[Figures, Figures, bool]:
        """What the network finds in fp32 and in int8, and whether int8 is as good.

        Args:
            manifest: names both graphs.
            scenes: to look at.
            true: boxes and joints are the truth; else what fp32 finds stands in for it.
        """
        ...


class PeopleFinder:
    """A detector, judged by recall and precision."""

    contract: DetectorContract

    def __init__(self, model: str | Path) -> None:
        self.graph, contract = find_detector(model)
        if contract is None:
            loaded = DetectorModel.load(model, runtime=CALIBRATED_BY, precision="fp32")
            contract = loaded.contract
            loaded.close()
        self.contract = contract

    def feeds(self, scenes: Sequence[Scene]) -> list[Feeds]:
        """A picture each, as often as a graph of fixed batch takes it."""
        model = DetectorModel.load(self.graph, runtime=CALIBRATED_BY, precision="fp32")
        try:
            return [_copied(model.feeds([scene.image])) for scene in scenes]
        finally:
            model.close()

    def judge(self, manifest: Path, scenes: Sequence[Scene], *, true: bool) -> tuple[Figures, Figures, bool]:
        """Recall and precision at a score of 0.3, percent."""
        boxes = {name: _boxes(manifest, name, scenes) for name in ("fp32", "int8")}
        truth = [scene.boxes for scene in scenes] if true else boxes["fp32"]
        ignored = [scene.ignored for scene in scenes]
        before, after = (_people(boxes[name], truth, ignored) for name in ("fp32", "int8"))
        return before, after, all(after[name] >= before[name] - POINTS for name in before)


class JointFinder:
    """A pose model, judged by how far its joints are off."""

    contract: PoseContract

    def __init__(self, model: str | Path) -> None:
        self.graph, self.contract = read_contract(model)

    def feeds(self, scenes: Sequence[Scene]) -> list[Feeds]:
        """A person's crop each."""
        model = PoseModel.load(self.graph, CALIBRATED_BY, "fp32")
        try:
            crops = [model.crop(scene.image, scene.boxes) for scene in scenes if len(scene.boxes)]
            return [model.feeds(crop[None]) for group in crops for crop in group]
        finally:
            model.close()

    def judge(self, manifest: Path, scenes: Sequence[Scene], *, true: bool) -> tuple[Figures, Figures, bool]:
        """Median error in heatmap pixels, and percent of joints within two of them."""
        found = {name: _joints(manifest, name, scenes) for name in ("fp32", "int8")}
        known = np.concatenate(
            [to_heatmap(scene.joints, scene.boxes) for scene in scenes if scene.joints is not None]
        ) if true else found["fp32"]  # fmt: skip
        before, after = (_errors(found[name], known) for name in ("fp32", "int8"))
        allowed = before["median_px"] * (1 + ERROR_RISE) if true else MOVED_PX
        kept = after["median_px"] <= allowed and after["found"] >= before["found"] - POINTS
        return before, after, kept


FINDERS: dict[str, Callable[[str | Path], Finder]] = {"detector": PeopleFinder, "pose": JointFinder}


def _boxes(manifest: Path, precision: str, scenes: Sequence[Scene]) -> list[Floats]:
    model = DetectorModel.load(manifest, precision=precision, runtime="openvino")
    try:
        return [model.detect([scene.image], LEAST_SCORE)[0].boxes for scene in scenes]
    finally:
        model.close()


def _joints(manifest: Path, precision: str, scenes: Sequence[Scene]) -> NDArray[np.float64]:
    model = PoseModel.load(manifest, "openvino", precision)
    try:
        found = [keypoints(model.heatmaps(model.crop(one.image, one.boxes))) for one in scenes]
    finally:
        model.close()
    return np.concatenate(found)[..., :2].astype(np.float64)


def _people(found: Sequence[Floats], truth: Sequence[Floats], ignored: Sequence[Floats]) -> Figures:
    hits = wanted = given = 0
    for mine, true, spare in zip(found, truth, ignored, strict=True):
        over = box_iou_batch(true, mine)
        matched = int((over.max(1, initial=0) > IOU).sum())
        beside = (box_iou_batch(mine, spare).max(1, initial=0) > IOU) & (over.max(0, initial=0) < IOU)
        hits, wanted = hits + matched, wanted + len(true)
        given += max(len(mine) - int(beside.sum()), matched)
    return {"recall": 100 * hits / max(wanted, 1), "precision": 100 * hits / max(given, 1)}


def _errors(found: NDArray[np.float64], known: NDArray[np.float64]) -> Figures:
    error = np.linalg.norm(found - known, axis=-1)
    return {"median_px": float(np.median(error)), "found": 100 * float(np.mean(error < NEAR_PX))}


def _copied(feeds: Mapping[str, NDArray[Any]]) -> Feeds:
    """The detector writes the next picture over the last one."""
    return {name: array.copy() for name, array in feeds.items()}

"""Finding people: an ONNX detector of any known layout, batched across cameras."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream.engines import Engine, open_engine
from gaitstream.errors import ConfigError, EngineError
from gaitstream.pipeline.config import is_model_path
from gaitstream.pipeline.data import Detections, Floats, Image
from gaitstream.pipeline.detect_layouts import (
    DECODERS,
    END_TO_END,
    DetectorContract,
    Geometry,
    Layout,
    recognise,
    usual_contract,
)

MANIFEST_SUFFIXES = (".yaml", ".yml", ".json")
MOST = 1000
"""Candidates looked at per image: the comparison of all pairs stays small even at a score limit of zero."""


class DetectorModel:
    """A person detector, ready to run. One thread at a time.

    Attributes:
        contract: what it expects of its pixels and how its outputs are read.
        size: input height and width.
        batch: most images in one call of the engine.
    """

    def __init__(
        self, contract: DetectorContract, engine: Engine, *, nms_iou: float = 0.5, batch: int = 16
    ) -> None:
        self.contract = contract
        self.engine = engine
        self.nms_iou = nms_iou
        self._input = next(spec for spec in engine.inputs.values() if len(spec.shape) == 4)
        self._sizes_input = next((spec for spec in engine.inputs.values() if len(spec.shape) == 2), None)
        height, width = self._input.shape[2:]
        self.size = (height, width) if height > 0 and width > 0 else contract.size
        fixed = self._input.shape[0]
        self.batch = fixed if fixed > 0 else min(batch, engine.max_batch or batch)
        self._fixed = fixed > 0

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        layout: Layout | Literal["auto"] = "auto",
        nms_iou: float = 0.5,
        runtime: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        batch: int = 16,
    ) -> Self:
        """Open a detector.

        Args:
            model: an ONNX file, a manifest beside one, or a name of the model zoo.
            layout: how the outputs are read; `auto` recognises it.
            nms_iou: boxes that overlap more are one person.
            runtime: see `gaitstream.engines.open_engine`.
            precision: likewise.
            threads: likewise.
            batch: most images in one call, where the graph leaves it open.

        Raises:
            ConfigError: no such file, a wrong manifest, or outputs of no known layout.
            EngineError: the graph does not compile.
        """
        graph, contract = find_detector(model)
        engine = open_engine(graph, runtime, precision, threads)
        if layout != "auto" and (contract is None or contract.layout != layout):
            contract = usual_contract(graph.name, layout)
        if contract is None:
            shapes = {name: spec.shape for name, spec in engine.outputs.items()}
            contract = usual_contract(graph.name, recognise(graph.name, shapes, _input_size(engine)))
        return cls(contract, engine, nms_iou=nms_iou, batch=batch)

    def detect(self, images: Sequence[Image], least: Sequence[float] | float = 0.3) -> list[Detections]:
        """Find people.

        Args:
            images: BGR uint8 `[height, width, 3]`, of any and of different sizes.
            least: lowest score, one for all or one per image.

        Returns:
            Boxes (xyxy pixels of each image, within it) and scores, best first, per image.
        """
        limits = [least] * len(images) if isinstance(least, float | int) else list(least)
        groups = [images[start : start + self.batch] for start in range(0, len(images), self.batch)]
        # All batches are under way before the first is waited for: asynchronous runtimes overlap them.
        pending = [self.engine.submit(self._feeds(group)) for group in groups]
        found: list[Detections] = []
        for group, call in zip(groups, pending, strict=True):
            outputs = call.result()
            for item, image in enumerate(group):
                found.append(self._read(outputs, item, image.shape[:2], limits[len(found)]))
        return found

    def close(self) -> None:
        """Free the engine."""
        self.engine.close()

    def _feeds(self, images: Sequence[Image]) -> dict[str, NDArray[Any]]:
        """The network's inputs; a graph of fixed batch is filled up with the last image."""
        import cv2

        canvases = [self._canvas(image) for image in images]
        canvases += canvases[-1:] * (self.batch - len(canvases) if self._fixed else 0)
        contract = self.contract
        swap = contract.colour == "rgb"
        blob: NDArray[Any] = cv2.dnn.blobFromImages(canvases, 1.0 / contract.scale, swapRB=swap)
        if any(contract.mean) or contract.std != (1.0, 1.0, 1.0):
            mean, std = (np.asarray(v, np.float32)[:, None, None] for v in (contract.mean, contract.std))
            blob = (blob - mean) / std
        feeds: dict[str, NDArray[Any]] = {self._input.name: blob.astype(self._input.dtype, copy=False)}
        if self._sizes_input is not None:
            # RT-DETR scales its boxes to a size it is given, width first.
            sizes = np.tile(np.array([self.size[::-1]]), (len(canvases), 1))
            feeds[self._sizes_input.name] = sizes.astype(self._sizes_input.dtype)
        return feeds

    def _canvas(self, image: Image) -> Image:
        """The image at the network's size, padded as the contract says."""
        import cv2

        net_height, net_width = self.size
        where = Geometry.of(image.shape[:2], self.size, self.contract.fit)
        height = min(net_height, max(1, round(image.shape[0] * where.scale_y)))
        width = min(net_width, max(1, round(image.shape[1] * where.scale_x)))
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        if (height, width) == self.size:
            return np.asarray(resized, np.uint8)
        canvas = np.full((net_height, net_width, 3), self.contract.pad, np.uint8)
        top, left = int(where.top), int(where.left)
        canvas[top : top + height, left : left + width] = resized
        return canvas

    def _read(
        self, outputs: dict[str, NDArray[Any]], item: int, image: tuple[int, ...], least: float
    ) -> Detections:
        """One image's persons out of a batch's outputs."""
        height, width = image
        boxes, scores = DECODERS[self.contract.layout](outputs, item, self.contract, self.size, least)
        boxes = Geometry.of((height, width), self.size, self.contract.fit).to_image(boxes)
        boxes = np.clip(boxes, 0, np.array([width, height] * 2, np.float32)).astype(np.float32, copy=False)
        solid = (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
        boxes, scores = boxes[solid], scores[solid].astype(np.float32, copy=False)
        order = (
            np.argsort(-scores, kind="stable")
            if self.contract.layout in END_TO_END
            else suppress(boxes, scores, self.nms_iou)
        )
        return Detections(boxes[order], scores[order])


def suppress(boxes: Floats, scores: Floats, iou: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression.

    Args:
        boxes: xyxy `[n, 4]`.
        scores: `[n]`.
        iou: a box that overlaps a better one by more is dropped.

    Returns:
        Indices kept, best first.
    """
    order = np.argsort(-scores, kind="stable")[:MOST]
    boxes = boxes[order]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    corner = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    extent = np.clip(np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - corner, 0, None)
    shared = extent[..., 0] * extent[..., 1]
    clash = shared > iou * (area[:, None] + area[None, :] - shared)
    kept = np.ones(len(boxes), bool)
    for index in range(len(boxes)):
        if kept[index]:
            kept[index + 1 :] &= ~clash[index, index + 1 :]
    return order[kept]


def _input_size(engine: Engine) -> tuple[int, int]:
    shape = next((spec.shape for spec in engine.inputs.values() if len(spec.shape) == 4), None)
    if shape is None:
        raise EngineError("a detector takes images [n, 3, height, width]; this graph has no such input")
    return shape[2], shape[3]


def find_detector(model: str | Path) -> tuple[Path, DetectorContract | None]:
    """The ONNX file and its manifest, if it has one."""
    if isinstance(model, str) and not is_model_path(model):
        from gaitstream import zoo

        path = zoo.resolve(model, "detector")
    else:
        path = Path(model)
    if not path.is_file():
        raise ConfigError(f"detector {path} does not exist; give an ONNX file, its manifest, or a zoo name")
    if path.suffix in MANIFEST_SUFFIXES:
        contract = _read_manifest(path)
        return path.parent / contract.graph, contract
    beside = (path.with_suffix(suffix) for suffix in MANIFEST_SUFFIXES)
    manifest = next((file for file in beside if file.is_file()), None)
    return path, _read_manifest(manifest) if manifest else None


def _read_manifest(path: Path) -> DetectorContract:
    import yaml

    try:
        return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), DetectorContract)
    except (msgspec.ValidationError, yaml.YAMLError, UnicodeDecodeError) as error:
        keys = ", ".join(DetectorContract.__struct_fields__)
        raise ConfigError(f"{path}: not a detector manifest: {error}; it takes {keys}") from None

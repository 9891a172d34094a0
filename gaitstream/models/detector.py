"""Finding people: an ONNX detector of any known layout, batched across cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Detections, Floats, Image, areas, shared_areas
from gaitstream.engines import Batch, Engine, Pixels, graph_shapes, open_engine
from gaitstream.engines.opening import graph_types
from gaitstream.errors import ConfigError, EngineError, GaitstreamError
from gaitstream.kernels.resizing import resize
from gaitstream.models.crop_network import as_type, check_pixels
from gaitstream.models.detector_layouts import (
    LAYOUTS,
    DetectorContract,
    Geometry,
    Shapes,
    check,
    holds_doubles,
    recognise,
    usual_contract,
)
from gaitstream.models.resolve import find_network, quantised_beside

USUAL = 16
"""Images in a call that is full, as `runtime.batch` has it unless it says otherwise."""
MOST = 1000
"""Candidates looked at per image: the comparison of all pairs stays small even at a score limit of zero."""
SPECK_PX = 2.0
"""Side of a box, in pixels of the input, below which it shows nobody."""
SPECKS = 20
"""Boxes without a size or without numbers before the first that has one: the outputs are read wrongly."""


class DetectorModel:
    """A person detector, ready to run. One thread at a time.

    Args:
        contract: what it expects of its pixels and how its outputs are read.
        engine: runs its graph.
        nms_iou: boxes that overlap more are one person.
        batch: most images in one call.
        own_bytes: the graph's own input is bytes, so that the engine was not told the order of its colours.

    Attributes:
        contract: what it expects of its pixels and how its outputs are read.
        layout: what reads them.
        size: input height and width.
        batch: most images in one call of the engine.
    """

    def __init__(
        self,
        contract: DetectorContract,
        engine: Engine,
        *,
        nms_iou: float = 0.5,
        batch: int = 16,
        own_bytes: bool = False,
    ) -> None:
        self.contract = contract
        self.layout = LAYOUTS.get(contract.layout)
        self.engine = engine
        self.nms_iou = nms_iou
        self._input = engine.inputs[_picture_input({one.name: one.shape for one in engine.inputs.values()})]
        self._sizes_input = next((spec for spec in engine.inputs.values() if len(spec.shape) == 2), None)
        # An engine that makes its own floats takes pictures as they lie in memory.
        self._takes_pictures = self._input.dtype == "uint8" and self._input.shape[3] == 3
        self._swaps = own_bytes and contract.colour == "rgb"
        if not self._takes_pictures and self._input.shape[1] not in (3, -1):
            raise EngineError(_no_pictures({one.name: one.shape for one in engine.inputs.values()}))
        check_pixels(contract, self._input)
        height, width = self._input.shape[1:3] if self._takes_pictures else self._input.shape[2:]
        self.size = (height, width) if height > 0 and width > 0 else contract.size
        check(contract, {name: spec.shape for name, spec in engine.outputs.items()}, self.size)
        fixed = self._input.shape[0]
        self.batch = fixed if fixed > 0 else min(batch, engine.max_batch or batch)
        self._fixed = fixed > 0
        self._specks: int | None = 0
        """Boxes so far that show nobody; None once one of them had a size."""
        self._canvases = np.empty((0, *self.size, 3), np.uint8)

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        layout: str = "auto",
        nms_iou: float = 0.5,
        runtime: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        batch: int = 16,
        device: str | None = None,
    ) -> Self:
        """Open a detector.

        Args:
            model: an ONNX file, a manifest beside one, or a name of the model zoo.
            layout: how the outputs are read, a name of `LAYOUTS`; `auto` recognises it.
            nms_iou: boxes that overlap more are one person.
            runtime: see `gaitstream.engines.open_engine`.
            precision: likewise.
            threads: likewise.
            batch: most images in one call, where the graph leaves it open.
            device: see `gaitstream.engines.open_engine`.

        Raises:
            ConfigError: no such file, a manifest that is wrong or does not fit the graph, or outputs of no
                known layout.
            EngineError: the graph does not compile.
        """
        graph, contract = find_detector(model)
        guessed = contract is None and layout == "auto"
        if contract is None or layout not in ("auto", contract.layout):
            inputs, outputs = graph_shapes(graph)
            contract = settle_contract(graph, contract, layout, outputs, input_size(inputs))
        pixels = Pixels(
            contract.scale, contract.mean, contract.std, interleaved=True, swap=contract.colour == "rgb"
        )
        engine = open_engine(
            graph,
            runtime,
            precision,
            threads,
            # A GPU sets memory aside for the largest batch, twice: no more than is ever asked.
            Batch(1, min(batch, USUAL), batch),
            device=device,
            pixels=pixels,
            proven=contract.precisions,
            quantised=quantised_beside(graph, contract.int8),
        )
        try:
            detector = cls(
                contract, engine, nms_iou=nms_iou, batch=batch, own_bytes=_takes_bytes(graph, engine)
            )
            detector.check_open_axes(guessed=guessed)
        except GaitstreamError:
            engine.close()
            raise
        return detector

    def check_open_axes(self, *, guessed: bool) -> None:
        """Stop where outputs whose shapes the graph leaves open turn out to be others; runs an empty picture.

        Args:
            guessed: the layout was recognised from those shapes.

        Raises:
            ConfigError: they are not what the layout reads.
        """
        if all(min(spec.shape[1:], default=1) >= 0 for spec in self.engine.outputs.values()):
            return
        empty = np.full((*self.size, 3), self.contract.pad, np.uint8)
        outputs = self.engine.submit(self.feeds([empty])).result()
        shapes = {name: array.shape for name, array in outputs.items()}
        check(self.contract, shapes, self.size)
        found = recognise(self.contract.graph, shapes, self.size) if guessed else self.contract.layout
        if found != self.contract.layout:
            raise ConfigError(
                f"{self.contract.graph}: its outputs look like the layout {self.contract.layout} before it "
                f"runs and like {found} once it does: set models.detector.layout to the right one"
            )

    def detect(self, images: Sequence[Image], least: Sequence[float] | float = 0.3) -> list[Detections]:
        """Find people.

        Args:
            images: BGR uint8 `[height, width, 3]`, of any and of different sizes.
            least: lowest score, one for all or one per image.

        Returns:
            Boxes (xyxy pixels of each image, within it) and scores, best first, per image.

        Raises:
            EngineError: an image is something else.
        """
        for image in images:
            _check_image(image)
        limits = [least] * len(images) if isinstance(least, float | int) else list(least)
        chunks = self.engine.chunks(len(images), self.batch)
        # All batches are under way before the first is waited for: asynchronous runtimes overlap them.
        pending = [self.engine.submit(self.feeds(images[rows], rows.start)) for rows in chunks]
        found: list[Detections] = []
        for rows, call in zip(chunks, pending, strict=True):
            outputs = call.result()
            for item, image in enumerate(images[rows]):
                found.append(self._read(outputs, item, image.shape[:2], limits[len(found)]))
        return found

    def prepare(self, most: int) -> None:
        """Have the engine ready for up to so many images at once."""
        self.engine.prepare(min(most, self.batch))

    def close(self) -> None:
        """Free the engine."""
        self.engine.close()

    def feeds(self, images: Sequence[Image], first: int = 0) -> dict[str, NDArray[Any]]:
        """The network's inputs for a batch of images; a graph of fixed batch is filled up with the last one.

        Args:
            images: at most `batch`, see `detect`.
            first: number of the first one among those under way at once: each has memory of its own.
        """
        last = first + (self.batch if self._fixed else len(images))
        # Fresh memory costs more than the resizing: it is kept from call to call.
        if last > len(self._canvases):
            self._canvases = np.empty((last, *self.size, 3), np.uint8)
        canvases = self._canvases[first:last]
        for canvas, image in zip(canvases, images, strict=False):
            self._fit(image, canvas)
        canvases[len(images) :] = canvases[len(images) - 1]
        if not self._takes_pictures:
            feeds = {self._input.name: self._normalise(canvases)}
        else:
            feeds = {self._input.name: np.ascontiguousarray(canvases[..., ::-1]) if self._swaps else canvases}
        if self._sizes_input is not None:
            # RT-DETR scales its boxes to a size it is given, width first.
            sizes = np.tile(np.array([self.size[::-1]]), (len(canvases), 1))
            feeds[self._sizes_input.name] = sizes.astype(self._sizes_input.dtype)
        return feeds

    def _normalise(self, canvases: NDArray[np.uint8]) -> NDArray[Any]:
        import cv2

        contract = self.contract
        swap = contract.colour == "rgb"
        if self._input.dtype == "uint8":  # the graph makes floats of them itself
            ordered = canvases[..., ::-1] if swap else canvases
            return np.ascontiguousarray(ordered.transpose(0, 3, 1, 2))
        blob: NDArray[Any] = cv2.dnn.blobFromImages(list(canvases), 1.0 / contract.scale, swapRB=swap)
        if any(contract.mean) or contract.std != (1.0, 1.0, 1.0):
            mean, std = (np.asarray(v, np.float32)[:, None, None] for v in (contract.mean, contract.std))
            blob = (blob - mean) / std
        return as_type(blob, self._input.dtype)

    def _fit(self, image: Image, canvas: Image) -> None:
        """Write the image at the network's size, padded as the contract says."""
        net_height, net_width = self.size
        where = Geometry.of(image.shape[:2], self.size, self.contract.fit)
        height = min(net_height, max(1, round(image.shape[0] * where.scale_y)))
        width = min(net_width, max(1, round(image.shape[1] * where.scale_x)))
        top, left = int(where.top), int(where.left)
        bottom, right = top + height, left + width
        for border in (canvas[:top], canvas[bottom:], canvas[top:bottom, :left], canvas[top:bottom, right:]):
            border[...] = self.contract.pad
        resize(image, canvas[top:bottom, left:right])

    def _read(
        self, outputs: dict[str, NDArray[Any]], item: int, image: tuple[int, ...], least: float
    ) -> Detections:
        """One image's persons out of a batch's outputs."""
        height, width = image
        boxes, scores = self.layout.decode(outputs, item, self.contract, self.size, least)
        if boxes.shape != (len(boxes), 4) or scores.shape != (len(boxes),):
            raise ConfigError(
                f"{self.contract.graph}: its layout {self.contract.layout} gives boxes {list(boxes.shape)} "
                f"and scores {list(scores.shape)}, not [n, 4] and [n]: correct the layout, or set "
                "models.detector.layout to another"
            )
        boxes, scores = self._sized(boxes, scores)
        boxes = Geometry.of((height, width), self.size, self.contract.fit).to_image(boxes)
        boxes = np.clip(boxes, 0, np.array([width, height] * 2, np.float32)).astype(np.float32, copy=False)
        solid = (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
        boxes, scores = boxes[solid], scores[solid].astype(np.float32, copy=False)
        doubles = holds_doubles(self.layout, {name: one.shape for name, one in outputs.items()}, self.size)
        order = suppress(boxes, scores, self.nms_iou) if doubles else np.argsort(-scores, kind="stable")
        return Detections(boxes[order], scores[order])

    def _sized(self, boxes: Floats, scores: Floats) -> tuple[Floats, Floats]:
        """Those of the boxes, in pixels of the input, that are numbers and have a score that is one.

        Raises:
            ConfigError: no box had a size yet, and many should have had: they are no pixels.
        """
        finite = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
        sized = boxes[finite][:, 2:4] - boxes[finite][:, :2] >= SPECK_PX
        if sized.all(axis=1).any():
            self._specks = None
        if self._specks is not None:
            self._specks += len(boxes)
            if self._specks >= SPECKS:
                example = ", ".join(f"{value:.3g}" for value in boxes[0])
                raise ConfigError(
                    f"{self.contract.graph}: of {self._specks} people that it found none has a size, as in "
                    f"[{example}] of an input of {self.size[0]} x {self.size[1]}: the layout "
                    f"{self.contract.layout} reads something else; export it with boxes in pixels where they "
                    "are shares of the picture, or set models.detector.layout"
                )
        return (boxes, scores) if finite.all() else (boxes[finite], scores[finite])


def _check_image(image: Image) -> None:
    """Refuse what would be looked at as another picture, or as an empty one."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise EngineError(
            f"images are BGR uint8 [height, width, 3], not {image.dtype} {list(image.shape)}: convert them, "
            "or leave out what is empty"
        )


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
    area, shared = areas(boxes), shared_areas(boxes, boxes)
    clash = shared > iou * (area[:, None] + area - shared)
    # A bit for each box: whole numbers of any length are the quickest sets that there are.
    rows = np.packbits(clash, axis=1, bitorder="little")
    dropped, kept = 0, []
    for index, row in enumerate(rows):
        if not dropped >> index & 1:
            dropped |= int.from_bytes(row.tobytes(), "little")
            kept.append(index)
    return order[kept]


def input_size(inputs: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """Height and width of the picture input.

    Raises:
        EngineError: there is none, or its channels are not the second axis.
    """
    shape = inputs[_picture_input(inputs)]
    if shape[1] not in (3, -1):
        raise EngineError(_no_pictures(inputs))
    return shape[2], shape[3]


def _picture_input(inputs: Mapping[str, tuple[int, ...]]) -> str:
    found = next((name for name, shape in inputs.items() if len(shape) == 4), None)
    if found is None:
        raise EngineError(_no_pictures(inputs))
    return found


def _takes_bytes(graph: Path, engine: Engine) -> bool:
    """Whether the graph's own picture input is bytes."""
    name = _picture_input({one.name: one.shape for one in engine.inputs.values()})
    return graph_types(graph)[0][name] == "u8"


def _no_pictures(inputs: Mapping[str, tuple[int, ...]]) -> str:
    found = ", ".join(f"{name} {list(shape)}" for name, shape in inputs.items())
    return (
        f"a detector takes images [n, 3, height, width]; this one takes {found}: give a detector's graph, "
        "exported for three channels, and these first"
    )


def find_detector(model: str | Path) -> tuple[Path, DetectorContract | None]:
    """The ONNX file and its manifest, if it has one.

    Raises:
        ConfigError: no such name or file, or a manifest that is wrong.
    """
    graph, contract = find_network(model, "detector", DetectorContract)
    if contract is not None and contract.layout not in LAYOUTS.names():
        raise ConfigError(
            f"the manifest of {graph} names the layout {contract.layout!r}, which is not known; "
            f"allowed: {', '.join(LAYOUTS.names())}"
        )
    return graph, contract


def settle_contract(
    graph: Path, contract: DetectorContract | None, layout: str, outputs: Shapes, size: tuple[int, int]
) -> DetectorContract:
    """What a detector expects: its manifest's word, unless another layout was asked for by name.

    Args:
        graph: the ONNX file.
        contract: of its manifest, if it has one.
        layout: asked for, or `auto`.
        outputs: shape by output name, -1 where dynamic.
        size: input height and width, -1 where dynamic.

    Raises:
        ConfigError: there is no such layout, or the outputs are of none that is known.
    """
    if contract is not None and layout in ("auto", contract.layout):
        return contract
    return usual_contract(graph.name, layout if layout != "auto" else recognise(graph.name, outputs, size))

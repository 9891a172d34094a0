"""Masks and silhouettes of cropped people, from any segmentation model in ONNX.

A model is usable when it turns `[n, 3, height, width]` into a mask of the person in one of the layouts of
`segmentation_layouts`. What it expects of its pixels is declared in a YAML or JSON file of the same name
beside it:

    graph: pphumanseg.onnx
    layout: classes          # a name of `segmentation_layouts`; recognised from the output where left out
    person: 1                # index of the class `person`; 255 where labels are a picture of 0 and 255
    colour: rgb              # or bgr
    scale: 255               # pixels are divided by this first
    mean: [0.485, 0.456, 0.406]
    std: [0.229, 0.224, 0.225]
    size: [192, 192]         # height, width; for graphs that leave them open
    crop: around             # or pad_to_aspect; see `crops`
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats
from gaitstream.engines import Engine
from gaitstream.engines.cache import EngineCache
from gaitstream.errors import ConfigError, EngineError
from gaitstream.models.crop_network import CropNetwork, open_for_crops
from gaitstream.models.crops import (
    PADDING,
    Bytes,
    PeopleInFrames,
    Rule,
    crop_around,
    crop_frames,
    crop_padded,
    crop_windows,
)
from gaitstream.models.manifest_bounds import Index, Level, Pixels, Positive
from gaitstream.models.resolve import find_network
from gaitstream.models.segmentation_layouts import LAYOUTS, check, recognise
from gaitstream.models.silhouettes import INSIDE

Chunks = Sequence[Sequence[NDArray[Any]]]
"""Outputs, in the chunks they were computed in."""
WHITE = 255
LEAST_SHARE, MOST_SHARE = -0.5, 1.5
"""No share of a person in a pixel lies beyond, whatever enlarged it: logits, classes and levels are."""


class SegmenterContract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a segmentation model expects of its pixels, and how its output is read."""

    graph: str
    layout: str = "auto"
    person: Index = 1
    colour: Literal["rgb", "bgr"] = "rgb"
    scale: Positive = 255.0
    mean: tuple[Level, Level, Level] = (0.485, 0.456, 0.406)
    std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)
    size: tuple[Pixels, Pixels] = (192, 192)
    crop: Rule = "around"
    """How people are cut out for it; see `crops`."""
    precisions: tuple[Literal["bf16", "int8"], ...] = ()
    """Lower precisions in which it was measured to find the same masks: `auto` may take them."""
    int8: str = ""
    """File of its quantised graph beside it, where there is one."""
    licence: str = ""


class Segmenter:
    """A segmentation model, ready to run on crops of people.

    Attributes:
        contract: what it expects.
        engine: what runs it.
        size: height and width of the crops it takes.
    """

    def __init__(self, contract: SegmenterContract, engine: Engine) -> None:
        self.contract = contract
        self.engine = engine
        self._network = CropNetwork(contract, engine)
        shape = self._network.input.shape
        if len(engine.inputs) != 1 or len(shape) != 4 or shape[1] not in (3, -1):
            shapes = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in engine.inputs.values())
            raise EngineError(
                f"{contract.graph} takes {shapes}: a segmentation model takes one input [n, 3, height, width]"
            )
        self.size = (shape[2], shape[3]) if min(shape[2:]) > 0 else contract.size
        outputs = [spec.shape for spec in engine.outputs.values()]
        self._name = recognise(contract.graph, outputs) if contract.layout == "auto" else contract.layout
        check(contract.graph, self._name, outputs, contract.person, self.size)
        self._layout = LAYOUTS.get(self._name)
        self._check_values = _CHECKS.get(self._name)

    @classmethod
    def load(
        cls,
        model: str | Path,
        runtime: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        *,
        layout: str = "auto",
        cache: EngineCache | None = None,
        device: str | None = None,
    ) -> Self:
        """Open an ONNX file, the manifest that names it, a bundle with masks, or a name of the model zoo.

        Args:
            model: without a manifest beside it, RGB with ImageNet normalisation is assumed.
            runtime: see `gaitstream.engines.open_engine`.
            precision: likewise.
            threads: likewise.
            layout: how the output is read; `auto` takes the manifest's word, or recognises it.
            cache: where compiled engines are kept.
            device: see `gaitstream.engines.open_engine`.

        Raises:
            ConfigError: there is no such file or layout, or the manifest is wrong or does not fit the graph.
            EngineError: the graph does not compile, or takes no pictures.
        """
        graph, found = find_network(model, "segmenter", SegmenterContract)
        contract = found or SegmenterContract(graph=graph.name)
        if layout != "auto":
            contract = msgspec.structs.replace(contract, layout=layout)
        engine = open_for_crops(graph, contract, runtime, precision, threads, cache=cache, device=device)
        segmenter = cls(contract, engine)
        if found is None and segmenter.finds_instances:
            segmenter.close()
            raise ConfigError(
                f"{graph}: finds instances, and nothing says how it wants its pixels and which class the "
                f"person is: write {graph.with_suffix('.yaml').name} beside it, for a YOLO model with "
                "person: 0, scale: 255, mean: [0, 0, 0], std: [1, 1, 1]"
            )
        return segmenter

    @property
    def finds_instances(self) -> bool:
        """Whether it finds everybody in a crop, of whom the one in the middle is taken."""
        return self._layout.decode_all is not None

    def crop(self, image: Bytes, boxes: Floats) -> Bytes:
        """Cut people out by the contract's rule; see `crops`.

        Args:
            image: BGR uint8 `[height, width, 3]`.
            boxes: xyxy pixels `[n, 4]`.

        Returns:
            RGB uint8 `[n, 3, *size]`.
        """
        if self.contract.crop == "pad_to_aspect":
            return crop_padded(image, boxes, *self.size)[0]
        return crop_around(image, boxes, self.size)

    def crop_frames(self, frames: PeopleInFrames) -> Bytes:
        """`crop` in several frames at once."""
        if self.contract.crop == "pad_to_aspect":
            return np.concatenate([self.crop(image, boxes) for image, boxes in frames])
        return crop_frames(frames, self.size)

    def masks(self, crops: Bytes, boxes: Floats | None = None) -> Bytes:
        """Masks of crops, uint8 `[n, height, width]`, 255 inside the person.

        They have the output's own size, or where its pixels are not as wide as high, that of the crops.

        Args:
            crops: see `crop`.
            boxes: xyxy pixels `[n, 4]`, around which they were cut. A crop is wider than a person, and who
                stands beside is a person too: what lies outside the box, grown as by the crop's rule, is left
                out. None keeps all that is found.

        Raises:
            ConfigError: the output is not what its layout reads.
        """
        chunks = self._network.run(crops)
        self._check(chunks)
        parts = [self._layout.read(outputs, self.contract.person, self.size) for outputs in chunks]
        if not parts:
            return np.empty((0, *self.size), np.uint8)
        inside = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if inside.ndim != 3 or inside.dtype != np.bool_ or len(inside) != len(crops):
            raise ConfigError(
                f"{self.contract.graph}: its layout {self._name} gives masks {inside.dtype} "
                f"{list(inside.shape)} of {len(crops)} crops, not bool [n, height, width]: set "
                "models.segmenter.layout to that of its output, or correct the layout"
            )
        found = self._squared(inside.astype(np.uint8) * np.uint8(INSIDE))
        return found if boxes is None or self.contract.crop != "around" else self._own(found, boxes)

    def _check(self, chunks: Chunks) -> None:
        """See that outputs are what the layout reads, by what a graph that leaves its shape open did not say.

        Raises:
            ConfigError: they are not.
        """
        graph, person = self.contract.graph, self.contract.person
        for outputs in chunks:
            check(graph, self._name, [one.shape for one in outputs], person, self.size)
        if self._check_values is not None:
            self._check_values(self.contract, chunks)

    def _own(self, masks: Bytes, boxes: Floats) -> Bytes:
        """Masks without what is not near the person's own box, which is in the middle of the crop."""
        rows, columns = masks.shape[1:]
        scale = crop_windows(boxes, self.size)[:, 2]
        reach = (boxes[:, 2:] - boxes[:, :2]) * (PADDING / 2 * scale * columns / self.size[1])[:, None]
        across = np.abs(np.arange(columns) + 0.5 - columns / 2) <= reach[:, :1]
        down = np.abs(np.arange(rows) + 0.5 - rows / 2) <= reach[:, 1:]
        return np.asarray(masks * across[:, None] * down[:, :, None], np.uint8)

    def _squared(self, masks: Bytes) -> Bytes:
        """Masks whose pixels are as wide as high, which silhouettes are made of."""
        (height, width), (rows, columns) = self.size, masks.shape[1:]
        if rows * width == columns * height:
            return masks
        whole = [cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST) for mask in masks]
        return np.asarray(whole, np.uint8)

    def prepare(self, most: int) -> None:
        """Have the engine ready for up to so many crops at once."""
        self._network.prepare(most)

    def close(self) -> None:
        """Free the engine."""
        self.engine.close()


def _check_shares(contract: SegmenterContract, chunks: Chunks) -> None:
    """See that an output is shares of a person, or a picture of 0 and 255.

    Raises:
        ConfigError: its values are logits, classes or levels of grey.
    """
    least = min((float(outputs[0].min(initial=0)) for outputs in chunks), default=0.0)
    if least < LEAST_SHARE:
        raise ConfigError(
            f"{contract.graph}: its output has values as low as {least:.1f}, which are no shares of 0..1: "
            "where they are logits, set `layout: logit` in the manifest beside it, or models.segmenter.layout"
        )
    for output, *_ in chunks:
        if output.dtype.kind == "b" or output.max(initial=0) <= MOST_SHARE:
            continue
        if ((output != 0) & (output != WHITE)).any():
            raise ConfigError(
                f"{contract.graph}: its output has values as high as {float(output.max()):.1f}, which are no "
                "shares of 0..1: where they are classes, set `layout: labels` in the manifest beside it, or "
                f"models.segmenter.layout; where they are levels of 0..{WHITE}, have the graph divide them "
                f"by {WHITE}; where they are logits, `logit`"
            )


def _check_logits(contract: SegmenterContract, chunks: Chunks) -> None:
    """See that an output is logits, some of which are of what is beside the person.

    Raises:
        ConfigError: its values are shares.
    """
    values = [outputs[0] for outputs in chunks if outputs[0].size]
    least = min((float(one.min()) for one in values), default=-1.0)
    if least >= 0 and max(float(one.max()) for one in values) <= 1:
        raise ConfigError(
            f"{contract.graph}: all values of its output are between 0 and 1, as shares are and logits "
            "are not: set `layout: probability` in the manifest beside it, or models.segmenter.layout"
        )


def _check_classes(contract: SegmenterContract, chunks: Chunks) -> None:
    """See that an output is numbers of classes, of which the person's may be one.

    Raises:
        ConfigError: its values are shares or logits, or those of a black and white picture.
    """
    for output, *_ in chunks:
        if output.dtype.kind == "f" and (parts := output[output != np.rint(output)]).size:
            raise ConfigError(
                f"{contract.graph}: its output has values such as {float(parts[0]):.3g}, which are no "
                "classes: where they are shares of the person, set `layout: probability` in the manifest "
                "beside it, or models.segmenter.layout; where they are logits, `logit`"
            )
    if contract.person in (0, WHITE):
        return
    values = {value for output, *_ in chunks if WHITE in output for value in np.unique(output).tolist()}
    if values and values <= {0, WHITE}:
        raise ConfigError(
            f"{contract.graph}: its output is a picture of 0 and {WHITE}, and nothing in it is class "
            f"{contract.person}, which the person is taken for: set `person: {WHITE}` in the manifest beside "
            "it, where white is the person, or `person: 0`"
        )


_CHECKS: dict[str, Callable[[SegmenterContract, Chunks], None]] = {
    "probability": _check_shares,
    "logit": _check_logits,
    "labels": _check_classes,
}
"""By the layout's name: what its values must be."""

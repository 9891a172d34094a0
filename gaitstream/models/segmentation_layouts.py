"""How segmentation models lay out their output, and how a person's mask is read from it.

A layout is recognised from the shape of the output, or declared in the model's manifest. Another package adds
its own by an entry point of the group `gaitstream.segmenters`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import ConfigError
from gaitstream.registry import Registry

Bytes = NDArray[np.uint8]
Shape = tuple[int, ...]
MaskDecoder = Callable[[NDArray[Any], int], NDArray[np.bool_]]
"""(output of a batch, index of the class person) -> whether a pixel shows the person `[n, height, width]`."""
InstanceDecoder = Callable[[Sequence[NDArray[Any]], int, tuple[int, int]], NDArray[np.bool_]]
"""(all outputs of a batch, index of the class person, height and width of the crops) -> the same."""

LEAST_SCORE = 0.25
"""Of an instance that may be the person."""
MIDDLE = 0.5
"""Share of a crop's width and height, around its middle, in which the person is looked for."""


@dataclass(frozen=True, kw_only=True)
class SegmentationLayout:
    """One way in which segmentation models lay out their output.

    Attributes:
        decode: reads the first output.
        decode_all: reads all outputs, where the first alone does not give the mask.
        recognises: whether an output of this shape (-1 where dynamic) is of this layout; never, for one that
            has to be named.
        takes: the shape it reads, for messages.
        fits: whether it reads an output of this shape (-1 where dynamic), with this index of the person.
        fits_all: whether it reads outputs of these shapes, likewise.
    """

    decode: MaskDecoder | None = None
    decode_all: InstanceDecoder | None = None
    recognises: Callable[[Shape], bool] = lambda _shape: False
    takes: str = ""
    fits: Callable[[Shape, int], bool] = lambda _shape, _person: True
    fits_all: Callable[[Sequence[Shape], int], bool] = lambda _shapes, _person: True

    def read(self, outputs: Sequence[NDArray[Any]], person: int, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Whether a pixel shows the person, `[n, height, width]`, by all outputs of a batch."""
        if self.decode_all is not None:
            return self.decode_all(outputs, person, size)
        if self.decode is None:
            raise ConfigError("a segmentation layout needs decode or decode_all")
        return self.decode(outputs[0], person)


LAYOUTS: Registry[SegmentationLayout] = Registry(
    "segmentation layout",
    "gaitstream.segmenters",
    {
        name: f"{__name__}:{name.upper()}"
        for name in ("probability", "logit", "classes", "labels", "instances")
    },
    is_a=SegmentationLayout,
)
"""The layouts by name."""


def recognise(graph: str, shapes: Sequence[Shape]) -> str:
    """The layout of a graph's outputs: the first that recognises them.

    Args:
        graph: for the message.
        shapes: of the outputs, -1 where dynamic.

    Raises:
        ConfigError: when it is none of the known.
    """
    if _are_instances(shapes, 0) and not _is_a_picture(*shapes):
        if fault := _other_instances(shapes):
            raise ConfigError(f"{graph}: its output {_shown(shapes)} {fault}")
        return "instances"
    for name, layout in LAYOUTS.usable():
        if layout.recognises(shapes[0]):
            return name
    raise ConfigError(
        f"{graph}: its output {list(shapes[0])} is no segmentation layout known here; allowed: "
        f"{', '.join(LAYOUTS.names())}; write a manifest (graph, layout, person, colour, scale, size) beside "
        "the file"
    )


def check(graph: str, name: str, shapes: Sequence[Shape], person: int, size: tuple[int, int]) -> None:
    """Stop where outputs are not what their layout reads.

    Args:
        graph: for the message.
        name: of the layout.
        shapes: of the outputs, -1 where dynamic.
        person: index of the class.
        size: height and width of the input.

    Raises:
        ConfigError: they are not.
    """
    layout = LAYOUTS.get(name)
    shown = _shown(shapes if layout.decode_all else shapes[:1])
    if layout.decode_all is None and _has_classes_last(shapes[0], size):
        raise ConfigError(
            f"{graph}: its output {shown} has its classes on the last axis; export it with them on the "
            "second, [n, classes, height, width]"
        )
    if name == "instances" and (fault := _other_instances(shapes)):
        raise ConfigError(f"{graph}: its output {shown} {fault}")
    if not (layout.fits(shapes[0], person) and layout.fits_all(shapes, person)):
        raise ConfigError(
            f"{graph}: its output {shown} is not what the layout {name} reads, {layout.takes}, with "
            f"the person as class {person}: correct layout or person in its manifest; layouts are "
            f"{', '.join(LAYOUTS.names())}"
        )


def _has_classes_last(shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    """`[n, height, width, classes]`: axes 1 and 2 have the picture's proportions, and axes 2 and 3 do not."""
    if len(shape) != 4 or min(shape[1:]) < 1:
        return False
    height, width = size
    return shape[1] > 1 and shape[1] * width == shape[2] * height and shape[2] * width != shape[3] * height


def _has_the_class(shape: tuple[int, ...], person: int) -> bool:
    return len(shape) == 4 and (shape[1] == -1 or shape[1] > max(person, 1))


def _has_one_channel(shape: tuple[int, ...], _: int) -> bool:
    """A number for each pixel, whether or not with an axis of one channel."""
    return len(shape) == 3 or (len(shape) == 4 and shape[1] in (1, -1))


def _are_instances(shapes: Sequence[Shape], person: int) -> bool:
    """Whether two outputs are instances, `[n, 4 + classes + k, anchors]`, and prototypes of masks."""
    if sorted(len(shape) for shape in shapes) != [3, 4]:
        return False
    found, prototypes = sorted(shapes, key=len)
    rows, k = found[1], prototypes[1]
    return rows > 0 and k > 0 and rows - 4 - k > person


def _other_instances(shapes: Sequence[Shape]) -> str:
    """What is wrong with instances that are exported in another form than is read; empty for all else."""
    if not _are_instances(shapes, 0):
        return ""
    found, (_, k, height, width) = sorted(shapes, key=len)
    # Strides of 8, 16 and 32 pixels, and prototypes of 4 pixels.
    anchors = height * width * 21 // 64 if min(height, width) > 0 else 0
    if found[2] == 6 + k:
        return (
            "holds the boxes that its own suppression has chosen, [n, boxes, 6 + k]; export it without that "
            "(end2end=False, nms=False), as [n, 4 + classes + k, anchors]"
        )
    if found[1] == anchors and found[2] != anchors:
        return "has its anchors on the second axis; export it as [n, 4 + classes + k, anchors]"
    return ""


def _shown(shapes: Sequence[Shape]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes)


def _is_a_picture(labels: Shape, scores: Shape) -> bool:
    """Whether the first output is as wide and high as the second, as classes of pixels are beside scores."""
    return len(labels) == 4 or labels[1] * scores[3] == labels[2] * scores[2]


def _instances(outputs: Sequence[NDArray[Any]], person: int, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Of all people in a crop the one who is in its middle, surest first; the mask ends with the box."""
    found, prototypes = (np.asarray(one, np.float32) for one in sorted(outputs, key=np.ndim))
    k, height, width = prototypes.shape[1:]
    masks = np.zeros((len(found), height, width), bool)
    centre, extent = found[:, :2], found[:, 2:4]
    half = np.array(size[::-1], np.float32)[:, None] / 2
    low = np.maximum(centre - extent / 2, half * (1 - MIDDLE))
    high = np.minimum(centre + extent / 2, half * (1 + MIDDLE))
    inside = np.maximum(high - low, 0).prod(axis=1) / np.prod(2 * half * MIDDLE)
    scores = found[:, 4 + person]
    chosen = (np.where(scores >= LEAST_SCORE, scores, 0) * inside).argmax(axis=1)
    scale = np.array([width, height], np.float32) / (2 * half[:, 0])
    y, x = np.mgrid[:height, :width] + 0.5
    for row, best in enumerate(chosen.tolist()):
        if scores[row, best] < LEAST_SCORE or not inside[row, best]:
            continue
        left, top = (centre[row, :, best] - extent[row, :, best] / 2) * scale
        right, bottom = (centre[row, :, best] + extent[row, :, best] / 2) * scale
        shown = np.tensordot(found[row, -k:, best], prototypes[row], 1) > 0
        masks[row] = shown & (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    return masks


def _probability(output: NDArray[Any], _: int) -> NDArray[np.bool_]:
    """`[n, 1, height, width]`: the share of the person in each pixel, 0..1."""
    return np.asarray(_by_pixel(output) >= 0.5)


def _logit(output: NDArray[Any], _: int) -> NDArray[np.bool_]:
    """`[n, 1, height, width]` before the sigmoid."""
    return np.asarray(_by_pixel(output) >= 0.0)


def _classes(output: NDArray[Any], person: int) -> NDArray[np.bool_]:
    """`[n, classes, height, width]`: scores or logits; the highest is the pixel's class."""
    return np.asarray(output.argmax(axis=1) == person)


def _labels(output: NDArray[Any], person: int) -> NDArray[np.bool_]:
    """`[n, height, width]`: the class of each pixel."""
    return np.asarray(_by_pixel(output) == person)


def _by_pixel(output: NDArray[Any]) -> NDArray[Any]:
    """`[n, height, width]` of the same, or of `[n, 1, height, width]`; all else stays as it is."""
    return output[:, 0] if output.ndim == 4 and output.shape[1] == 1 else output


PROBABILITY = SegmentationLayout(
    decode=_probability,
    recognises=lambda shape: len(shape) == 4 and shape[1] == 1,
    takes="[n, 1, height, width] or [n, height, width]",
    fits=_has_one_channel,
)
LOGIT = SegmentationLayout(
    decode=_logit,
    takes="[n, 1, height, width] or [n, height, width]",
    fits=_has_one_channel,
)
CLASSES = SegmentationLayout(
    decode=_classes,
    recognises=lambda shape: len(shape) == 4 and shape[1] > 1,
    takes="[n, classes, height, width]",
    fits=_has_the_class,
)
LABELS = SegmentationLayout(
    decode=_labels,
    recognises=lambda shape: len(shape) == 3,
    takes="[n, height, width]",
    fits=_has_one_channel,
)
INSTANCES = SegmentationLayout(
    decode_all=_instances,
    takes="[n, 4 + classes + k, anchors] and [n, k, h, w]",
    fits_all=_are_instances,
)

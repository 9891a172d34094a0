"""How segmentation models lay out their output, and how a person's mask is read from it.

A layout is recognised from the shape of the output, or declared in the model's manifest. Another package adds
its own by an entry point of the group `gaitstream.segmenters`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import ConfigError
from gaitstream.registry import Registry

Bytes = NDArray[np.uint8]
MaskDecoder = Callable[[NDArray[Any], int], NDArray[np.bool_]]
"""(output of a batch, index of the class person) -> whether a pixel shows the person `[n, height, width]`."""


@dataclass(frozen=True, kw_only=True)
class SegmentationLayout:
    """One way in which segmentation models lay out their output.

    Attributes:
        decode: reads it.
        recognises: whether an output of this shape (-1 where dynamic) is of this layout; never, for one that
            has to be named.
        takes: the shape it reads, for messages.
        fits: whether it reads an output of this shape (-1 where dynamic), with this index of the person.
    """

    decode: MaskDecoder
    recognises: Callable[[tuple[int, ...]], bool] = lambda _shape: False
    takes: str = ""
    fits: Callable[[tuple[int, ...], int], bool] = lambda _shape, _person: True


LAYOUTS: Registry[SegmentationLayout] = Registry(
    "segmentation layout",
    "gaitstream.segmenters",
    {name: f"{__name__}:{name.upper()}" for name in ("probability", "logit", "classes", "labels")},
)
"""The layouts by name."""


def recognise(graph: str, shape: tuple[int, ...]) -> str:
    """The layout of an output: the first that recognises it.

    Args:
        graph: for the message.
        shape: of the output, -1 where dynamic.

    Raises:
        ConfigError: when it is none of the known.
    """
    for name in LAYOUTS.names():
        if LAYOUTS.get(name).recognises(shape):
            return name
    raise ConfigError(
        f"{graph}: its output {list(shape)} is no segmentation layout known here; allowed: "
        f"{', '.join(LAYOUTS.names())}; write a manifest (graph, layout, person, colour, scale, size) beside "
        "the file"
    )


def check(graph: str, name: str, shape: tuple[int, ...], person: int, size: tuple[int, int]) -> None:
    """Stop where an output is not what its layout reads.

    Args:
        graph: for the message.
        name: of the layout.
        shape: of the output, -1 where dynamic.
        person: index of the class.
        size: height and width of the input.

    Raises:
        ConfigError: it is not.
    """
    layout = LAYOUTS.get(name)
    if _has_classes_last(shape, size):
        raise ConfigError(
            f"{graph}: its output {list(shape)} has its classes on the last axis; export it with them on the "
            "second, [n, classes, height, width]"
        )
    if not layout.fits(shape, person):
        raise ConfigError(
            f"{graph}: its output {list(shape)} is not what the layout {name} reads, {layout.takes}, with "
            f"the person as class {person}: correct layout or person in its manifest; layouts are "
            f"{', '.join(LAYOUTS.names())}"
        )


def _has_classes_last(shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    """`[n, height, width, classes]`: axes 1 and 2 have the picture's proportions, and axes 2 and 3 do not."""
    if len(shape) != 4 or min(shape[1:]) < 1:
        return False
    height, width = size
    return shape[1] > 1 and shape[1] * width == shape[2] * height and shape[2] * width != shape[3] * height


def _has_one_channel(shape: tuple[int, ...], _: int) -> bool:
    return len(shape) == 4 and shape[1] in (1, -1)


def _has_the_class(shape: tuple[int, ...], person: int) -> bool:
    return len(shape) == 4 and (shape[1] == -1 or shape[1] > max(person, 1))


def _has_labels(shape: tuple[int, ...], _: int) -> bool:
    return len(shape) == 3 or (len(shape) == 4 and shape[1] in (1, -1))


def _probability(output: NDArray[Any], _: int) -> NDArray[np.bool_]:
    """`[n, 1, height, width]`: the share of the person in each pixel, 0..1."""
    return np.asarray(output[:, 0] >= 0.5)


def _logit(output: NDArray[Any], _: int) -> NDArray[np.bool_]:
    """`[n, 1, height, width]` before the sigmoid."""
    return np.asarray(output[:, 0] >= 0.0)


def _classes(output: NDArray[Any], person: int) -> NDArray[np.bool_]:
    """`[n, classes, height, width]`: scores or logits; the highest is the pixel's class."""
    return np.asarray(output.argmax(axis=1) == person)


def _labels(output: NDArray[Any], person: int) -> NDArray[np.bool_]:
    """`[n, height, width]`: the class of each pixel."""
    return np.asarray(output.reshape(len(output), *output.shape[-2:]) == person)


PROBABILITY = SegmentationLayout(
    decode=_probability,
    recognises=lambda shape: len(shape) == 4 and shape[1] == 1,
    takes="[n, 1, height, width]",
    fits=_has_one_channel,
)
LOGIT = SegmentationLayout(decode=_logit, takes="[n, 1, height, width]", fits=_has_one_channel)
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
    fits=_has_labels,
)

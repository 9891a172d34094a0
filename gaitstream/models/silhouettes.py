"""Silhouettes as the gait data sets store them, from masks, and what the networks take of them.

The rules are those of OpenGait's published preparation (Fan et al., 2023), which its models were trained on:
the general one of all data sets but CCPG, and CCPG's. They differ in how they resize, and in what they drop.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import EngineError
from gaitstream.models.inputs import check_masks

Bytes = NDArray[np.uint8]
Rule = Literal["general", "ccpg"]

SIDE = 64
"""Height and width of a stored silhouette."""
CUT = 10
"""Columns of a stored silhouette of 64 that networks leave out at either side."""
INSIDE = 255
"""Of a mask's pixels inside the person."""
LEAST_SUM = 10_000
"""The general rule drops a mask whose pixels add up to no more."""


def align(mask: Bytes, rule: Rule = "general", size: int = SIDE) -> Bytes | None:
    """Cut a mask to the person's rows, resize it to the height, centre the column that halves its area.

    Args:
        mask: uint8 `[rows, columns]`, 255 inside the person, grey at its edge, of pixels as wide as high.
        rule: `general` resizes bicubically and drops tiny masks, `ccpg` by area.
        size: height and width of the result.

    Returns:
        uint8 `[size, size]`; None where the rule drops the frame, or the mask is empty.
    """
    if rule == "general" and int(mask.sum(dtype=np.int64)) <= LEAST_SUM:
        return None
    rows = np.flatnonzero(mask.sum(axis=1, dtype=np.int64))
    if not len(rows):
        return None
    cut = mask[rows[0] : rows[-1] + 1]
    width = int(size * cut.shape[1] / cut.shape[0])
    if not width:
        return None
    how = cv2.INTER_CUBIC if rule == "general" else cv2.INTER_AREA
    resized = np.asarray(cv2.resize(cut, (width, size), interpolation=how), np.uint8)
    weight = resized.sum(axis=0, dtype=np.int64).cumsum()
    beyond = np.flatnonzero(weight > weight[-1] / 2)
    if not len(beyond) or (rule == "general" and beyond[0] == 0):
        return None
    aligned = np.zeros((size, size), np.uint8)
    left = int(beyond[0]) - size // 2
    first, last = max(left, 0), min(left + size, width)
    aligned[:, first - left : last - left] = resized[:, first:last]
    return aligned


def draw(masks: Bytes, size: tuple[int, int], rule: Rule = "general") -> Bytes:
    """Silhouettes of many masks as networks take them, bytes still.

    Args:
        masks: uint8 `[n, rows, columns]`, see `align`; or bools.
        size: height and width, such as 64 x 44: the middle of what is stored.
        rule: see `align`.

    Returns:
        uint8 `[n, 1, height, width]`; black where the rule drops the mask.

    Raises:
        EngineError: the masks are something else, which would be drawn all but black.
    """
    if masks.dtype not in (np.uint8, np.bool_) or masks.ndim != 3:
        raise EngineError(
            f"masks are {masks.dtype} {list(masks.shape)}: give uint8 or bool [n, rows, columns]"
        )
    check_masks("masks", masks)
    if masks.dtype == np.bool_:
        masks = masks * np.uint8(INSIDE)
    height, width = size
    left = (height - width) // 2
    drawn = np.zeros((len(masks), 1, height, width), np.uint8)
    for mask, silhouette in zip(masks, drawn, strict=True):
        aligned = align(mask, rule, height)
        if aligned is not None:
            silhouette[0] = aligned[:, left : left + width]
    return drawn


def network_input(stored: Bytes) -> NDArray[np.float32]:
    """What networks take of stored pictures: the middle columns, in 0..1.

    Args:
        stored: uint8 `[..., h, w]`; square ones lose 10 of 64 columns at either side, `h x 11 h / 16` ones
            nothing.

    Returns:
        float32 `[..., h, 11 h / 16]`.
    """
    height, width = stored.shape[-2:]
    if width == height:
        cut = CUT * height // SIDE
        stored = stored[..., cut : width - cut]
    # Divided in float64 and rounded once: multiplying by 1/255 gives other last bits.
    return (stored / 255.0).astype(np.float32)

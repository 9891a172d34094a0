"""What people wear: mean colours on a grid over their boxes, which tell the people of one picture apart.

Only what is seen counts: cells that a nearer person's box covers are left out on both sides of a comparison.
Nothing of it leaves the tracker, and it is forgotten with the track.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats, Image
from gaitstream.kernels import cpu
from gaitstream.kernels.cells import cell_means

ROWS, COLUMNS = 12, 2
CELLS = ROWS * COLUMNS
_LEFT, _RIGHT = 0.25, 0.75
"""Shares of a box's width between which a person is seen rather than what is behind."""
_ACROSS = _LEFT + (_RIGHT - _LEFT) * (np.arange(COLUMNS, dtype=np.float32) + 0.5) / COLUMNS
_DOWN = (np.arange(ROWS, dtype=np.float32) + 0.5) / ROWS
_CLEAR = 0.7
"""Share of the cells that is uncovered when a person is seen clearly."""
_MEMORY = 30.0
"""Sightings after which a new one changes a mean no less."""

_OPPONENTS = np.array([[1 / 6, -2, -1], [1 / 6, 0, 2], [1 / 6, 2, -1]], np.float32)
"""From blue, green and red."""

Cells = NDArray[np.bool_]


def cell_colours(image: Image, boxes: Floats) -> Floats:
    """Mean colour of each cell of each box.

    Args:
        image: BGR uint8 `[height, width, 3]`.
        boxes: xyxy pixels `[n, 4]`; parts outside the picture are not looked at.

    Returns:
        Half the brightness, and twice red against blue and green against both, float32 `[n, CELLS, 3]`: what
        people wear differs in colour, what light and shadow do to it in brightness.
    """
    spans = _spans(boxes, image.shape[1], image.shape[0])
    large = (spans[:, 2] - spans[:, 0] >= COLUMNS) & (spans[:, 3] - spans[:, 1] >= ROWS)
    if image.strides[1:] != (3, 1) or not cpu.available():
        large[:] = False
    found = np.empty((len(boxes), CELLS, 3), np.float32)
    if large.any():
        found[large] = cell_means(image, spans[large], COLUMNS, ROWS)
    for row in np.flatnonzero(~large):
        found[row] = resized_cells(image, spans[row])
    return found @ _OPPONENTS


def resized_cells(image: Image, span: NDArray[np.int32]) -> Floats:
    """Colours of the cells with OpenCV: for boxes that have to grow, and machines without a compiler."""
    import cv2

    left, top, right, bottom = span.tolist()
    small = cv2.resize(image[top:bottom, left:right], (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
    return small.reshape(CELLS, 3).astype(np.float32)


def _spans(boxes: Floats, width: int, height: int) -> NDArray[np.int32]:
    """The pixels that are looked at, inside a picture and at least one: left, top, right, bottom `[n, 4]`."""
    edges = boxes.astype(np.float64)
    left, across = edges[:, 0].copy(), edges[:, 2] - edges[:, 0]
    edges[:, 0], edges[:, 2] = left + _LEFT * across, left + _RIGHT * across
    limit = np.array([width, height])
    first = np.minimum(np.maximum(edges[:, :2].astype(np.int64), 0), limit - 1)
    last = np.minimum(np.maximum(np.rint(edges[:, 2:]).astype(np.int64), first + 1), limit)
    spans = np.empty((len(boxes), 4), np.int32)
    spans[:, :2], spans[:, 2:] = first, last
    return spans


def uncovered(boxes: Floats) -> Cells:
    """Which cells of each box `[n, 4]` no nearer person's box covers, `[n, CELLS]`.

    Of two people on one floor, the one whose feet are lower in the picture is nearer.
    """
    if len(boxes) == 1:
        return np.ones((1, CELLS), bool)
    left, top, right, bottom = boxes.T
    x = left[:, None] + _ACROSS * (right - left)[:, None]
    y = top[:, None] + _DOWN * (bottom - top)[:, None]
    nearer = bottom > bottom[:, None]
    beside = (x[:, :, None] > left) & (x[:, :, None] < right) & nearer[:, None]
    level = (y[:, :, None] > top) & (y[:, :, None] < bottom)
    # By how many others' boxes, as a product of matrices: `any` over an axis takes numpy far longer.
    covering = level.astype(np.float32) @ beside.astype(np.float32).transpose(0, 2, 1)
    return np.asarray((covering == 0).reshape(len(boxes), CELLS))


def are_clear(cells: Cells) -> NDArray[np.bool_]:
    """Of whom most is uncovered, by the cells of their boxes `[n, CELLS]`."""
    return np.asarray(cells.sum(axis=1) >= _CLEAR * CELLS)


@dataclass(slots=True)
class Clothes:
    """One track's clothes, as seen until now.

    Attributes:
        colours: mean colour of each cell, `[CELLS, 3]`.
        seen: in how many sightings each cell was uncovered, `[CELLS]`.
        clear: sightings in which most of the person was uncovered.
    """

    colours: Floats = field(default_factory=lambda: np.zeros((CELLS, 3), np.float32))
    seen: Floats = field(default_factory=lambda: np.zeros(CELLS, np.float32))
    clear: int = 0

    def unlike(self, other: Clothes) -> float:
        """Mean difference to somebody else's clothes; infinite where no cell was seen of both."""
        sure = np.minimum(self.seen, _MEMORY) * np.minimum(other.seen, _MEMORY)
        far = np.abs(self.colours - other.colours).mean(axis=1)
        return float((far * sure).sum() / sure.sum()) if sure.any() else np.inf


def take_in(worn: Sequence[Clothes], colours: Floats, cells: Cells) -> None:
    """Have several clothes, all different ones, take in a sighting each.

    Args:
        worn: `n` of them.
        colours: `cell_colours` of the sightings' boxes, `[n, CELLS, 3]`.
        cells: their uncovered cells, `[n, CELLS]`.
    """
    if not worn:
        return
    known, seen = _colours(worn), _seen(worn) + cells
    share = cells / np.minimum(np.maximum(seen, 1.0), _MEMORY)
    known += share[..., None] * (colours - known)
    for one, own, times in zip(worn, known, seen, strict=True):
        one.colours, one.seen = own, times


def unlikeness(worn: Sequence[Clothes], colours: Floats, cells: Cells) -> Floats:
    """Mean difference in grey levels between clothes and sightings over the cells seen of both.

    Args:
        worn: of `m` tracks.
        colours: of `n` sightings, `[n, CELLS, 3]`.
        cells: their uncovered cells, `[n, CELLS]`.

    Returns:
        float32 `[m, n]`; NaN where a quarter of the cells at most was seen of both.
    """
    both = (_seen(worn) > 0)[:, None] & cells[None]
    # Products with ones: sums over short axes take numpy several times as long.
    far = np.abs(_colours(worn)[:, None] - colours[None]) @ np.ones(3, np.float32)
    counted = both.astype(np.float32)
    count = counted @ np.ones(CELLS, np.float32)
    mean = (far * counted) @ np.ones(CELLS, np.float32) / (3 * np.maximum(count, 1))
    return np.where(count > CELLS / 4, mean, np.float32(np.nan))


def _colours(worn: Sequence[Clothes]) -> Floats:
    return np.concatenate([one.colours for one in worn]).reshape(len(worn), CELLS, 3)


def _seen(worn: Sequence[Clothes]) -> Floats:
    return np.concatenate([one.seen for one in worn]).reshape(len(worn), CELLS)

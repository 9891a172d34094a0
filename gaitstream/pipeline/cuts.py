"""Cuts: a camera suddenly shows another scene, and boxes go on in the same places on other people."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats, Image

GRID = (18, 32)
"""Rows and columns of the pixels compared: enough for a scene, nothing for a person."""
LEAST_LIKENESS = 0.3
"""Correlation of two frames of one scene is near 1, also when people cross it; of two scenes it is near 0."""
LEAST_DETAIL = 4.0
"""Standard deviation in grey levels below which a frame shows no scene to compare: a wall, darkness."""
CONFIRMED = 3
"""Frames of another scene, each like the one before it, that make a cut: fewer may be damaged ones."""


class CutDetector:
    """Compares the frames of one camera with those before. Touches no clock."""

    def __init__(self) -> None:
        self._scene: Floats | None = None
        self._other: Floats | None = None
        """The frame before, where it was not of the scene."""
        self._count = 0

    def is_cut(self, image: Image) -> bool:
        """Whether a frame, BGR uint8 `[height, width, 3]`, confirms that another scene is shown."""
        seen = outline(image)
        if seen is None:
            return False
        if self._scene is None or likeness(self._scene, seen) >= LEAST_LIKENESS:
            self._scene, self._other, self._count = seen, None, 0
            return False
        same = self._other is not None and likeness(self._other, seen) >= LEAST_LIKENESS
        self._other, self._count = seen, self._count + 1 if same else 1
        if self._count < CONFIRMED:
            return False
        self._scene, self._other, self._count = seen, None, 0
        return True


@functools.lru_cache(maxsize=64)
def grid(height: int, width: int) -> tuple[NDArray[np.intp], ...]:
    """Rows and columns of the pixels compared in frames of a size, as an index."""
    rows = np.linspace(0, height - 1, GRID[0]).astype(np.intp)
    columns = np.linspace(0, width - 1, GRID[1]).astype(np.intp)
    return np.ix_(rows, columns)


def outline(image: Image) -> Floats | None:
    """A frame's scene as a vector of length 1; None where it shows too little to compare.

    The green of single pixels on a grid, less its mean: as good as grey, and nearly free.
    """
    green = image[:, :, 1][grid(*image.shape[:2])].astype(np.float32).ravel()
    centred: Floats = green - green.sum() / green.size
    length = math.sqrt(centred @ centred)
    return None if length < LEAST_DETAIL * math.sqrt(green.size) else centred / np.float32(length)


def likeness(one: Floats, other: Floats) -> float:
    """Correlation of two frames by their outlines, -1 to 1: light that changes changes nothing."""
    return float(one @ other)

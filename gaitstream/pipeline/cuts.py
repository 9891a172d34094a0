"""Cuts: a camera suddenly shows another scene, and boxes go on in the same places on other people."""

from __future__ import annotations

import numpy as np

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
        seen = thumbnail(image)
        if seen.std() < LEAST_DETAIL:
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


def thumbnail(image: Image) -> Floats:
    """The green of single pixels on a grid, float32; as good as grey and nearly free."""
    height, width = image.shape[:2]
    rows = np.linspace(0, height - 1, GRID[0]).astype(int)
    columns = np.linspace(0, width - 1, GRID[1]).astype(int)
    return np.asarray(image[np.ix_(rows, columns)][:, :, 1], np.float32)


def likeness(one: Floats, other: Floats) -> float:
    """Correlation of two thumbnails, -1 to 1: light that changes changes nothing."""
    first, second = one - one.mean(), other - other.mean()
    return float((first * second).mean() / (one.std() * other.std()))

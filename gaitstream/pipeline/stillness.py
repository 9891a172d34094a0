"""Still pictures: where nothing moves and nobody is tracked, nobody has come in, and detection can wait."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Image

STEP = 6
"""Pixels between those compared: the smallest person that counts covers dozens of them."""
LEAST_CHANGE = 16
"""Grey levels that noise and compression seldom reach, beyond a change of all the picture's light."""
LEAST_PIXELS = 3
"""Compared pixels that change when somebody's arm comes into view."""


class StillnessGate:
    """Compares frames of one camera with the last one in which nobody was found. Touches no clock."""

    def __init__(self) -> None:
        self._empty: NDArray[np.int16] | None = None
        self._seen: NDArray[np.int16] | None = None

    def is_still(self, image: Image) -> bool:
        """Whether a frame, BGR uint8 `[height, width, 3]`, shows what the last empty one showed."""
        self._seen = image[STEP // 2 :: STEP, STEP // 2 :: STEP, 1].astype(np.int16)
        if self._empty is None or self._empty.shape != self._seen.shape:
            return False
        change = self._seen - self._empty
        change -= np.int16(np.median(change[::4, ::4]))
        return int(np.count_nonzero(np.abs(change) >= LEAST_CHANGE)) < LEAST_PIXELS

    def note_detection(self, people: int) -> None:
        """How many detection found in this frame, which `is_still` may have been asked about."""
        self._empty = self._seen if not people else None
        self._seen = None

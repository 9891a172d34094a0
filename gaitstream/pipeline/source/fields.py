"""Interlaced pictures: two half pictures of two moments, line by line in one."""

from __future__ import annotations

import numpy as np

from gaitstream.data import Image

COMB = 12
"""Grey levels by which a line sticks out of its neighbours where something has moved meanwhile."""

LARGEST = 4_000_000
"""Pixels of an interlaced picture: those of 1080i have half of them."""


def smooth_combs(image: Image) -> None:
    """Let moving things be those of one moment, in place; what stands still keeps all of its lines.

    The odd lines are the later or the earlier half picture: where they stick out of the lines above and below
    in the same direction, they are made of these.

    Args:
        image: BGR uint8 `[height, width, 3]`.
    """
    import cv2

    height, width = image.shape[:2]
    if height < 3:
        return
    rows = image.reshape(height, width * 3)
    count = (height - 1) // 2
    above, between, below = rows[0 : 2 * count : 2], rows[1 : 2 * count : 2], rows[2 : 2 * count + 1 : 2]
    over = cv2.subtract(between, cv2.max(above, below))
    under = cv2.subtract(cv2.min(above, below), between)
    _, combed = cv2.threshold(cv2.max(over, under), COMB, 1, cv2.THRESH_BINARY)
    combed = cv2.dilate(combed, np.ones((3, 9), np.uint8))
    mean = cv2.addWeighted(above, 0.5, below, 0.5, 0)
    np.copyto(between, mean, where=combed.view(np.bool_))

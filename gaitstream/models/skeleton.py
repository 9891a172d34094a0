"""Skeleton maps: a person's joints and limbs drawn as a picture of two channels.

Source: SkeletonGait (AAAI 2024), section 3.1, in the sizes of its published preparation: keypoints are
centred at the hips and scaled to a common height, drawn on a square canvas as Gaussians about joints and
limbs, weighted by their scores, and cut to the rows that are not black.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats
from gaitstream.models.manifest import SkeletonContract

Bytes = NDArray[np.uint8]

LIMBS = (
    (0, 1), (0, 2), (1, 3), (2, 4), (0, 5), (5, 7), (7, 9), (0, 6), (6, 8), (8, 10), (5, 11), (11, 13),
    (13, 15), (6, 12), (12, 14), (14, 16), (11, 12),
)  # fmt: skip
"""Pairs of COCO joints."""
LEFT_HIP, RIGHT_HIP = 11, 12
HEIGHT_SHARE = 1.5
"""The canvas is this many times as high as the person's joints."""
REACH = 3
"""Gaussians end at this many times their spread."""
FAINTEST = 1e-3
"""Joints of lower scores are not drawn."""


def draw(keypoints: Floats, size: tuple[int, int], contract: SkeletonContract) -> Bytes:
    """Skeleton maps of keypoints.

    Args:
        keypoints: float32 `[n, 17, 3]`: x and y in any square pixels, score.
        size: height and width of the maps, such as 64 x 44.
        contract: of the bundle.

    Returns:
        uint8 `[n, 2, height, width]`: limbs, joints.
    """
    maps = np.zeros((len(keypoints), 2, *size), np.uint8)
    for points, drawn in zip(keypoints, maps, strict=True):
        placed = place(points, contract.canvas_px)
        for canvas, channel in zip(_canvases(placed, contract), drawn, strict=True):
            channel[...] = _cut(canvas, size)
    return maps


def place(points: Floats, canvas_px: int) -> Floats:
    """Joints `[17, 3]` on the canvas: hips in the middle, all joints over two thirds of the height."""
    placed = points.astype(np.float64)
    placed[:, :2] -= (placed[LEFT_HIP, :2] + placed[RIGHT_HIP, :2]) / 2
    extent = np.ptp(placed[:, 1])
    placed[:, :2] *= (canvas_px // HEIGHT_SHARE) / max(extent, 1e-6)
    placed[:, :2] += canvas_px // 2
    return placed.astype(np.float32)


def _canvases(points: Floats, contract: SkeletonContract) -> tuple[Bytes, Bytes]:
    """Limbs and joints on square canvases."""
    starts, ends = points[[a for a, _ in LIMBS]], points[[b for _, b in LIMBS]]
    return _brush(starts, ends, contract), _brush(points, points, contract)


def _brush(starts: Floats, ends: Floats, contract: SkeletonContract) -> Bytes:
    """Gaussians of the distance to line segments `[n, 3]`, the brightest of all in each pixel."""
    side, sigma = contract.canvas_px, contract.sigma_px
    canvas = np.zeros((side, side), np.float32)
    axis = np.arange(side, dtype=np.float32)
    for start, end in zip(starts, ends, strict=True):
        score = min(start[2], end[2])
        if score < FAINTEST:
            continue
        rows, columns = (
            _reach(min(start[i], end[i]), max(start[i], end[i]), REACH * sigma, side) for i in (1, 0)
        )
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        y, x = axis[rows, None], axis[None, columns]
        span = end[:2] - start[:2]
        length2 = float(span @ span)
        along = ((x - start[0]) * span[0] + (y - start[1]) * span[1]) / length2 if length2 >= 1 else 0.0 * x
        along = np.clip(along, 0.0, 1.0)
        distance2 = (x - start[0] - along * span[0]) ** 2 + (y - start[1] - along * span[1]) ** 2
        patch = score * np.exp(-distance2 / (2 * sigma**2))
        np.maximum(canvas[rows, columns], patch, out=canvas[rows, columns])
    return np.minimum(canvas * 256, 255).astype(np.uint8)


def _reach(low: float, high: float, reach: float, side: int) -> slice:
    return slice(max(int(low - reach), 0), min(int(high + reach) + 1, side))


def _cut(canvas: Bytes, size: tuple[int, int]) -> Bytes:
    """The rows that are not black, as a square about the middle; resized, and cut to the width."""
    import cv2

    height, width = size
    rows = np.flatnonzero(canvas.any(axis=1))
    if not len(rows):
        return np.zeros(size, np.uint8)
    tall, middle = rows[-1] - rows[0] + 1, canvas.shape[1] // 2
    square = canvas[rows[0] : rows[-1] + 1, max(middle - tall // 2, 0) : middle + tall // 2 + 1]
    resized = cv2.resize(square.astype(np.float32), (height, height), interpolation=cv2.INTER_AREA)
    left = (height - width) // 2
    return np.asarray(resized[:, left : left + width], np.uint8)

"""Skeleton maps: a person's limbs and joints drawn as a picture of two channels.

Source: SkeletonGait (Fan et al., AAAI 2024), section 3.1, and its published preparation, which this
reproduces pixel by pixel: keypoints are centred at the hips, scaled to a common height and drawn as Gaussians
weighted by their scores; a colour table makes them grey; each channel is cut to its rows and resized.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from gaitstream.models.manifest import SkeletonContract

Bytes = NDArray[np.uint8]
Doubles = NDArray[np.float64]

SIDE = 64
"""Height and width of a map."""
LIMBS = (
    (0, 1), (0, 2), (1, 3), (2, 4), (0, 5), (5, 7), (7, 9), (0, 6), (6, 8), (8, 10), (5, 11), (11, 13),
    (13, 15), (6, 12), (12, 14), (14, 16), (11, 12),
)  # fmt: skip
"""Pairs of COCO joints."""
FROM_18 = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)
"""COCO-17 joints among the 18 of OpenPose, which CCPG and OU-MVLP store."""
HEIGHT = 85
"""Canvas pixels between the highest and the lowest joint."""
REACH = 3
"""Gaussians end at this many times their spread."""
FAINTEST = 1e-3
"""Joints of lower scores are not drawn."""
NEIGHBOURS = 4
"""Frames a missing coordinate is filled from."""


def to_coco17(keypoints: NDArray[np.floating]) -> NDArray[np.floating]:
    """COCO-17 from `[..., 17 or 18, 3]`.

    Raises:
        ValueError: another number of joints.
    """
    joints = keypoints.shape[-2]
    if joints == len(FROM_18) + 1:
        return keypoints[..., list(FROM_18), :]
    if joints != len(FROM_18):
        raise ValueError(f"keypoints of {joints} joints: 17 (COCO) or 18 (OpenPose) are needed")
    return keypoints


def fill_missing(keypoints: NDArray[np.floating]) -> NDArray[np.floating]:
    """Fill coordinates that are 0 from the frames most like theirs; scores stay.

    Each is the mean of the nearest four frames that have it, weighted by 1/distance; the distance is over the
    coordinates that both frames have, scaled up for those they lack. Where a coordinate is missing in all
    frames, nothing is filled at all, as in the published preparation.

    Args:
        keypoints: `[frames, 17, 3]` of one whole sequence.
    """
    frames = len(keypoints)
    flat = keypoints[:, :, :2].astype(np.float64).reshape(frames, -1)
    known = flat != 0
    if known.all() or not known.any(axis=0).all():
        return keypoints
    filled = flat.copy()
    for frame in np.flatnonzero(~known.all(axis=1)):
        distances = _distances(flat, known, int(frame))
        for column in np.flatnonzero(~known[frame]):
            donors = np.flatnonzero(known[:, column] & np.isfinite(distances))
            near = donors[np.argsort(distances[donors], kind="stable")[:NEIGHBOURS]]
            filled[frame, column] = (
                _weighted(flat[near, column], distances[near])
                if len(near)
                else (flat[known[:, column], column].mean())
            )
    out = keypoints.copy()
    out[:, :, :2] = filled.reshape(frames, -1, 2)
    return out


def place(keypoints: NDArray[np.floating], canvas_px: int) -> Doubles:
    """Keypoints `[n, 17, 3]` on the canvas: mid-hip in its middle, the joints' height scaled to `HEIGHT`."""
    placed = keypoints.astype(np.float64)
    placed[:, :, :2] -= (placed[:, 11:12, :2] + placed[:, 12:13, :2]) / 2
    extent = placed[:, :, 1].max(axis=1) - placed[:, :, 1].min(axis=1)
    placed[:, :, :2] *= (HEIGHT * canvas_px / 128 / np.maximum(extent, 1e-12))[:, None, None]
    placed[:, :, :2] += canvas_px // 2
    return placed


def draw(
    keypoints: NDArray[np.floating],
    size: tuple[int, int] = (SIDE, SIDE),
    contract: SkeletonContract | None = None,
) -> Bytes:
    """Skeleton maps of keypoints, frame by frame.

    Args:
        keypoints: `[n, 17, 3]`: x and y in any square pixels, score; see `fill_missing` for missing ones.
        size: height and width of the maps; a narrower one is the middle of a square one.
        contract: spread of the Gaussians and side of the canvas.

    Returns:
        uint8 `[n, 2, height, width]`: limbs, joints.
    """
    contract = contract or SkeletonContract()
    height, width = size
    middle = slice((height - width) // 2, (height + width) // 2)
    maps = np.zeros((len(keypoints), 2, height, width), np.uint8)
    for placed, channels in zip(place(keypoints, contract.canvas_px), maps, strict=True):
        channels[0] = _cut(to_grey(limb_map(placed, contract)), height)[:, middle]
        channels[1] = _cut(to_grey(joint_map(placed, contract)), height)[:, middle]
    return maps


def joint_map(points: Doubles, contract: SkeletonContract) -> Doubles:
    """The largest Gaussian of any joint `[17, 3]` at each pixel, `[canvas, canvas]`."""
    canvas = np.zeros((contract.canvas_px,) * 2)
    for x, y, score in points:
        if score >= FAINTEST:
            _blob(canvas, x, y, score, contract.sigma_px)
    return canvas


def limb_map(points: Doubles, contract: SkeletonContract) -> Doubles:
    """The largest Gaussian of any limb at each pixel; a limb shorter than a pixel is its first joint's."""
    canvas = np.zeros((contract.canvas_px,) * 2)
    for a, b in LIMBS:
        start, end = points[a], points[b]
        score = min(start[2], end[2])
        if score < FAINTEST:
            continue
        if np.hypot(*(end[:2] - start[:2])) < 1:
            _blob(canvas, start[0], start[1], start[2], contract.sigma_px)
        else:
            _segment(canvas, start[:2], end[:2], score, contract.sigma_px)
    return canvas


def to_grey(canvas: Doubles) -> Bytes:
    """The grey of values in 0..1 that the published preparation gets through a colour table."""
    index = np.minimum((np.float32(256) * canvas.astype(np.float32)).astype(np.int64), 255).clip(0)
    grey: Bytes = _GREY[index]
    return grey


def _grey_table() -> Bytes:
    """Rounding in the published colour table takes one off these greys."""
    table = np.arange(256)
    lower = [33, *range(37, 62, 4), 66, *range(74, 123, 8), 132, *range(148, 245, 16)]
    table[lower] -= 1
    return table.astype(np.uint8)


_GREY = _grey_table()


def _reach(low: float, high: float, reach: float, side: int) -> NDArray[np.int64]:
    """Pixels of a window along one axis; its borders are cut towards zero."""
    return np.arange(max(int(low - reach), 0), min(int(high + reach), side - 1) + 1)


def _blob(canvas: Doubles, x: float, y: float, score: float, sigma_px: float) -> None:
    side = len(canvas)
    columns, rows = (_reach(one, one, REACH * sigma_px, side) for one in (x, y))
    if len(rows) and len(columns):
        squares = (rows[:, None] - y) ** 2 + (columns[None] - x) ** 2
        _brighten(canvas, rows, columns, squares, score, sigma_px)


def _segment(canvas: Doubles, start: Doubles, end: Doubles, score: float, sigma_px: float) -> None:
    columns, rows = (
        _reach(min(start[axis], end[axis]), max(start[axis], end[axis]), REACH * sigma_px, len(canvas))
        for axis in (0, 1)
    )
    if not (len(rows) and len(columns)):
        return
    y, x = rows[:, None], columns[None]
    span = end - start
    along = ((x - start[0]) * span[0] + (y - start[1]) * span[1]) / (span @ span)
    along = np.clip(along, 0, 1)
    squares = (x - start[0] - along * span[0]) ** 2 + (y - start[1] - along * span[1]) ** 2
    _brighten(canvas, rows, columns, squares, score, sigma_px)


def _brighten(
    canvas: Doubles,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    squares: Doubles,
    score: float,
    sigma_px: float,
) -> None:
    window = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    np.maximum(window, np.minimum(score * np.exp(-squares / (2 * sigma_px**2)), 1.0), out=window)


def _cut(grey: Bytes, size: int) -> Bytes:
    """The rows that are not black, as a square about the middle column, resized by area and truncated."""
    rows = np.flatnonzero(grey.any(axis=1))
    if not len(rows):
        return np.zeros((size, size), np.uint8)
    tall, middle = int(rows[-1] - rows[0] + 1), grey.shape[1] // 2
    square = grey[rows[0] : rows[-1] + 1, max(middle - tall // 2, 0) : middle + tall // 2 + 1] / 255.0
    if square.shape == (2 * size, 2 * size):
        # Summed in this order and divided once: the reference's bits.
        resized = (((square[::2, ::2] + square[::2, 1::2]) + square[1::2, ::2]) + square[1::2, 1::2]) * 0.25
    else:
        resized = np.asarray(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA), np.float64)
    return (resized * 255).astype(np.uint8)


def _distances(flat: Doubles, known: NDArray[np.bool_], frame: int) -> Doubles:
    """Distance of one frame to all over the coordinates both have; infinite to itself and without any."""
    both = known & known[frame]
    count = both.sum(axis=1)
    squares = np.where(both, flat - flat[frame], 0.0) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        distances = np.sqrt(squares.sum(axis=1) * (flat.shape[1] / count))
    distances[count == 0] = np.inf
    distances[frame] = np.inf
    return np.asarray(distances, np.float64)


def _weighted(values: Doubles, distances: Doubles) -> float:
    if (distances == 0).any():
        return float(values[distances == 0].mean())
    weights = 1 / distances
    return float((values * weights).sum() / weights.sum())

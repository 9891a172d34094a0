"""Pose-guided heatmap alignment in numpy, written from the paper's equations.

The slow and plain form that the compiled kernels are tested against, and what `align` falls back to on a
machine without a compiler. Source: pose-guided heatmap alignment (rotation about the spine's centre, then a
translation of the neck), as two bilinear samplings with border padding and `align_corners=False`.

Three rules go beyond the equations, and every form of the kernel keeps them. NaN counts as 0 after
normalisation, infinities too unless the values are clamped, and neither makes a joint. A frame with a spine
joint that is not finite is left as it is, with angle 0. A constant tracklet normalises to 0. (A neck on the
hip is no rule of its own: atan2(0, 0) is 0, so such a frame counts as tilted by -90 degrees.)
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gaitstream.kernels.contract import HEIGHT, SPINE, WIDTH, Aligned, AlignmentOptions, Floats

Doubles = NDArray[np.float64]

ANGLE_SLACK = 1e-9
"""Degrees; a tilt of exactly gamma counts as such on every machine."""

# To normalised coordinates, without the half pixel: part of the published method.
TO_NORMALISED = np.array([[2 / WIDTH, 0, -1], [0, 2 / HEIGHT, -1], [0, 0, 1]])


def spine_matrices(
    neck: Doubles, hip: Doubles, target_xy: tuple[float, float] = (24.0, 16.0)
) -> tuple[Doubles, Doubles, float]:
    """Rotation and translation of one frame in normalised coordinates, and its tilt.

    Args:
        neck: mid-shoulders x, y in heatmap pixels, float64 `[2]`.
        hip: mid-hips, likewise.
        target_xy: where the neck goes.

    Returns:
        theta of the rotation `[2, 3]`, theta of the translation `[2, 3]` (both output to input, float64),
        and the tilt in degrees, `atan2(hip_y - neck_y, hip_x - neck_x) - 90`.
    """
    dx, dy = hip - neck
    angle = np.degrees(np.arctan2(dy, dx)) - 90.0
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    cx, cy = (neck + hip) / 2
    rotation = np.array(
        [
            [cosine, sine, (1 - cosine) * cx - sine * cy],
            [-sine, cosine, sine * cx + (1 - cosine) * cy],
            [0, 0, 1],
        ]
    )
    moved = rotation @ np.append(neck, 1.0)
    translation = np.eye(3)
    translation[:2, 2] = np.asarray(target_xy) - moved[:2]
    return _theta(rotation)[:2], _theta(translation)[:2], float(angle)


def _theta(matrix: Doubles) -> Doubles:
    return cast(Doubles, np.linalg.inv(TO_NORMALISED @ matrix @ np.linalg.inv(TO_NORMALISED)))


def grid(theta: Floats) -> tuple[Floats, Floats]:
    """Sampling coordinates x, y `[64, 48]` of a float32 theta `[2, 3]`, `align_corners=False`."""
    x = (2 * np.arange(WIDTH, dtype=np.float32) + 1) / np.float32(WIDTH) - np.float32(1)
    y = (2 * np.arange(HEIGHT, dtype=np.float32) + 1) / np.float32(HEIGHT) - np.float32(1)
    columns, rows = np.meshgrid(x, y)
    return (
        (theta[0, 0] * columns + theta[0, 1] * rows + theta[0, 2]).astype(np.float32),
        (theta[1, 0] * columns + theta[1, 1] * rows + theta[1, 2]).astype(np.float32),
    )


def sample(maps: Floats, theta: Floats, half: bool = False) -> Floats:
    """Bilinear sampling `[c, 64, 48]`, border padding; `half` rounds grid and result to half precision."""
    u, v = grid(theta)
    if half:
        u, v = u.astype(np.float16).astype(np.float32), v.astype(np.float16).astype(np.float32)
    left, right, share_x = _taps(u, WIDTH)
    top, bottom, share_y = _taps(v, HEIGHT)
    upper = maps[:, top, left] * (1 - share_x) + maps[:, top, right] * share_x
    lower = maps[:, bottom, left] * (1 - share_x) + maps[:, bottom, right] * share_x
    result = (upper * (1 - share_y) + lower * share_y).astype(np.float32)
    return result.astype(np.float16).astype(np.float32) if half else result


def _taps(normalised: Floats, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    position = ((normalised + np.float32(1)) * np.float32(size) - np.float32(1)) / np.float32(2)
    position = np.clip(np.nan_to_num(position, nan=0.0), 0, size - 1).astype(np.float32)
    low = np.floor(position).astype(np.intp)
    return low, np.minimum(low + 1, size - 1), (position - low).astype(np.float32)


def normalise(
    heatmaps: NDArray[Any], options: AlignmentOptions, segments: NDArray[np.int32] | None
) -> Floats:
    """Maps as the samplings take them, float32 `[n, c, 64, 48]`."""
    values = heatmaps.astype(np.float32)
    finite = np.isfinite(values)
    if options.normalization == "fixed":
        values = np.clip(np.nan_to_num(values, nan=0.0), 0, 1)
        finite[:] = True
    if options.normalization == "tracklet":
        ids = np.zeros(len(values), np.int32) if segments is None else segments
        with np.errstate(invalid="ignore", over="ignore"):
            for tracklet in np.unique(ids):
                chosen = ids == tracklet
                inside = values[chosen][finite[chosen]]
                low, high = (inside.min(), inside.max()) if inside.size else (np.float32(0), np.float32(0))
                scale = np.float32(1) / (high - low) if high > low else np.float32(0)
                values[chosen] = (values[chosen] - low) * scale
    values = np.where(finite, values, np.float32(0)).astype(np.float32)
    return values.astype(np.float16).astype(np.float32) if options.sampling == "half_io" else values


def find_joints(heatmaps: NDArray[Any]) -> Floats:
    """First largest finite value of every map: x, y, score, float32 `[n, c, 3]`."""
    flat = heatmaps.reshape(*heatmaps.shape[:2], HEIGHT * WIDTH).astype(np.float32)
    usable = np.where(np.isfinite(flat), flat, -np.inf)
    index = usable.argmax(axis=-1)
    score = np.take_along_axis(usable, index[..., None], axis=-1)[..., 0]
    score = np.where(np.isfinite(score), score, 0)
    return np.stack([index % WIDTH, index // WIDTH, score], axis=-1).astype(np.float32)


def align_numpy(
    heatmaps: NDArray[Any],
    keypoints: Floats | None,
    options: AlignmentOptions,
    segments: NDArray[np.int32] | None,
) -> Aligned:
    """Align checked arrays; shapes and meaning as `gaitstream.kernels.align`."""
    n = len(heatmaps)
    joints = find_joints(heatmaps) if keypoints is None else keypoints
    scores = np.where(np.isfinite(joints[..., 2]), joints[..., 2], 0).astype(np.float64)
    spine = joints[:, SPINE, :2].astype(np.float64)
    neck, hip = spine[:, :2].mean(axis=1), spine[:, 2:].mean(axis=1)
    maps = normalise(heatmaps, options, segments)
    angles, moved = np.zeros(n, np.float32), np.zeros(n, np.bool_)
    parts = np.empty((n, 1 + len(options.groups), HEIGHT, WIDTH), np.float32)
    for frame in range(n):
        result, angles[frame], moved[frame] = align_frame(maps[frame], neck[frame], hip[frame], options)
        parts[frame, 0] = result.max(axis=0)
        for part, group in enumerate(options.groups, start=1):
            parts[frame, part] = result[list(group)].max(axis=0)
    return Aligned(
        parts,
        angles,
        moved,
        neck.astype(np.float32),
        hip.astype(np.float32),
        scores.mean(axis=1).astype(np.float32),
    )


def align_frame(
    maps: Floats, neck: Doubles, hip: Doubles, options: AlignmentOptions
) -> tuple[Floats, float, bool]:
    """One frame's normalised maps `[c, 64, 48]` after both samplings, its tilt, and whether it moved."""
    half = options.sampling == "half_io"
    rotation = translation = np.eye(3)[:2]
    angle, moves = 0.0, False
    if float(np.hypot(*(hip - neck))) <= float(np.finfo(np.float32).max):
        found = spine_matrices(neck, hip, options.target_xy)
        angle = float(found[2])
        moves = abs(angle) > options.gamma_deg + ANGLE_SLACK or options.small_angle == "align"
        if moves:
            rotation, translation = found[:2]
    if not moves and not half:
        return maps, angle, False
    if options.sampling == "one":
        both = np.vstack([rotation, [0, 0, 1]]) @ np.vstack([translation, [0, 0, 1]])
        return sample(maps, both[:2].astype(np.float32)), angle, moves
    # A grid rounded to half is not quite the identity, even for identity matrices.
    first = sample(maps, rotation.astype(np.float32), half)
    return sample(first, translation.astype(np.float32), half), angle, moves

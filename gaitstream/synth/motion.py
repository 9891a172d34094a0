"""A walking body as numbers: where its segments point through the gait cycle, as short Fourier series.

Segments are unit vectors in the walker's own axes (ahead, left, up), so that a walk can be worn by any
body. The root is the middle of the hips: how far it is ahead of an even pace, to the left of the path and
up, in leg lengths. After Troje (2002), *Journal of Vision* 2(5), 371-387, who describes walks by the same
means.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SEGMENTS = (
    "hips", "left_thigh", "right_thigh", "left_shank", "right_shank", "left_foot", "right_foot", "spine",
    "shoulders", "left_upper_arm", "right_upper_arm", "left_forearm", "right_forearm", "head", "face",
)  # fmt: skip
"""`hips` and `shoulders` point from right to left, `foot` from heel to toes, `head` from between the
shoulders to between the ears, `face` from there to the nose; the others away from the trunk."""
ROOT = len(SEGMENTS)
"""Row of the root among the channels; the segments come first."""
ROWS = ROOT + 1
HARMONICS = 6
TERMS = 1 + 2 * HARMONICS


def basis(cycle: Array) -> Array:
    """Fourier terms `[..., TERMS]` at gait cycles `[...]`: 1, then cosine and sine of each harmonic."""
    angle = 2 * np.pi * cycle[..., None] * np.arange(1, HARMONICS + 1)
    waves = np.stack([np.cos(angle), np.sin(angle)], -1).reshape(*cycle.shape, 2 * HARMONICS)
    terms: Array = np.concatenate([np.ones((*cycle.shape, 1)), waves], -1)
    return terms


def mirrored(series: Array) -> Array:
    """The same walk in a mirror: sides change places, half a cycle later.

    Args:
        series: coefficients `[..., ROWS, 3, TERMS]`.
    """
    order = [_other_side(name) for name in SEGMENTS] + [ROOT]
    sign = np.ones((ROWS, 3, 1))
    sign[:, 1] = -1
    # Left to right of a body is right to left of its mirror image.
    for name in ("hips", "shoulders"):
        sign[SEGMENTS.index(name)] *= -1
    later = np.ones(TERMS)
    for harmonic in range(1, HARMONICS + 1, 2):
        later[2 * harmonic - 1 : 2 * harmonic + 1] = -1
    swapped: Array = series[..., order, :, :] * sign * later
    return swapped


def _other_side(name: str) -> int:
    other = name.replace("left_", "*").replace("right_", "left_").replace("*", "right_")
    return SEGMENTS.index(other)


def unit(vectors: Array) -> Array:
    """Vectors `[..., 3]` of length one."""
    scaled: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
    return scaled

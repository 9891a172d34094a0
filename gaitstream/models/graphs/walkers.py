"""Walkers drawn from a small kinematic model, as fixed inputs for comparisons.

Enough structure that masks, alignment and part maps are all exercised, and several people, so that rank order
means something. Families draw what they take: crops, heatmaps with joints, or silhouettes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
CROP, HEATMAP, SILHOUETTE = (256, 128), (64, 48), (64, 64)
"""Height and width of what is drawn."""
PEOPLE, CLIPS, FRAMES = 3, 2, 2
SEED = 20240601
LIMBS = (
    (5, 7, 0.055), (7, 9, 0.05), (6, 8, 0.055), (8, 10, 0.05),
    (11, 13, 0.08), (13, 15, 0.065), (12, 14, 0.08), (14, 16, 0.065),
    (5, 11, 0.12), (6, 12, 0.12), (5, 6, 0.1), (11, 12, 0.12), (0, 0, 0.15),
)  # fmt: skip
"""Pairs of joints and the thickness between them, as a share of the height over 2."""


def about(frames: int = FRAMES) -> str:
    """The drawn inputs in words, for reports."""
    sequences = PEOPLE * CLIPS
    return f"{sequences * frames} drawn frames in {sequences} sequences of {PEOPLE} people"


def sequence_index(frames: int = FRAMES) -> NDArray[np.int64]:
    """Index of the sequence that each drawn frame belongs to, `[frames]`."""
    return np.repeat(np.arange(PEOPLE * CLIPS), frames)


def walker(person: int, phase: float, lean_deg: float) -> NDArray[np.float64]:
    """Joints of a walking person, `[17, 2]` (x, y) in units of the height, the hip at the origin."""
    rng = np.random.default_rng([SEED, person])
    stride, swing, girth = rng.uniform((0.3, 0.25, 0.08), (0.6, 0.7, 0.13))
    joints = np.zeros((17, 2))
    joints[0] = (0.02, -0.42)
    joints[1:5] = [(0.03, -0.44), (0.0, -0.44), (0.04, -0.43), (-0.02, -0.43)]
    for side, sign in ((0, 1.0), (1, -1.0)):
        leg, arm = sign * stride * np.sin(phase), -sign * swing * np.sin(phase)
        bend = 0.5 * max(0.0, sign * np.cos(phase))
        shoulder, hip = np.array((sign * girth, -0.3)), np.array((sign * girth * 0.7, 0.0))
        elbow = shoulder + 0.16 * np.array((np.sin(arm), np.cos(arm)))
        knee = hip + 0.24 * np.array((np.sin(leg), np.cos(leg)))
        joints[5 + side], joints[7 + side] = shoulder, elbow
        joints[9 + side] = elbow + 0.15 * np.array((np.sin(arm + 0.3), np.cos(arm + 0.3)))
        joints[11 + side], joints[13 + side] = hip, knee
        joints[15 + side] = knee + 0.24 * np.array((np.sin(leg - bend), np.cos(leg - bend)))
    lean = np.deg2rad(lean_deg)
    turned: NDArray[np.float64] = joints @ np.array(
        [[np.cos(lean), np.sin(lean)], [-np.sin(lean), np.cos(lean)]]
    )
    return turned


def draw_crop(person: int, phase: float, ratio: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A walker before a textured wall, padded with black as the crop rule does, RGB `[3, 256, 128]`."""
    height, width = CROP
    y, x = np.mgrid[:height, :width].astype(np.float64)
    coarse = rng.uniform(40, 150, (3, 9, 5))
    wall = np.kron(coarse, np.ones((32, 32)))[:, :height, :width]
    image = wall + 12 * rng.standard_normal((3, height, width)) + 20 * np.sin(x / 9 + y / 17)
    joints = walker(person, phase, 0.0) * 0.95 * height + (width / 2, 0.48 * height)
    colours = np.random.default_rng([SEED, person, 1]).uniform(20, 240, (len(LIMBS), 3))
    for (a, b, thickness), colour in zip(LIMBS, colours, strict=True):
        inside = _capsule(x, y, joints[a], joints[b]) < thickness * height / 2
        image[:, inside] = colour[:, None] + 6 * rng.standard_normal((3, int(inside.sum())))
    need = int(np.float32(height) * np.float32(ratio))
    left = (width - need) // 2
    outside = (x[0] < left) | (x[0] >= left + need)
    image[..., outside] = 0
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def draw_heatmaps(
    person: int, phase: float, lean_deg: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """One person's heatmaps `[17, 64, 48]` and joints `[17, 3]` in heatmap pixels, float32."""
    height, width = HEATMAP
    joints = walker(person, phase, lean_deg) * 0.8 * height + (width / 2, 0.47 * height)
    joints += rng.normal(0, 0.4, joints.shape) + rng.uniform(-3, 3, 2)
    score = rng.uniform(0.5, 1.0, 17)
    y, x = np.mgrid[:height, :width]
    squared = (x - joints[:, 0, None, None]) ** 2 + (y - joints[:, 1, None, None]) ** 2
    maps = score[:, None, None] * np.exp(-squared / (2 * 2.0**2))
    return maps.astype(np.float32), np.concatenate([joints, score[:, None]], 1).astype(np.float32)


def draw_silhouette(person: int, phase: float, lean_deg: float, size: int = 64) -> NDArray[np.uint8]:
    """A walker's silhouette, 0 or 255, `[size, size]`, filling the height as aligned silhouettes do."""
    y, x = np.mgrid[:size, :size].astype(np.float64)
    joints = walker(person, phase, lean_deg) * 0.95 * size + (size / 2, 0.48 * size)
    inside = np.zeros((size, size), bool)
    for a, b, thickness in LIMBS:
        inside |= _capsule(x, y, joints[a], joints[b]) < thickness * size / 2
    return inside.astype(np.uint8) * np.uint8(255)


def schedule(rng: np.random.Generator, frames: int = FRAMES) -> list[tuple[int, int, float, float]]:
    """Person, clip, gait phase and lean of every frame; half of the frames lean over gamma."""
    return [
        (person, clip, float(rng.uniform(0, 2 * np.pi)), float(rng.choice([-1, 1]) * (1 + 11 * (frame % 2))))
        for person in range(PEOPLE)
        for clip in range(CLIPS)
        for frame in range(frames)
    ]


def _capsule(x: Array, y: Array, a: Array, b: Array) -> Array:
    """Distance of every pixel to the segment from a to b."""
    along = b - a
    span = float(along @ along) or 1.0
    t = np.clip(((x - a[0]) * along[0] + (y - a[1]) * along[1]) / span, 0, 1)
    distance: Array = np.hypot(x - a[0] - t * along[0], y - a[1] - t * along[1])
    return distance

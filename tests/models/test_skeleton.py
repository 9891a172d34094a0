"""Skeleton maps against their definition, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gaitstream.models.manifest import SkeletonContract
from gaitstream.models.skeleton import LIMBS, draw, place

CONTRACT = SkeletonContract()


def person(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    points = np.zeros((17, 3), np.float32)
    points[:, 0] = rng.uniform(15, 33, 17)
    points[:, 1] = np.linspace(6, 58, 17) + rng.uniform(-2, 2, 17)
    points[:, 2] = rng.uniform(0.4, 1, 17)
    return points


def brightness(points: np.ndarray, x: int, y: int, pairs: list[tuple[int, int]], sigma: float) -> float:
    """The definition: the brightest Gaussian of the distance to a segment, ended at three spreads."""
    best = 0.0
    for a, b in pairs:
        (ax, ay, a_score), (bx, by, b_score) = points[a].tolist(), points[b].tolist()
        if not (
            int(min(ax, bx) - 3 * sigma) <= x <= int(max(ax, bx) + 3 * sigma)
            and int(min(ay, by) - 3 * sigma) <= y <= int(max(ay, by) + 3 * sigma)
        ):
            continue
        length2 = (bx - ax) ** 2 + (by - ay) ** 2
        along = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length2 if length2 >= 1 else 0.0
        along = min(max(along, 0.0), 1.0)
        distance2 = (x - ax - along * (bx - ax)) ** 2 + (y - ay - along * (by - ay)) ** 2
        best = max(best, min(a_score, b_score) * math.exp(-distance2 / (2 * sigma**2)))
    return best


@pytest.mark.parametrize("seed", range(3))
def test_maps_are_the_brightest_gaussian_of_limbs_and_joints(seed: int) -> None:
    import cv2

    points = person(seed)
    placed = place(points, CONTRACT.canvas_px)
    side = CONTRACT.canvas_px
    drawn = draw(points[None], (64, 44), CONTRACT)
    assert drawn.shape == (1, 2, 64, 44)
    for channel, pairs in enumerate([list(LIMBS), [(joint, joint) for joint in range(17)]]):
        canvas = np.array(
            [
                [min(255, int(256 * brightness(placed, x, y, pairs, CONTRACT.sigma_px))) for x in range(side)]
                for y in range(side)
            ],
            np.uint8,
        )
        rows = np.flatnonzero(canvas.any(axis=1))
        tall = len(range(rows[0], rows[-1] + 1))
        square = canvas[rows[0] : rows[-1] + 1, 64 - tall // 2 : 64 + tall // 2 + 1].astype(np.float32)
        expected = cv2.resize(square, (64, 64), interpolation=cv2.INTER_AREA)[:, 10:54]
        assert np.abs(drawn[0, channel].astype(float) - expected).max() <= 1.5


def test_place_and_size_in_the_picture_do_not_matter() -> None:
    points = person()
    moved = points.copy()
    moved[:, :2] = points[:, :2] * 3.7 + 200
    difference = draw(points[None], (64, 44), CONTRACT).astype(int) - draw(moved[None], (64, 44), CONTRACT)
    assert np.abs(difference).max() <= 1


def test_scores_are_brightness_and_nobody_is_black() -> None:
    points = person()
    points[:, 2] = 0.5
    assert 124 <= draw(points[None], (64, 44), CONTRACT).max() <= 128
    points[:, 2] = 0.0
    assert not draw(points[None], (64, 44), CONTRACT).any()
    assert draw(points[:0][None][:0], (64, 44), CONTRACT).shape == (0, 2, 64, 44)

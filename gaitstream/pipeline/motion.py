"""How boxes move: a Kalman filter of constant velocity for all tracks of a camera at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats

Array = NDArray[np.float64]

JITTER = 0.06
"""Standard deviation of a detected box in body heights."""
ACCELERATION = 2.0
"""Of people, in body heights per second squared."""
FIRST_SPEED = np.array([0.8, 0.5, 0.2, 0.2])
"""Standard deviation of the speed of somebody who was just found, in body heights per second."""
SLOWS_S = 1.5
"""Somebody out of sight is expected to go on for about this long."""


class BoxMotion:
    """Middle, feet, width and height of each track's box, and their speeds, in pixels and seconds.

    The four are filtered apart, each with its speed, with noise in proportion to the person's height, so that
    a set of tracks costs about as much as one.

    Attributes:
        place: `[n, 4]`.
        speed: per second `[n, 4]`.
        variance: of place, of place with speed, of speed, `[n, 4, 3]`.
    """

    def __init__(self) -> None:
        self.place: Array = np.empty((0, 4))
        self.speed: Array = np.empty((0, 4))
        self.variance: Array = np.empty((0, 4, 3))

    def add(self, boxes: Floats) -> None:
        """Begin tracks at boxes, xyxy pixels `[n, 4]`."""
        place = measured(boxes)
        heights = place[:, 3:]
        variance = np.zeros((len(place), 4, 3))
        variance[:, :, 0] = 2 * (JITTER * heights) ** 2
        variance[:, :, 2] = (FIRST_SPEED * heights) ** 2
        self.place = np.concatenate([self.place, place])
        self.speed = np.concatenate([self.speed, np.zeros_like(place)])
        self.variance = np.concatenate([self.variance, variance])

    def keep(self, chosen: NDArray[np.bool_]) -> None:
        """Forget the tracks that are not chosen, `[n]`."""
        self.place, self.speed = self.place[chosen], self.speed[chosen]
        self.variance = self.variance[chosen]

    def predict(self, elapsed_s: float, hidden: NDArray[np.bool_]) -> None:
        """Move everybody on; `hidden` are those nobody saw last, `[n]`."""
        drift = (ACCELERATION * self.place[:, 3:]) ** 2
        self.place = self.place + self.speed * elapsed_s
        self.speed = np.where(hidden[:, None], self.speed * np.exp(-elapsed_s / SLOWS_S), self.speed)
        place, shared, speed = np.moveaxis(self.variance, 2, 0)
        self.variance = np.stack(
            [
                place + 2 * elapsed_s * shared + elapsed_s**2 * speed + drift * elapsed_s**4 / 4,
                shared + elapsed_s * speed + drift * elapsed_s**3 / 2,
                speed + drift * elapsed_s**2,
            ],
            axis=2,
        )

    def distances(self, boxes: Floats) -> Array:
        """Squared Mahalanobis distance of middle, feet and height of boxes to each track, `[n, m]`."""
        off = measured(boxes)[None] - self.place[:, None]
        each = off**2 / self._expected()[:, None]
        return np.asarray(each[:, :, [0, 1, 3]].sum(axis=2))

    def correct(self, rows: NDArray[np.intp], boxes: Floats) -> None:
        """Take in the boxes `[k, 4]` that tracks `[k]` were seen at."""
        off = measured(boxes) - self.place[rows]
        place, shared, speed = np.moveaxis(self.variance[rows], 2, 0)
        expected = self._expected()[rows]
        gain, push = place / expected, shared / expected
        self.place[rows] += gain * off
        self.speed[rows] += push * off
        self.variance[rows] = np.stack(
            [(1 - gain) * place, (1 - gain) * shared, speed - push * shared], axis=2
        )

    def boxes(self) -> Floats:
        """Where everybody is expected, xyxy `[n, 4]`."""
        middle, feet, width, height = self.place.T
        corners = [middle - width / 2, feet - height, middle + width / 2, feet]
        return np.stack(corners, axis=1).astype(np.float32)

    def _expected(self) -> Array:
        """Variance of a sighting about the place, `[n, 4]`."""
        return np.asarray(self.variance[:, :, 0] + (JITTER * self.place[:, 3:]) ** 2)


def measured(boxes: Floats) -> Array:
    """Middle, feet, width and height of xyxy boxes `[n, 4]`."""
    x1, y1, x2, y2 = boxes.astype(np.float64).T
    return np.stack([(x1 + x2) / 2, y2, x2 - x1, y2 - y1], axis=1)

"""How boxes move: a Kalman filter of constant velocity for all tracks of a camera at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats

Array = NDArray[np.float64]

JITTER = 0.12
"""Standard deviation of a detected box in body heights."""
ACCELERATION = 1.0
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
        place_variance: `[n, 4]`.
        covariance: of place and speed, `[n, 4]`.
        speed_variance: `[n, 4]`.
    """

    def __init__(self) -> None:
        self.place: Array = np.empty((0, 4))
        self.speed: Array = np.empty((0, 4))
        self.place_variance: Array = np.empty((0, 4))
        self.covariance: Array = np.empty((0, 4))
        self.speed_variance: Array = np.empty((0, 4))

    def add(self, boxes: Floats) -> None:
        """Begin tracks at boxes, xyxy pixels `[n, 4]`."""
        place = measured(boxes)
        heights, still = place[:, 3:], np.zeros_like(place)
        unsure = np.broadcast_to(2 * (JITTER * heights) ** 2, place.shape)
        self.place = np.concatenate([self.place, place])
        self.speed = np.concatenate([self.speed, still])
        self.place_variance = np.concatenate([self.place_variance, unsure])
        self.covariance = np.concatenate([self.covariance, still])
        self.speed_variance = np.concatenate([self.speed_variance, (FIRST_SPEED * heights) ** 2])

    def keep(self, chosen: NDArray[np.bool_]) -> None:
        """Forget the tracks that are not chosen, `[n]`."""
        self.place, self.speed = self.place[chosen], self.speed[chosen]
        self.place_variance = self.place_variance[chosen]
        self.covariance = self.covariance[chosen]
        self.speed_variance = self.speed_variance[chosen]

    def predict(self, elapsed_s: float, hidden: NDArray[np.bool_]) -> None:
        """Move everybody on; `hidden` are those nobody saw last, `[n]`."""
        drift = (ACCELERATION * self.place[:, 3:]) ** 2
        self.place += self.speed * elapsed_s
        self.speed[hidden] *= np.exp(-elapsed_s / SLOWS_S)
        self.place_variance += (
            2 * elapsed_s * self.covariance + elapsed_s**2 * self.speed_variance + drift * (elapsed_s**4 / 4)
        )
        self.covariance += elapsed_s * self.speed_variance + drift * (elapsed_s**3 / 2)
        self.speed_variance += drift * elapsed_s**2

    def distances(self, boxes: Floats) -> Array:
        """Squared Mahalanobis distance of middle, feet and height of boxes to each track, `[n, m]`."""
        off = measured(boxes)[None] - self.place[:, None]
        each = off**2 / self._expected()[:, None]
        return np.asarray(each[:, :, [0, 1, 3]].sum(axis=2))

    def correct(self, rows: NDArray[np.intp], boxes: Floats) -> None:
        """Take in the boxes `[k, 4]` that tracks `[k]`, in ascending order, were seen at."""
        seen = slice(None) if len(rows) == len(self.place) else rows  # a part takes copies
        off = measured(boxes) - self.place[seen]
        place, shared = self.place_variance[seen], self.covariance[seen]
        expected = self._expected()[seen]
        gain, push = place / expected, shared / expected
        self.place[seen] += gain * off
        self.speed[seen] += push * off
        self.speed_variance[seen] -= push * shared
        self.covariance[seen] -= gain * shared
        self.place_variance[seen] -= gain * place

    def boxes(self) -> Floats:
        """Where everybody is expected, xyxy `[n, 4]`."""
        middle, feet, width, height = self.place.T
        corners = np.empty(self.place.shape, np.float32)
        corners[:, 0], corners[:, 1] = middle - width / 2, feet - height
        corners[:, 2], corners[:, 3] = middle + width / 2, feet
        return corners

    def _expected(self) -> Array:
        """Variance of a sighting about the place, `[n, 4]`."""
        return np.asarray(self.place_variance + (JITTER * self.place[:, 3:]) ** 2)


def measured(boxes: Floats) -> Array:
    """Middle, feet, width and height of xyxy boxes `[n, 4]`."""
    x1, y1, x2, y2 = boxes.astype(np.float64).T
    found = np.empty((len(boxes), 4))
    found[:, 0], found[:, 1], found[:, 2], found[:, 3] = (x1 + x2) / 2, y2, x2 - x1, y2 - y1
    return found

"""Regions of interest: polygons on a camera's frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gaitstream.config.schema import Camera
from gaitstream.data import Floats
from gaitstream.errors import ConfigError


class Regions:
    """A camera's polygons, scaled to its stream.

    Args:
        camera: the camera's entry.
        size: width and height of the stream.

    Raises:
        ConfigError: a polygon reaches outside the frame.
    """

    def __init__(self, camera: Camera, size: tuple[int, int]) -> None:
        drawn_on = camera.region_size or size
        scale = np.array(size, np.float64) / np.array(drawn_on, np.float64)
        self._polygons = [np.asarray(polygon, np.float64) * scale for polygon in camera.regions]
        for index, polygon in enumerate(self._polygons):
            outside = (polygon > np.array(size)).any(axis=1)
            if outside.any():
                x, y = camera.regions[index][int(outside.argmax())]
                raise ConfigError(
                    f"camera {camera.id}: regions[{index}]: point [{x:g}, {y:g}] lies outside the frame of "
                    f"{size[0]} x {size[1]}; set region_size to the size the polygon was drawn on"
                )

    def contain(self, points: Floats) -> NDArray[np.bool_]:
        """Which points `[n, 2]` (x, y in pixels) lie in any polygon; all of them when there is none."""
        if not self._polygons:
            return np.ones(len(points), bool)
        inside = np.zeros(len(points), bool)
        for polygon in self._polygons:
            inside |= _in_polygon(points, polygon)
        return inside


def _in_polygon(points: Floats, polygon: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Even-odd rule: a ray to the right crosses the outline an odd number of times."""
    x, y = points[:, None, 0], points[:, None, 1]
    (x1, y1), (x2, y2) = polygon.T, np.roll(polygon, -1, axis=0).T
    crosses = (y1 > y) != (y2 > y)
    rise = np.where(y2 == y1, 1.0, y2 - y1)
    left = x < x1 + (y - y1) * (x2 - x1) / rise
    return np.asarray((crosses & left).sum(axis=1) % 2 == 1)

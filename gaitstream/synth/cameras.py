"""Pinhole cameras over the floor plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NEAR_M = 0.3
"""Nothing nearer than this is projected."""


@dataclass(frozen=True, slots=True)
class PinholeCamera:
    """A pinhole camera without lens distortion; pixels are square, the principal point is the centre."""

    name: str
    position: tuple[float, float, float]
    """Metres; z is the mounting height over the floor."""
    yaw_deg: float
    """Heading of the optical axis on the floor plan, counter-clockwise from +x."""
    tilt_deg: float
    """How far the optical axis points below the horizon."""
    fov_deg: float
    """Horizontal field of view."""
    width: int = 640
    height: int = 360
    fps: float = 15.0

    @property
    def focal_px(self) -> float:
        """Focal length in pixels."""
        return self.width / 2 / float(np.tan(np.radians(self.fov_deg) / 2))

    @property
    def rotation(self) -> Array:
        """World to camera `[3, 3]`: rows are the camera's right, down and forward."""
        yaw, tilt = np.radians(self.yaw_deg), np.radians(self.tilt_deg)
        forward = np.array([np.cos(yaw) * np.cos(tilt), np.sin(yaw) * np.cos(tilt), -np.sin(tilt)])
        right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
        return np.stack([right, np.cross(forward, right), forward])

    def project(self, points: Array) -> tuple[Array, Array]:
        """Project world points.

        Args:
            points: metres, `[..., 3]`.

        Returns:
            Pixels `[..., 2]` (the centre of the top left pixel is 0, 0) and depth along the optical axis in
            metres `[...]`. Points nearer than `NEAR_M` keep their depth; their pixels mean nothing.
        """
        local = (points - np.asarray(self.position)) @ self.rotation.T
        depth = local[..., 2]
        scale = self.focal_px / np.maximum(depth, NEAR_M)
        centre = np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        return local[..., :2] * scale[..., None] + centre, depth

    def floor_at(self, pixels: Array) -> tuple[Array, Array]:
        """Where the rays of pixels `[..., 2]` meet the floor.

        Returns:
            Floor positions in metres `[..., 2]` and depth `[...]`, infinite at and above the horizon.
        """
        centre = np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        local = np.concatenate([(pixels - centre) / self.focal_px, np.ones((*pixels.shape[:-1], 1))], axis=-1)
        rays = local @ self.rotation
        falling = rays[..., 2] < -1e-4
        depth = np.where(falling, -self.position[2] / np.where(falling, rays[..., 2], -1), np.inf)
        reach = np.where(falling, depth, 0)[..., None]
        return np.asarray(self.position)[:2] + rays[..., :2] * reach, depth


def look_at(
    name: str, position: tuple[float, float, float], target: tuple[float, float, float],
    fov_deg: float = 62.0, width: int = 640, height: int = 360, fps: float = 15.0,
) -> PinholeCamera:  # fmt: skip
    """A camera at a position in metres whose optical axis goes through a target in metres."""
    dx, dy, dz = (b - a for a, b in zip(position, target, strict=True))
    yaw, tilt = np.degrees(np.arctan2(dy, dx)), np.degrees(np.arctan2(-dz, np.hypot(dx, dy)))
    return PinholeCamera(name, position, float(yaw), float(tilt), fov_deg, width, height, fps)

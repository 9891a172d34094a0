"""Pose-guided heatmap alignment (PGHA) in PyTorch, step by step as released but without its random branch.

The yardstick of `alignment.write_align`: matrices by inversion in float64, then two grid samplings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name everyone knows

from gaitstream.models.gaitheat.module import merge_parts
from gaitstream.models.gaitheat.spec import HEATMAP


@dataclass(frozen=True)
class AlignedTensors:
    """What alignment computes; n is the number of frames."""

    rotation: Tensor
    """Output-to-input matrices in normalised coordinates, float64 `[n, 2, 3]`."""
    translation: Tensor
    """The same of the second sampling."""
    after_rotation: Tensor
    """Maps after the first sampling, `[n, c, 64, 48]`."""
    after_translation: Tensor
    """Maps after the second, `[n, c, 64, 48]`."""
    parts: Tensor
    """`[n, 1 + groups, 64, 48]`."""


def matrices(
    keypoints: Tensor,
    *,
    gamma_deg: float = 5.0,
    small_angle: Literal["identity", "align"] = "identity",
    target_xy: tuple[float, float] = (24.0, 16.0),
) -> tuple[Tensor, Tensor]:
    """Matrices of rotation and translation from joints `[n, 17, 3]`, float64 `[n, 2, 3]` each."""
    xy = keypoints[..., :2].double()
    neck, hip = xy[:, 5:7].mean(1), xy[:, 11:13].mean(1)
    spine = hip - neck
    angle = torch.rad2deg(torch.atan2(spine[:, 1], spine[:, 0])) - 90
    cos, sin = torch.cos(torch.deg2rad(angle)), torch.sin(torch.deg2rad(angle))
    cx, cy = ((neck + hip) / 2).unbind(1)
    rotation = _affine(cos, sin, (1 - cos) * cx - sin * cy, sin * cx + (1 - cos) * cy)
    moved = (rotation @ torch.cat([neck, torch.ones_like(neck[:, :1])], 1)[..., None])[:, :2, 0]
    shift = torch.tensor(target_xy, dtype=torch.float64) - moved
    translation = _affine(torch.ones_like(cos), torch.zeros_like(cos), shift[:, 0], shift[:, 1])
    if small_angle == "identity":
        upright = (angle.abs() <= gamma_deg)[:, None, None]
        eye = torch.eye(3, dtype=torch.float64)
        rotation, translation = torch.where(upright, eye, rotation), torch.where(upright, eye, translation)
    return _normalised(rotation), _normalised(translation)


def align(
    heatmaps: Tensor,
    keypoints: Tensor,
    groups: Sequence[Sequence[int]],
    *,
    gamma_deg: float = 5.0,
    small_angle: Literal["identity", "align"] = "identity",
    target_xy: tuple[float, float] = (24.0, 16.0),
    normalization: Literal["fixed", "tracklet", "none"] = "fixed",
) -> AlignedTensors:
    """Normalise, align and merge one tracklet's heatmaps `[n, c, 64, 48]`; see `alignment.write_align`."""
    if normalization == "fixed":
        heatmaps = heatmaps.clamp(0, 1)
    elif normalization == "tracklet":
        heatmaps = (heatmaps - heatmaps.min()) / (heatmaps.max() - heatmaps.min()).clamp(min=1e-12)
    rotation, translation = matrices(
        keypoints, gamma_deg=gamma_deg, small_angle=small_angle, target_xy=target_xy
    )
    first = sample(heatmaps, rotation)
    second = sample(first, translation)
    parts = merge_parts(second, tuple(tuple(group) for group in groups))
    return AlignedTensors(rotation, translation, first, second, parts)


def sample(maps: Tensor, theta: Tensor) -> Tensor:
    """Sample `[n, c, h, w]` with output-to-input matrices `[n, 2, 3]`, cast to float32 first as released."""
    grid = F.affine_grid(theta.float(), list(maps.shape), align_corners=False)
    return F.grid_sample(maps, grid, "bilinear", "border", align_corners=False)


def _affine(cos: Tensor, sin: Tensor, x: Tensor, y: Tensor) -> Tensor:
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    return torch.stack([cos, sin, x, -sin, cos, y, zero, zero, one], -1).reshape(-1, 3, 3)


def _normalised(matrix: Tensor) -> Tensor:
    """Pixel matrices as output-to-input matrices; the missing half pixel is part of the reference."""
    height, width = HEATMAP
    to_unit = torch.tensor([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]], dtype=torch.float64)
    inverse: Tensor = torch.linalg.inv(to_unit @ matrix @ torch.linalg.inv(to_unit))
    return inverse[:, :2]

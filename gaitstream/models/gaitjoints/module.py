"""GaitJoints: convolutions over time on COCO joints, wherever in the picture and however large they are.

This project's own network. Published models on joints take pixels of the picture as they come, so that their
answer changes with the camera's resolution and with where somebody walks; this one measures joints from the
middle of the trunk, in units of the person's own size, and leaves out those that the pose model did not find.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everyone knows

JOINTS = 17
TRUNK = (5, 6, 11, 12)
"""Shoulders and hips."""
FEATURES = 5 * JOINTS
"""Of a frame: x, y, their velocities, and how surely each joint was found."""
KERNEL = 5
LOST, SURE = 0.15, 0.45
"""Scores at which a joint counts for nothing, and in full."""


def joint_features(keypoints: Tensor) -> Tensor:
    """What the network looks at.

    Args:
        keypoints: `[n, s, 17, 3]`: x, y in any unit, score.

    Returns:
        `[n, 85, s]`, free of the person's place and size in the picture.
    """
    xy, score = keypoints[..., :2], keypoints[..., 2:]
    sure = ((score - LOST) / (SURE - LOST)).clamp(0, 1)
    trunk, weight = xy[:, :, list(TRUNK)], sure[:, :, list(TRUNK)] + 1e-3
    middle = (trunk * weight).sum(2, keepdim=True) / weight.sum(2, keepdim=True)
    xy = xy - middle
    size = ((xy.square() * sure).sum((1, 2, 3)) / (sure.sum((1, 2, 3)) + 1e-3) + 1e-6).sqrt()
    xy = xy / size[:, None, None, None] * sure
    seen = torch.cat([xy, sure], -1)
    nothing = torch.zeros_like(seen[:, :1])
    after, before = torch.cat([seen[:, 1:], nothing], 1), torch.cat([nothing, seen[:, :-1]], 1)
    velocity = (after - before)[..., :2] * after[..., 2:] * before[..., 2:]
    return torch.cat([xy, velocity, sure], -1).flatten(2).transpose(1, 2)


class Block(nn.Module):
    """A convolution over time and one of single frames, around which the input goes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, KERNEL, padding=KERNEL // 2, bias=False)
        self.bn = nn.BatchNorm1d(channels)
        self.mix = nn.Conv1d(channels, channels, 1, bias=False)
        self.mix_bn = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Keep `[n, channels, s]`."""
        out: Tensor = F.relu(x + self.mix_bn(self.mix(F.relu(self.bn(self.conv(x))))))
        return out


class GaitJoints(nn.Module):
    """The whole model.

    Args:
        channels: of every block.
        blocks: how many.
        dim: of the embedding.
    """

    def __init__(self, channels: int = 256, blocks: int = 4, dim: int = 256) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(FEATURES)
        self.first = nn.Conv1d(FEATURES, channels, 1)
        self.blocks = nn.ModuleList(Block(channels) for _ in range(blocks))
        self.fc = nn.Linear(2 * channels, dim, bias=False)
        self.neck = nn.BatchNorm1d(dim)

    def forward(self, keypoints: Tensor) -> Tensor:
        """A window's embedding of unit length: `[n, s, 17, 3]` to `[n, 1, dim]`."""
        x = F.relu(self.first(self.bn(joint_features(keypoints))))
        for block in self.blocks:
            x = block(x)
        pooled = torch.cat([x.mean(2), x.amax(2)], 1)
        out: Tensor = F.normalize(self.neck(self.fc(pooled)), dim=1)[:, None]
        return out

"""GaitTR (Zhang et al., 2023): temporal convolutions and attention over COCO joints."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everyone knows

JOINTS = 17
PARENTS = (5, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14)
"""The joint that each joint's bone begins at, COCO order."""
CHANNELS = 10
"""Of the input: position, position from the nose, steps of one and two frames, bone; x and y of each."""
KERNEL = 9
HEADS = 8


def joint_features(keypoints: Tensor) -> Tensor:
    """What the network looks at.

    Args:
        keypoints: `[n, s, 17, 3]`: x, y, score; the score is not used.

    Returns:
        `[n, 10, s, 17]`.
    """
    xy = keypoints[..., :2]
    steps = []
    for step in (1, 2):
        moved = torch.zeros_like(xy)
        if xy.shape[1] > 2:  # both differences are left out of the last two frames
            moved[:, :-2] = xy[:, step : xy.shape[1] - 2 + step] - xy[:, :-2]
        steps.append(moved)
    bones = xy - xy[:, :, list(PARENTS)]
    return torch.cat([xy, xy - xy[:, :, :1], *steps, bones], -1).permute(0, 3, 1, 2)


class TemporalConv(nn.Module):
    """A convolution over time, Mish, batch norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, (KERNEL, 1), padding=(KERNEL // 2, 0))
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Keep `[n, c, s, joints]`."""
        out: Tensor = self.bn(F.mish(self.conv(x)))
        return out


class _Attention(nn.Module):
    """Attention over the joints of each frame: eight heads, narrow queries and keys."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.keys, self.values = outputs // 4, outputs
        self.qkv_conv = nn.Conv2d(inputs, 2 * self.keys + self.values, 1)
        self.attn_out = nn.Conv2d(outputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[n, inputs, 1, joints]` to `[n, outputs, 1, joints]`."""
        q, k, v = self.qkv_conv(x).squeeze(2).split([self.keys, self.keys, self.values], 1)
        q = q * (self.keys // HEADS) ** -0.5
        q, k, v = (one.unflatten(1, (HEADS, -1)) for one in (q, k, v))
        # Keys by queries: mixing the values then needs no transposition, and the softmax runs along columns.
        weights = torch.softmax(k.transpose(-2, -1) @ q, -2)
        mixed = (v @ weights).flatten(1, 2)
        out: Tensor = self.attn_out(mixed.unsqueeze(2))
        return out


class SpatialAttention(nn.Module):
    """Batch norm over joints and channels, attention, Mish, batch norm, frame by frame."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.data_bn = nn.BatchNorm1d(inputs * JOINTS)
        self.attention_conv = _Attention(inputs, outputs)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[n, inputs, s, joints]` to `[n, outputs, s, joints]`."""
        n, c, s, v = x.shape
        frames = self.data_bn(x.transpose(1, 2).reshape(n * s, c * v)).reshape(n * s, c, 1, v)
        mixed = self.attention_conv(frames).squeeze(2).unflatten(0, (n, s)).transpose(1, 2)
        out: Tensor = self.bn(F.mish(mixed))
        return out


class _Down(nn.Module):
    """The path around a block that changes width."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn(F.mish(self.conv(x)))
        return out


class JointBlock(nn.Module):
    """Temporal convolution, then attention, with residual paths."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.tcn = TemporalConv(inputs)
        self.st = SpatialAttention(inputs, outputs)
        changes = inputs != outputs
        self.residual_s = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs))
            if changes
            else nn.Identity()
        )
        self.down = _Down(inputs, outputs) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map `[n, inputs, s, joints]` to `[n, outputs, s, joints]`."""
        timed = self.tcn(x) + x
        out: Tensor = self.st(timed) + self.residual_s(timed) + self.down(x)
        return out


class GaitTR(nn.Module):
    """The whole model, with the released key names.

    Args:
        channels: widths of the blocks.
        dim: of the embedding.
    """

    def __init__(self, channels: tuple[int, ...] = (64, 64, 128, 256), dim: int = 128) -> None:
        super().__init__()
        self.data_bn = nn.BatchNorm1d(CHANNELS * JOINTS)
        before = (CHANNELS, *channels)
        self.backbone = nn.ModuleList(map(JointBlock, before, channels))
        self.fcn = nn.Conv1d(channels[-1], dim, 1)

    def embed(self, features: Tensor) -> Tensor:
        """Embedding of a window's joint features: `[n, 10, s, 17]` to `[n, 1, dim]`."""
        n, c, s, v = features.shape
        flat = features.permute(0, 3, 1, 2).reshape(n, v * c, s)
        x = self.data_bn(flat).reshape(n, v, c, s).permute(0, 2, 3, 1)
        for block in self.backbone:
            x = block(x)
        out: Tensor = self.fcn(x.mean((2, 3))[..., None]).transpose(1, 2)
        return out

    def forward(self, keypoints: Tensor) -> Tensor:
        """A window's embedding: `[n, s, 17, 3]` to `[n, 1, dim]`."""
        return self.embed(joint_features(keypoints))

"""GaitGraph2 (Teepe et al., CVPRW 2022): graph convolutions over COCO joints, their velocities and bones."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everyone knows

JOINTS = 17
PARENTS = (5, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14)
MIRROR = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
"""Left and right exchanged, COCO order."""
EDGES = (
    (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12),
    (11, 12), (11, 13), (13, 15), (12, 14), (14, 16),
)  # fmt: skip
"""COCO's skeleton."""
HOPS = 3
"""Distances in the joints' graph that a convolution tells apart: 0, 1, 2."""
KERNEL = 9
CHANNELS = 5
FLOOR = 1e-4


def adjacency() -> Tensor:
    """Joints at exactly 0, 1, 2 and 3 hops `[4, 17, 17]`, by column a share of those within three hops."""
    direct = torch.eye(JOINTS, device="cpu", dtype=torch.bool)
    for a, b in EDGES:
        direct[a, b] = direct[b, a] = True
    reach = [torch.eye(JOINTS, device="cpu", dtype=torch.bool)]
    for _ in range(HOPS):
        reach.append((reach[-1].float() @ direct.float()) > 0)
    exact = [reach[0], *(further & ~nearer for nearer, further in pairwise(reach))]
    return torch.stack(exact).float() / reach[-1].float().sum(0)


def joint_features(keypoints: Tensor) -> Tensor:
    """Joints, velocities and bones.

    Args:
        keypoints: `[n, s, 17, 3]`: x, y, score.

    Returns:
        `[n, 3, 5, s, 17]`. The score stands in the place of one value of velocities and bones, as in the
        released code.
    """
    xy, score = keypoints[..., :2], keypoints[..., 2:]
    joints = torch.cat([keypoints, xy - xy[:, :, :1]], -1)
    frames = keypoints.shape[1]
    later = F.pad(xy, (0, 0, 0, 0, 0, 2))
    moving = (torch.arange(frames, device=xy.device) < frames - 2)[:, None, None]
    near, far = ((later[:, step : frames + step] - xy) * moving for step in (1, 2))
    velocity = torch.cat([near, torch.zeros_like(score), score, far[..., 1:]], -1)
    along = xy - xy[:, :, list(PARENTS)]
    length = along.square().sum(-1, keepdim=True).sqrt() + FLOOR
    bones = torch.cat([along, torch.zeros_like(score), score, torch.acos(along[..., 1:] / length)], -1)
    return torch.stack([joints, velocity, bones], 1).permute(0, 1, 4, 2, 3)


class GraphConv(nn.Module):
    """Mixes joints by their distance in the graph: a 1x1 convolution per hop."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.gcn = nn.Conv2d(inputs, HOPS * outputs, 1)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """Map `[n, inputs, s, joints]` to `[n, outputs, s, joints]`; adjacency `[hops, from, to]`."""
        hops = self.gcn(x).unflatten(1, (HOPS, -1))
        return torch.einsum("nkcsv,kvw->ncsw", hops, adjacency)


def _residual(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, (stride, 1)), nn.BatchNorm2d(outputs))


class PlainSpatial(nn.Module):
    """A graph convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = GraphConv(inputs, outputs)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """Map `[n, inputs, s, joints]` to `[n, outputs, s, joints]`."""
        return F.relu(self.bn(self.conv(x, adjacency)))


class PlainTemporal(nn.Module):
    """A convolution over time, batch norm, ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, (KERNEL, 1), padding=(KERNEL // 2, 0))
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Keep `[n, c, s, joints]`."""
        return F.relu(self.bn(self.conv(x)))


class BottleneckSpatial(nn.Module):
    """A graph convolution between a 1x1 convolution down and one up."""

    def __init__(self, inputs: int, outputs: int, reduction: int) -> None:
        super().__init__()
        middle = outputs // reduction
        self.residual = _residual(inputs, outputs)
        self.conv_down, self.bn_down = nn.Conv2d(inputs, middle, 1), nn.BatchNorm2d(middle)
        self.conv, self.bn = GraphConv(middle, middle), nn.BatchNorm2d(middle)
        self.conv_up, self.bn_up = nn.Conv2d(middle, outputs, 1), nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """Map `[n, inputs, s, joints]` to `[n, outputs, s, joints]`."""
        beside = self.residual(x)
        x = F.relu(self.bn_down(self.conv_down(x)))
        x = F.relu(self.bn(self.conv(x, adjacency)))
        return F.relu(self.bn_up(self.conv_up(x)) + beside)


class BottleneckTemporal(nn.Module):
    """A convolution over time between a 1x1 convolution down and one up."""

    def __init__(self, channels: int, reduction: int, stride: int) -> None:
        super().__init__()
        middle = channels // reduction
        self.residual = _residual(channels, channels, stride)
        self.conv_down, self.bn_down = nn.Conv2d(channels, middle, 1), nn.BatchNorm2d(middle)
        self.conv = nn.Conv2d(middle, middle, (KERNEL, 1), (stride, 1), (KERNEL // 2, 0))
        self.bn = nn.BatchNorm2d(middle)
        self.conv_up, self.bn_up = nn.Conv2d(middle, channels, 1), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[n, c, s, joints]` to `[n, c, s / stride, joints]`."""
        beside = self.residual(x)
        x = F.relu(self.bn_down(self.conv_down(x)))
        x = F.relu(self.bn(self.conv(x)))
        return F.relu(self.bn_up(self.conv_up(x)) + beside)


class Module(nn.Module):
    """A spatial and a temporal convolution; `reduction` 0 makes both plain."""

    def __init__(self, inputs: int, outputs: int, reduction: int, stride: int = 1) -> None:
        super().__init__()
        self.scn = (
            BottleneckSpatial(inputs, outputs, reduction) if reduction else PlainSpatial(inputs, outputs)
        )
        self.tcn = BottleneckTemporal(outputs, reduction, stride) if reduction else PlainTemporal(outputs)
        self.edge = nn.Parameter(torch.ones(HOPS + 1, JOINTS, JOINTS))

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """Map `[n, inputs, s, joints]` to `[n, outputs, s / stride, joints]`."""
        out: Tensor = self.tcn(self.scn(x, (adjacency * self.edge)[:HOPS]))
        return out


class InputBranch(nn.Module):
    """One of the three inputs: batch norm, a plain module, a bottleneck."""

    def __init__(self, middle: int, outputs: int, reduction: int) -> None:
        super().__init__()
        self.register_buffer("A", adjacency())
        self.bn = nn.BatchNorm2d(CHANNELS)
        self.layers = nn.ModuleList([Module(CHANNELS, middle, 0), Module(middle, outputs, reduction)])

    def forward(self, x: Tensor) -> Tensor:
        """Map `[n, 5, s, joints]` to `[n, outputs, s, joints]`."""
        x = self.bn(x)
        for layer in self.layers:
            x = layer(x, self.A)
        return x


class ResGCN(nn.Module):
    """Three branches, two modules that halve the time, the mean, a projection."""

    def __init__(self, channels: tuple[int, ...], dim: int, reduction: int) -> None:
        super().__init__()
        c0, c1, c2, c3 = channels
        self.head = nn.ModuleList(InputBranch(c0, c1, reduction) for _ in range(3))
        self.backbone = nn.ModuleList([Module(3 * c1, c2, reduction, 2), Module(c2, c3, reduction, 2)])
        self.fcn = nn.Linear(c3, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[n, 3, 5, s, joints]` to `[n, dim]`."""
        branches = [branch(x[:, index]) for index, branch in enumerate(self.head)]
        hops = self.get_submodule("head.0").get_buffer("A")
        y = torch.cat(branches, 1)
        for layer in self.backbone:
            y = layer(y, hops)
        out: Tensor = self.fcn(y.mean((2, 3)))
        return out


class GaitGraph2(nn.Module):
    """The whole model, with the released key names.

    Args:
        channels: widths: plain module, branch, backbone.
        dim: of one view's embedding.
        reduction: how many times narrower bottlenecks are.
    """

    def __init__(
        self, channels: tuple[int, ...] = (64, 32, 128, 256), dim: int = 128, reduction: int = 8
    ) -> None:
        super().__init__()
        self.ResGCN = ResGCN(channels, dim, reduction)

    def forward(self, keypoints: Tensor) -> Tensor:
        """A window's embedding: `[n, s, 17, 3]` to `[n, 1, 3 dim]`: as it is, reversed in time, mirrored."""
        views = torch.stack([keypoints, keypoints.flip(1), keypoints[:, :, list(MIRROR)]], 1)
        found: Tensor = self.ResGCN(joint_features(views.flatten(0, 1)))
        return found.reshape(-1, 1, 3 * found.shape[1])

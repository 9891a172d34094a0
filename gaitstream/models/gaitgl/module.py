"""GaitGL (Lin et al., ICCV 2021): global and local 3-D convolutions over silhouettes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everyone knows

from gaitstream.models.graphs.heads import SeparateBNNecks, SeparateFCs
from gaitstream.models.graphs.opengait import SLOPE, ConvKey, strips, to_clip

Depth = Literal["single", "double"]
Tap = Literal["batch norm", "head"]
GROUP = 3
"""Frames that the temporal aggregation makes one step of."""
PARTS = 64
FLOOR = 1e-6
"""Smallest value of the generalised mean's argument."""


def conv3d(inputs: int, outputs: int) -> ConvKey:
    """3x3x3 without bias, under the released key name `conv3d`."""
    return ConvKey(nn.Conv3d(inputs, outputs, 3, 1, 1, bias=False), "conv3d")


class GlobalLocal(nn.Module):
    """A convolution over the whole map and one over horizontal strips, added or stacked along the height.

    Args:
        inputs: width before.
        outputs: width after.
        halving: 2^halving strips, each padded on its own.
        stack: stacked, with one activation behind, instead of added after one each.
    """

    def __init__(self, inputs: int, outputs: int, halving: int, *, stack: bool) -> None:
        super().__init__()
        self.halving, self.stack = halving, stack
        self.global_conv3d = conv3d(inputs, outputs)
        self.local_conv3d = conv3d(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[n, inputs, s, h, w]` to `[n, outputs, s, h or 2 h, w]`."""
        whole = self.global_conv3d(x)
        local = strips(x, 2**self.halving, self.local_conv3d)
        if self.stack:
            return F.leaky_relu(torch.cat([whole, local], dim=3), SLOPE)
        return F.leaky_relu(whole, SLOPE) + F.leaky_relu(local, SLOPE)


class GeneralisedMean(nn.Module):
    """GeM over the columns of every row, with a learned exponent."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), 6.5))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[n, c, rows, columns]` to `[n, rows, c]`."""
        return x.clamp(min=FLOOR).pow(self.p).mean(-1).pow(1.0 / self.p).transpose(1, 2)


class GaitGL(nn.Module):
    """The whole model, with the released key names.

    Args:
        depth: `single` as for CASIA-B, `double` as for OU-MVLP and GREW.
        tap: what the feature is: the shared batch norm behind the first head, or that head itself where the
            checkpoint has BNNecks.
        channels: widths of stem and stages.
        identities: classes of the training classifier; 0 leaves it empty.
    """

    def __init__(
        self,
        depth: Depth = "single",
        tap: Tap = "batch norm",
        channels: tuple[int, ...] = (32, 64, 128, 128),
        identities: int = 0,
    ) -> None:
        super().__init__()
        self.depth, self.tap = depth, tap
        c0, c1, c2, c3 = channels
        stem: list[nn.Module] = [conv3d(1, c0), nn.LeakyReLU(SLOPE)]
        if depth == "double":
            stem += [conv3d(c0, c0), nn.LeakyReLU(SLOPE)]
        self.conv3d = nn.Sequential(*stem)
        aggregate = nn.Conv3d(c0, c0, (GROUP, 1, 1), (GROUP, 1, 1), bias=False)
        self.LTA = nn.Sequential(ConvKey(aggregate, "conv3d"), nn.LeakyReLU(SLOPE))
        self.GLConvA0 = self._stage(c0, c1, last=False)
        self.GLConvA1 = self._stage(c1, c2, last=False)
        self.GLConvB2 = self._stage(c2, c3, last=True)
        self.HPP = GeneralisedMean()
        self.Head0 = SeparateFCs(PARTS, c3, c3)
        if tap == "batch norm":
            self.Bn = nn.BatchNorm1d(c3)
            self.Head1 = SeparateFCs(PARTS, c3, identities)
        else:
            self.BNNecks = SeparateBNNecks(PARTS, c3, identities)

    def maps(self, clip: Tensor) -> Tensor:
        """Maps of every step of three frames: `[n, 1, s, 64, 44]`, s >= 3, to `[n, c, s // 3, 64, 22]`."""
        x = self.GLConvA0(self.LTA(self.conv3d(clip)))
        x = F.max_pool3d(x, (1, 2, 2))
        out: Tensor = self.GLConvB2(self.GLConvA1(x))
        return out

    def embed(self, pooled: Tensor) -> Tensor:
        """Embedding of the steps' maximum: `[n, c, 64, 22]` to `[n, 64, dim]`."""
        head: Tensor = self.Head0(self.HPP(pooled))
        return head if self.tap == "head" else self.Bn(head.transpose(1, 2)).transpose(1, 2)

    def forward(self, silhouettes: Tensor) -> Tensor:
        """A window's embedding: `[n, s, 1, 64, 44]` in 0..1 to `[n, 64, dim]`.

        Fewer than three frames are repeated: one three times, two as a pair.
        """
        frames = len(silhouettes[0])
        if frames < GROUP:
            silhouettes = silhouettes.repeat(1, GROUP if frames == 1 else 2, 1, 1, 1)
        return self.embed(self.maps(to_clip(silhouettes)).amax(2))

    def _stage(self, inputs: int, outputs: int, *, last: bool) -> nn.Module:
        if self.depth == "single":
            return GlobalLocal(inputs, outputs, 3, stack=last)
        return nn.Sequential(
            GlobalLocal(inputs, outputs, 1, stack=False), GlobalLocal(outputs, outputs, 1, stack=last)
        )

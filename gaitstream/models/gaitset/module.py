"""GaitSet (Chao et al., AAAI 2019): a set of silhouettes, pooled after each of three stages."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gaitstream.models.graphs.heads import SeparateFCs
from gaitstream.models.graphs.opengait import SLOPE, ConvKey, pool_pyramid
from gaitstream.models.graphs.resnet import SetBlock

BINS = (16, 8, 4, 2, 1)
"""Pieces of the horizontal pyramid pooling, of either path."""


def stage(inputs: int, outputs: int, kernel: int, *, halve: bool) -> nn.Sequential:
    """Two convolutions with leaky ReLU, and a maximum over 2 x 2 where it halves."""
    layers: list[nn.Module] = [
        ConvKey(nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, bias=False)),
        nn.LeakyReLU(SLOPE),
        ConvKey(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)),
        nn.LeakyReLU(SLOPE),
    ]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if halve else []))


class GaitSet(nn.Module):
    """The whole model, with the released key names.

    Args:
        channels: widths of the three stages.
        dim: of a part's embedding.
    """

    def __init__(self, channels: tuple[int, ...] = (32, 64, 128), dim: int = 256) -> None:
        super().__init__()
        c1, c2, c3 = channels
        self.set_block1 = SetBlock(stage(1, c1, 5, halve=True))
        self.set_block2 = SetBlock(stage(c1, c2, 3, halve=True))
        self.set_block3 = SetBlock(stage(c2, c3, 3, halve=False))
        self.gl_block2 = stage(c1, c2, 3, halve=True)
        self.gl_block3 = stage(c2, c3, 3, halve=False)
        self.Head = SeparateFCs(2 * sum(BINS), c3, dim)

    def features(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three maps of each frame, `[n, 1, 64, 44]` to widths at 32 x 22, 16 x 11 and 16 x 11."""
        first = self.set_block1(frames)
        second = self.set_block2(first)
        return first, second, self.set_block3(second)

    def embed(self, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
        """Embedding of the three maps' maxima over time, `[n, 62, dim]`."""
        whole = self.gl_block3(self.gl_block2(first) + second) + third
        parts = torch.cat([pool_pyramid(maps, BINS) for maps in (third, whole)], 1)
        out: Tensor = self.Head(parts)
        return out

    def forward(self, silhouettes: Tensor) -> Tensor:
        """A window's embedding: `[n, s, 1, 64, 44]` in 0..1 to `[n, 62, dim]`."""
        n, s = silhouettes.shape[:2]
        maps = self.features(silhouettes.flatten(0, 1))
        return self.embed(*(one.reshape(n, s, *one.shape[1:]).amax(1) for one in maps))

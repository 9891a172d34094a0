"""GaitHeat as published (Fu et al., ECCV 2024; FastPoseGait `GaitHeat`), for inference and training.

One set of weights serves the global map and every part map; a second set fuses their maxima stage by
stage. The number of part maps is therefore free: the released model reads two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gaitstream.models.graphs.heads import SeparateBNNecks, SeparateFCs, pool_rows, temporal_max
from gaitstream.models.graphs.resnet import SetBlock, Stem, stage

Channels = tuple[int, int, int, int]
Depths = tuple[int, int, int]


class BranchOutput(NamedTuple):
    """One branch's embeddings."""

    before: Tensor
    """Before the neck, `[n, parts, dim]`: what a triplet loss takes."""
    after: Tensor
    """After the neck, every part of unit length, `[n, parts, dim]`: what is compared."""
    logits: Tensor
    """`[n, parts, identities]`: what a cross-entropy loss takes."""


class GaitHeatOutput(NamedTuple):
    """The three branches; `fusion.after` is the embedding."""

    part: BranchOutput
    whole: BranchOutput
    fusion: BranchOutput


class GaitHeat(nn.Module):
    """GaitHeat with the released checkpoint's key names.

    Args:
        channels: widths of the four stages.
        parts: horizontal strips; the height of the last feature map (16 for 64 x 48 input).
        dim: embedding size of a strip.
        identities: classes of the training heads; 0 leaves them empty.
        depths: blocks of stages two to four, one each in the released model. Every further one in stage
            three or four lets a feature see 16 more rows and columns of the map; with one, it sees 41.
    """

    def __init__(
        self,
        channels: Channels = (64, 128, 256, 512),
        parts: int = 16,
        dim: int = 256,
        identities: int = 0,
        depths: Depths = (1, 1, 1),
    ) -> None:
        super().__init__()
        c1, c2, c3, c4 = channels
        d2, d3, d4 = depths
        self.Backbone1 = SetBlock(Stem(1, c1))
        self.Backbone2 = SetBlock(stage(2, c1, c2, 2, d2))
        self.Backbone2_fusion = SetBlock(stage(2, c1, c2, 2, d2))
        self.Backbone3 = SetBlock(stage(3, c2, c3, 2, d3))
        self.Backbone3_fusion = SetBlock(stage(3, c2, c3, 2, d3))
        self.Backbone4 = SetBlock(stage(4, c3, c4, 1, d4))
        self.Backbone4_fusion = SetBlock(stage(4, c3, c4, 1, d4))
        for branch in ("part", "global", "fusion"):
            self.add_module(f"FCs_{branch}", SeparateFCs(parts, c4, dim))
            self.add_module(f"BNNecks_{branch}", SeparateBNNecks(parts, dim, identities))

    def stages(self) -> Iterator[tuple[SetBlock, SetBlock]]:
        """The shared and the fusing network of stages two to four."""
        yield self.Backbone2, self.Backbone2_fusion
        yield self.Backbone3, self.Backbone3_fusion
        yield self.Backbone4, self.Backbone4_fusion

    def features(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode frames.

        Args:
            maps: `[n, 1 + k, 64, 48]`; channel 0 is the maximum over all joints, then the k parts.

        Returns:
            The part, global and fusion branches' maps, each `[n, c4, 16, 12]`.
        """
        *_, (x, fused) = self._walk(maps)
        split = self._by_map(x, len(maps))
        return split[1:].amax(0), split[0], fused

    def fused(self, maps: Tensor) -> list[Tensor]:
        """The fusing path after each of the four stages."""
        return [fused for _, fused in self._walk(maps)]

    def _walk(self, maps: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Every stage's maps `[(1 + k) * n, c, h, w]` and the fusing path `[n, c, h, w]`."""
        n = len(maps)
        # Maps of one kind stay together, so that a part is a slice of the batch.
        x = self.Backbone1(maps.transpose(0, 1).reshape(-1, 1, *maps.shape[2:]))
        fused = self._by_map(x, n).amax(0)
        yield x, fused
        for shared, fusing in self.stages():
            x = shared(x)
            fused = self._by_map(x, n).amax(0) + fusing(fused)
            yield x, fused

    @staticmethod
    def _by_map(x: Tensor, n: int) -> Tensor:
        """Split `[maps * n, c, h, w]` into `[maps, n, c, h, w]`."""
        return x.reshape(-1, n, *x.shape[1:])

    def embed(self, branch: str, pooled: Tensor) -> BranchOutput:
        """Run the head of branch `part`, `global` or `fusion` on pooled maps `[n, c4, 16, 12]`."""
        before = self.get_submodule(f"FCs_{branch}")(pool_rows(pooled))
        after, logits = self.get_submodule(f"BNNecks_{branch}")(before)
        return BranchOutput(before, after, logits)

    def forward(self, maps: Tensor, lengths: list[int] | None = None) -> GaitHeatOutput:
        """Embed sequences.

        Args:
            maps: aligned `[n, s, 1 + k, 64, 48]`, see `features`.
            lengths: see `heads.temporal_max`.

        Returns:
            The three branches over `sequences` rows.
        """
        shape = maps.shape[:2]
        pooled = [
            temporal_max(f.reshape(*shape, *f.shape[1:]), lengths) for f in self.features(maps.flatten(0, 1))
        ]
        names = ("part", "global", "fusion")
        return GaitHeatOutput(*(self.embed(name, x) for name, x in zip(names, pooled, strict=True)))


def merge_parts(heatmaps: Tensor, groups: tuple[tuple[int, ...], ...]) -> Tensor:
    """Maximum over all channels, then over each group.

    Args:
        heatmaps: `[n, c, 64, 48]`.
        groups: channel indices of each part.

    Returns:
        `[n, 1 + len(groups), 64, 48]`.
    """
    merged = [heatmaps.amax(1)] + [heatmaps[:, list(group)].amax(1) for group in groups]
    return torch.stack(merged, 1)

"""SkeletonGait++ (Fan et al., AAAI 2024): skeleton maps and silhouettes, fused by attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gaitstream.models.graphs.heads import SeparateBNNecks, SeparateFCs, pool_rows
from gaitstream.models.graphs.opengait import BlockP3D, FrameWise, blocks, conv_stem, frame_blocks, to_clip

SQUEEZE = 16
"""How many times narrower the fusion's middle is than one branch."""


class BranchFusion(nn.Module):
    """Weights of two branches per pixel and channel, softmax over the branches; silhouette first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = channels // SQUEEZE
        self.conv = FrameWise(
            nn.Sequential(
                nn.Conv2d(2 * channels, middle, 1, bias=False),
                nn.BatchNorm2d(middle),
                nn.ReLU(),
                nn.Conv2d(middle, middle, 3, 1, 1, bias=False),
                nn.BatchNorm2d(middle),
                nn.ReLU(),
                nn.Conv2d(middle, 2 * channels, 1, bias=False),
            )
        )

    def forward(self, silhouette: Tensor, maps: Tensor) -> Tensor:
        """Two `[n, c, s, h, w]` to one."""
        first, second = self.conv(torch.cat([silhouette, maps], 1)).chunk(2, 1)
        weights = torch.stack([first, second]).softmax(0)
        return silhouette * weights[0] + maps * weights[1]


class SkeletonGaitPP(nn.Module):
    """The whole model, with the released key names.

    Args:
        channels: widths of the four stages.
        depths: blocks of each stage.
        dim: of a part's embedding.
        parts: rows of the last map.
        identities: classes of the training classifier; 0 leaves it empty.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (64, 128, 256, 512),
        depths: tuple[int, ...] = (1, 1, 1, 1),
        dim: int = 256,
        parts: int = 16,
        identities: int = 0,
    ) -> None:
        super().__init__()
        c1, c2, c3, c4 = channels
        self.depths = depths
        self.sil_layer0, self.map_layer0 = conv_stem(1, c1), conv_stem(2, c1)
        self.sil_layer1 = frame_blocks(c1, c1, 1, depths[0])
        self.map_layer1 = frame_blocks(c1, c1, 1, depths[0])
        self.fusion = BranchFusion(c1)
        self.layer2 = blocks(BlockP3D, c1, c2, 2, depths[1])
        self.layer3 = blocks(BlockP3D, c2, c3, 2, depths[2])
        self.layer4 = blocks(BlockP3D, c3, c4, 1, depths[3])
        self.FCs = SeparateFCs(parts, c4, dim)
        self.BNNecks = SeparateBNNecks(parts, dim, identities)

    @property
    def context(self) -> int:
        """Frames on each side that change a frame's map."""
        return sum(self.depths[1:])

    def maps(self, clip: Tensor) -> Tensor:
        """Maps of every time step: limbs, joints, silhouette `[n, 3, s, 64, 44]` to `[n, c, s, 16, 11]`."""
        skeleton = self.map_layer1(self.map_layer0(clip[:, :2]))
        silhouette = self.sil_layer1(self.sil_layer0(clip[:, 2:]))
        out: Tensor = self.layer4(self.layer3(self.layer2(self.fusion(silhouette, skeleton))))
        return out

    def embed(self, pooled: Tensor) -> Tensor:
        """Embedding before the neck of pooled maps: `[n, c, 16, 11]` to `[n, parts, dim]`."""
        out: Tensor = self.FCs(pool_rows(pooled))
        return out

    def forward(self, frames: Tensor) -> Tensor:
        """A window's embedding: `[n, s, 3, 64, 44]` in 0..1 to `[n, parts, dim]`."""
        return self.embed(self.maps(to_clip(frames)).amax(2))

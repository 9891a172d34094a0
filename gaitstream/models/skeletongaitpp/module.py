"""SkeletonGait++ (Fan et al., AAAI 2024): skeleton maps and silhouettes, fused by attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gaitstream.models.graphs.deep import CHANNELS, DEPTHS, Four, StemNetwork
from gaitstream.models.graphs.opengait import FrameWise, conv_stem, frame_blocks

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


class SkeletonGaitPP(StemNetwork):
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
        channels: Four = CHANNELS,
        depths: Four = DEPTHS,
        dim: int = 256,
        parts: int = 16,
        identities: int = 0,
    ) -> None:
        super().__init__("p3d", channels, depths, dim, parts, identities)
        width = channels[0]
        self.sil_layer0, self.map_layer0 = conv_stem(1, width), conv_stem(2, width)
        self.sil_layer1 = frame_blocks(width, width, 1, depths[0])
        self.map_layer1 = frame_blocks(width, width, 1, depths[0])
        self.fusion = BranchFusion(width)

    def stem(self, clip: Tensor) -> Tensor:
        """Maps of each frame before stage two; the frames are limbs, joints and silhouette."""
        skeleton = self.map_layer1(self.map_layer0(clip[:, :2]))
        silhouette = self.sil_layer1(self.sil_layer0(clip[:, 2:]))
        out: Tensor = self.fusion(silhouette, skeleton)
        return out

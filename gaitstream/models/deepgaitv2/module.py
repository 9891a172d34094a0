"""DeepGaitV2 (Fan et al., 2023): deeper networks over silhouettes, 2-D, pseudo 3-D or 3-D.

SkeletonGait (AAAI 2024) is the pseudo 3-D network over skeleton maps.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from gaitstream.models.graphs.heads import SeparateBNNecks, SeparateFCs, pool_rows
from gaitstream.models.graphs.opengait import Block3D, BlockP3D, blocks, conv_stem, frame_blocks, to_clip

Mode = Literal["2d", "p3d", "3d"]
CONTEXT = {"2d": 0, "p3d": 1, "3d": 2}
"""Frames on each side that one block of stages two to four looks at."""
STRIDES = (1, 2, 2, 1)


class DeepGaitV2(nn.Module):
    """The whole model, with the released key names.

    Args:
        mode: kind of the blocks of stages two to four; stage one is 2-D in all.
        inputs: channels of a frame: 1 silhouette, 2 skeleton maps.
        channels: widths of the four stages.
        depths: blocks of each stage.
        dim: of a part's embedding.
        parts: rows of the last map.
        identities: classes of the training classifier; 0 leaves it empty.
    """

    def __init__(
        self,
        mode: Mode = "p3d",
        inputs: int = 1,
        channels: tuple[int, ...] = (64, 128, 256, 512),
        depths: tuple[int, ...] = (1, 1, 1, 1),
        dim: int = 256,
        parts: int = 16,
        identities: int = 0,
    ) -> None:
        super().__init__()
        self.mode = mode
        self.depths = depths
        self.layer0 = conv_stem(inputs, channels[0])
        self.layer1 = frame_blocks(channels[0], channels[0], 1, depths[0])
        self.layer2 = self._stage(channels[0], channels[1], STRIDES[1], depths[1])
        self.layer3 = self._stage(channels[1], channels[2], STRIDES[2], depths[2])
        self.layer4 = self._stage(channels[2], channels[3], STRIDES[3], depths[3])
        self.FCs = SeparateFCs(parts, channels[3], dim)
        self.BNNecks = SeparateBNNecks(parts, dim, identities)

    @property
    def context(self) -> int:
        """Frames on each side that change a frame's map."""
        return CONTEXT[self.mode] * sum(self.depths[1:])

    def maps(self, clip: Tensor) -> Tensor:
        """Maps of every time step: `[n, c, s, 64, 44]` to `[n, c', s, 16, 11]`."""
        for layer in (self.layer0, self.layer1, self.layer2, self.layer3, self.layer4):
            clip = layer(clip)
        return clip

    def features(self, frames: Tensor) -> Tensor:
        """Maps of frames, each alone (`2d` only): `[n, c, 64, 44]` to `[n, c', 16, 11]`."""
        return self.maps(frames[:, :, None])[:, :, 0]

    def embed(self, pooled: Tensor) -> Tensor:
        """Embedding before the neck of pooled maps: `[n, c, 16, 11]` to `[n, parts, dim]`."""
        out: Tensor = self.FCs(pool_rows(pooled))
        return out

    def embed_after_neck(self, pooled: Tensor) -> Tensor:
        """Embedding after the neck, every part of unit length."""
        out: Tensor = self.BNNecks(self.embed(pooled))[0]
        return out

    def forward(self, frames: Tensor) -> Tensor:
        """A window's embedding before the neck: `[n, s, c, 64, 44]` in 0..1 to `[n, parts, dim]`."""
        return self.embed(self.maps(to_clip(frames)).amax(2))

    def _stage(self, inputs: int, outputs: int, stride: int, depth: int) -> nn.Module:
        if self.mode == "2d":
            return frame_blocks(inputs, outputs, stride, depth)
        return blocks(BlockP3D if self.mode == "p3d" else Block3D, inputs, outputs, stride, depth)

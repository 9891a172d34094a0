"""DeepGaitV2 (Fan et al., 2023): deeper networks over silhouettes, 2-D, pseudo 3-D or 3-D.

SkeletonGait (AAAI 2024) is the pseudo 3-D network over skeleton maps.
"""

from __future__ import annotations

from torch import Tensor

from gaitstream.models.graphs.deep import CHANNELS, DEPTHS, Four, Mode, StemNetwork
from gaitstream.models.graphs.opengait import conv_stem, frame_blocks


class DeepGaitV2(StemNetwork):
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
        channels: Four = CHANNELS,
        depths: Four = DEPTHS,
        dim: int = 256,
        parts: int = 16,
        identities: int = 0,
    ) -> None:
        super().__init__(mode, channels, depths, dim, parts, identities)
        self.layer0 = conv_stem(inputs, channels[0])
        self.layer1 = frame_blocks(channels[0], channels[0], 1, depths[0])

    def stem(self, clip: Tensor) -> Tensor:
        """Maps of each frame before stage two."""
        out: Tensor = self.layer1(self.layer0(clip))
        return out

    def features(self, frames: Tensor) -> Tensor:
        """Maps of frames, each alone (`2d` only): `[n, c, 64, 44]` to `[n, c', 16, 11]`."""
        return self.maps(frames[:, :, None])[:, :, 0]

"""GaitBase (Fan et al., OpenGait, CVPR 2023): a shallow residual network over silhouettes, set pooling."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everyone knows

from gaitstream.models.graphs.deep import BY_ROW, Pyramids
from gaitstream.models.graphs.heads import SeparateBNNecks, SeparateFCs
from gaitstream.models.graphs.opengait import ConvKey, pool_pyramid
from gaitstream.models.graphs.resnet import BasicBlock, SetBlock

STRIDES = (1, 2, 2, 1)
PYRAMIDS: Pyramids = {**BY_ROW, 31: (16, 8, 4, 2, 1)}
"""Every row a part, as all published configurations have it, or OpenGait's default of five levels."""


class ResNet9(nn.Module):
    """3x3 convolution without pooling, then four stages of residual blocks."""

    def __init__(
        self, channels: tuple[int, ...], inputs: int = 1, depths: tuple[int, ...] = (1, 1, 1, 1)
    ) -> None:
        super().__init__()
        self.conv1 = ConvKey(nn.Conv2d(inputs, channels[0], 3, 1, 1, bias=False))
        self.bn1 = nn.BatchNorm2d(channels[0])
        before = (channels[0], *channels)
        for index, (stride, depth) in enumerate(zip(STRIDES, depths, strict=True), 1):
            rest = (BasicBlock(channels[index - 1], channels[index - 1]) for _ in range(depth - 1))
            first = BasicBlock(before[index - 1], channels[index - 1], stride)
            self.add_module(f"layer{index}", nn.Sequential(first, *rest))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[n, inputs, 64, 44]` to `[n, c, 16, 11]`."""
        x = F.relu(self.bn1(self.conv1(x)))
        for index in range(1, 5):
            x = self.get_submodule(f"layer{index}")(x)
        return x


class GaitBase(nn.Module):
    """The whole model, with the released key names.

    Args:
        channels: widths of the four stages.
        dim: of a part's embedding.
        parts: of the last map: its rows, or all pieces of another of `PYRAMIDS`.
        identities: classes of the training classifier; 0 leaves it empty.
        depths: blocks of each stage.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (64, 128, 256, 512),
        dim: int = 256,
        parts: int = 16,
        identities: int = 0,
        depths: tuple[int, ...] = (1, 1, 1, 1),
    ) -> None:
        super().__init__()
        self.Backbone = SetBlock(ResNet9(channels, depths=depths))
        self.bins = PYRAMIDS[parts]
        self.FCs = SeparateFCs(parts, channels[-1], dim)
        self.BNNecks = SeparateBNNecks(parts, dim, identities)

    def features(self, frames: Tensor) -> Tensor:
        """Maps of frames, each alone: `[n, 1, 64, 44]` in 0..1 to `[n, c, 16, 11]`."""
        out: Tensor = self.Backbone(frames)
        return out

    def embed(self, pooled: Tensor) -> Tensor:
        """Embedding before the neck of pooled maps: `[n, c, 16, 11]` to `[n, parts, dim]`."""
        out: Tensor = self.FCs(pool_pyramid(pooled, self.bins))
        return out

    def forward(self, silhouettes: Tensor) -> Tensor:
        """A window's embedding: `[n, s, 1, 64, 44]` to `[n, parts, dim]`."""
        n, s = silhouettes.shape[:2]
        maps = self.features(silhouettes.flatten(0, 1))
        return self.embed(maps.reshape(n, s, *maps.shape[1:]).amax(1))

"""Building blocks that several OpenGait families share, with the key names of the released checkpoints.

Everything is for inference: batch norms with running statistics, no dropout. Networks over frames take
`[n, channels, frames, height, width]`, the layout of 3-D convolutions.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everyone knows

from gaitstream.models.graphs.checkpoint import CLASSIFIERS, COUNTERS
from gaitstream.models.graphs.resnet import BasicBlock

SLOPE = 0.01
"""Of every leaky ReLU in OpenGait."""
COUNTED_ONLY = re.compile(rf"{COUNTERS}|{CLASSIFIERS}")
"""Keys that inference does without where the embedding is taken after the neck."""
TRAINING_ONLY = re.compile(rf"{COUNTERS}|^BNNecks\.")
"""The same where it is taken before."""


class FrameWise(nn.Module):
    """A network applied to each frame alone, under the released key name `forward_block`.

    Its layers are applied as 3-D ones of depth 1: moving the frames into the batch and back would copy every
    map twice, which costs as much as the convolutions.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.forward_block = block

    def forward(self, x: Tensor) -> Tensor:
        """Map `[n, c, s, h, w]` to `[n, c', s, h', w']`."""
        return each_frame(self.forward_block, x)


def each_frame(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a 2-D layer to every frame of `[n, c, s, h, w]`."""
    if isinstance(layer, nn.Conv2d):
        stride, pad = layer.stride[0], int(layer.padding[0])
        weight = layer.weight.unsqueeze(2)
        return F.conv3d(x, weight, layer.bias, (1, stride, stride), (0, pad, pad))
    if isinstance(layer, nn.BatchNorm2d):
        return F.batch_norm(
            x, layer.running_mean, layer.running_var, layer.weight, layer.bias, training=False, eps=layer.eps
        )
    if isinstance(layer, nn.Sequential):
        for one in layer:
            x = each_frame(one, x)
        return x
    if isinstance(layer, BasicBlock):
        beside = x if layer.downsample is None else each_frame(layer.downsample, x)
        x = F.relu(each_frame(layer.bn1, each_frame(layer.conv1, x)))
        return F.relu(each_frame(layer.bn2, each_frame(layer.conv2, x)) + beside)
    out: Tensor = layer(x)  # element by element
    return out


class ConvKey(nn.Module):
    """A layer under a released key name of its own: `conv` or `conv3d`."""

    def __init__(self, layer: nn.Module, key: str = "conv") -> None:
        super().__init__()
        self.key = key
        self.add_module(key, layer)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        out: Tensor = self.get_submodule(self.key)(x)
        return out


def conv_stem(inputs: int, outputs: int) -> FrameWise:
    """3x3 convolution, batch norm, ReLU on each frame."""
    return FrameWise(
        nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=False)
        )
    )


def frame_blocks(inputs: int, outputs: int, stride: int, depth: int) -> FrameWise:
    """Residual blocks on each frame; the first changes width and resolution."""
    rest = (BasicBlock(outputs, outputs) for _ in range(depth - 1))
    return FrameWise(nn.Sequential(BasicBlock(inputs, outputs, stride), *rest))


class BlockP3D(nn.Module):
    """A residual block whose time convolution stands beside the spatial ones (DeepGaitV2, `p3d`).

    Time is padded with zeros.
    """

    context = 1
    """Frames on each side that change a frame's map."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = FrameWise(
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
            )
        )
        self.conv2 = FrameWise(
            nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        )
        self.shortcut3d = nn.Conv3d(outputs, outputs, (3, 1, 1), 1, (1, 0, 0), bias=False)
        self.sbn = nn.BatchNorm3d(outputs)
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[n, c, s, h, w]` to `[n, c', s, h / stride, w / stride]`."""
        inner = self.conv1(x)
        return self.close(F.relu(inner + self.sbn(self.shortcut3d(inner))), self.beside(x))

    def mix(self, line: Tensor) -> Tensor:
        """Frames with their neighbours at hand: what `conv1` made of `t + 2` frames, to `t` mixed ones."""
        mixed = F.conv3d(line, self.shortcut3d.weight)
        return F.relu(line[:, :, 1:-1] + self.sbn(mixed))

    def close(self, mixed: Tensor, beside: Tensor) -> Tensor:
        """The block's end, each frame alone."""
        return F.relu(self.conv2(mixed) + beside)

    def beside(self, x: Tensor) -> Tensor:
        """The path beside the block, each frame alone."""
        return x if self.downsample is None else self.downsample(x)


class Block3D(nn.Module):
    """A residual block of 3x3x3 convolutions (DeepGaitV2, `3d`)."""

    context = 2
    """Frames on each side that change a frame's map."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, outputs, 3, (1, stride, stride), 1, bias=False)
        self.bn1 = nn.BatchNorm3d(outputs)
        self.conv2 = nn.Conv3d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm3d(outputs)
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[n, c, s, h, w]` to `[n, c', s, h / stride, w / stride]`."""
        beside = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + beside)


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """The path beside a block that changes width or resolution; None where it changes neither."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 1, (1, stride, stride), bias=False), nn.BatchNorm3d(outputs)
    )


def blocks(
    kind: Callable[[int, int, int], nn.Module], inputs: int, outputs: int, stride: int, depth: int
) -> nn.Sequential:
    """A stage of blocks; the first changes width and resolution."""
    return nn.Sequential(
        kind(inputs, outputs, stride), *(kind(outputs, outputs, 1) for _ in range(depth - 1))
    )


def pool_bins(features: Tensor, bins: int) -> Tensor:
    """Horizontal pooling: mean plus maximum of every one of `bins` equal pieces of the rows.

    Args:
        features: `[n, c, h, w]`.
        bins: pieces; h * w is a multiple.

    Returns:
        `[n, bins, c]`.
    """
    n, channels = features.shape[:2]
    pieces = features.reshape(n, channels, bins, -1)
    return (pieces.mean(-1) + pieces.amax(-1)).transpose(1, 2)


def pool_pyramid(features: Tensor, bins: Sequence[int]) -> Tensor:
    """`pool_bins` of several levels: `[n, c, h, w]` to `[n, sum(bins), c]`.

    Each level is pooled from the finer one before it, not from the maps: half the time of a small head.

    Args:
        features: `[n, c, h, w]`.
        bins: pieces of each level, the most first; each level's divide those before, the first's the rows.
    """
    height, width = features.shape[2:]
    piece = (height // bins[0], width)
    mean, top = F.avg_pool2d(features, piece), F.max_pool2d(features, piece)
    levels = [mean + top]
    for finer, coarser in itertools.pairwise(bins):
        piece = (finer // coarser, 1)
        mean, top = F.avg_pool2d(mean, piece), F.max_pool2d(top, piece)
        levels.append(mean + top)
    return torch.cat(levels, 2).squeeze(-1).transpose(1, 2)


def strips(x: Tensor, count: int, layer: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a convolution to horizontal strips of equal height, each padded on its own, and stack them."""
    return torch.cat([layer(strip) for strip in x.chunk(count, dim=-2)], dim=-2)


def to_clip(x: Tensor) -> Tensor:
    """`[n, s, c, h, w]` to the layout of 3-D convolutions `[n, c, s, h, w]`."""
    return x.transpose(1, 2)

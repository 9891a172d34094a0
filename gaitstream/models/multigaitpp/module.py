"""MultiGait++ (Jin et al., AAAI 2025): two representations, what they share and what each has alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gaitstream.models.graphs.deep import CHANNELS, DEPTHS, DeepNetwork, Four, make_stage
from gaitstream.models.graphs.opengait import FrameWise, conv_stem, frame_blocks

SQUEEZE = 16
FLOOR = 1e-6


def _scores(channels: int) -> FrameWise:
    """One branch's scores per pixel and channel."""
    middle = channels // SQUEEZE
    return FrameWise(
        nn.Sequential(
            nn.Conv2d(channels, middle, 1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.Conv2d(middle, middle, 1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.Conv2d(middle, channels, 1, bias=False),
        )
    )


class CommonAndDifferent(nn.Module):
    """Splits two branches into what they have in common and what is left of each (C square)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _scores(channels)
        self.conv2 = _scores(channels)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From two `[n, c, s, h, w]` the first's own, the common and the second's own path."""
        weights = torch.stack([self.conv1(second), self.conv2(first)]).softmax(0)
        low = weights.amin(0)
        least, most = low.amin(1, keepdim=True), low.amax(1, keepdim=True)
        common = ((low - least) / (most - least + FLOOR)).clamp(0, 1)
        return (
            first * (1 - common) * weights[1],
            (first + second) / 2 * common,
            second * (1 - common) * weights[0],
        )


class _Mix(nn.Module):
    """A 1x1 convolution on each frame under the released key name `conv`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = FrameWise(nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class MultiGaitPP(DeepNetwork):
    """The whole model, with the released key names; the common path is the one of `DeepNetwork`.

    Args:
        first: channels of the first representation.
        second: channels of the second.
        channels: widths of the four stages.
        depths: blocks of each stage.
        dim: of a part's embedding.
        parts: rows of the last map.
        identities: classes of the training classifier; 0 leaves it empty.
    """

    def __init__(
        self,
        first: int = 2,
        second: int = 3,
        channels: Four = CHANNELS,
        depths: Four = DEPTHS,
        dim: int = 256,
        parts: int = 16,
        identities: int = 0,
    ) -> None:
        super().__init__("p3d", channels, depths, dim, parts, identities)
        width = channels[0]
        self.first = first
        self.part1_layer0, self.part2_layer0 = conv_stem(first, width), conv_stem(second, width)
        self.part1_layer1 = frame_blocks(width, width, 1, depths[0])
        self.part2_layer1 = frame_blocks(width, width, 1, depths[0])
        self.csquare = CommonAndDifferent(width)
        for part in ("part1", "part2"):
            for stage in (2, 3):
                self.add_module(f"{part}_layer{stage}", make_stage("p3d", stage, channels, depths))
        self.fusion = _Mix(3 * channels[2], channels[2])

    def maps(self, clip: Tensor) -> Tensor:
        """Maps of every time step: `[n, first + second, s, 64, 44]` to `[n, c, s, 16, 11]`."""
        first = self.part1_layer1(self.part1_layer0(clip[:, : self.first]))
        second = self.part2_layer1(self.part2_layer0(clip[:, self.first :]))
        paths = self.csquare(first, second)
        deep = [
            self.get_submodule(f"{name}3")(self.get_submodule(f"{name}2")(path))
            for name, path in zip(("part1_layer", "layer", "part2_layer"), paths, strict=True)
        ]
        out: Tensor = self.get_submodule("layer4")(self.fusion(torch.cat(deep, 1)))
        return out

"""GaitPart (Fan et al., CVPR 2020): focal convolutions on strips, and short-range motion of every part."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everyone knows

from gaitstream.models.graphs.heads import SeparateFCs
from gaitstream.models.graphs.opengait import SLOPE, ConvKey, pool_bins, strips
from gaitstream.models.graphs.resnet import SetBlock

Layout = Literal["casia", "grew"]
PARTS = 16
SQUEEZE = 4
"""How many times narrower the temporal scores' middle is."""


class FocalConv(nn.Module):
    """A convolution applied to 2^halving horizontal strips, each padded on its own."""

    def __init__(self, inputs: int, outputs: int, kernel: int, halving: int) -> None:
        super().__init__()
        self.halving = halving
        self.conv = nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[n, inputs, h, w]` to `[n, outputs, h, w]`."""
        return strips(x, 2**self.halving, self.conv)


PLANS: dict[Layout, tuple[tuple[int, int], ...]] = {
    "casia": ((0, 0), (0, 0), (1, 2), (1, 2), (2, 3), (2, 3)),
    "grew": ((0, 0), (0, 0), (1, 0), (1, 0), (2, 3), (2, 3), (3, 3), (3, 3)),
}
"""Width's index and halving of each convolution; a maximum over 2 x 2 is before the third and the fifth."""


def backbone(layout: Layout, channels: tuple[int, ...]) -> nn.Sequential:
    """The convolutions with their leaky ReLUs and two poolings."""
    layers: list[nn.Module] = []
    inputs = 1
    for index, (width, halving) in enumerate(PLANS[layout]):
        if index in (2, 4):
            layers.append(nn.MaxPool2d(2))
        layers += [FocalConv(inputs, channels[width], 5 if index == 0 else 3, halving), nn.LeakyReLU(SLOPE)]
        inputs = channels[width]
    return nn.Sequential(*layers)


class _Feature(nn.Module):
    """A network under the released key name `feature`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.feature = network

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.feature(x)
        return out


def score(channels: int, kernel: int) -> nn.Sequential:
    """Weight of every frame and channel of one part, before the sigmoid."""
    middle = channels // SQUEEZE
    return nn.Sequential(
        ConvKey(nn.Conv1d(channels, middle, 3, padding=1, bias=False)),
        nn.LeakyReLU(SLOPE),
        ConvKey(nn.Conv1d(middle, channels, kernel, padding=kernel // 2, bias=False)),
    )


class TemporalAggregation(nn.Module):
    """Micro-motion templates of three and of five frames, weighted, summed, their maximum over time."""

    def __init__(self, channels: int, parts: int) -> None:
        super().__init__()
        self.conv1d3x1 = nn.ModuleList(score(channels, 1) for _ in range(parts))
        self.conv1d3x3 = nn.ModuleList(score(channels, 3) for _ in range(parts))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[n, s, parts, c]` to `[n, parts, c]`.

        Parts lie first, so that their products are a matrix product each, and channels last, so that frames
        are shifted by rows: written as convolutions over time, most of the time goes into moving values.
        """
        rows = x.permute(2, 0, 1, 3)
        short, long = _templates(rows)
        motion = short * self._scores(rows, self.conv1d3x1) + long * self._scores(rows, self.conv1d3x3)
        return motion.amax(2).transpose(0, 1)

    def _scores(self, rows: Tensor, parts: nn.ModuleList) -> Tensor:
        """The parts' scores, `[parts, n, s, c]` like the rows."""
        for index, activation in ((0, nn.LeakyReLU(SLOPE)), (2, nn.Sigmoid())):
            weights: list[Tensor] = [part.get_parameter(f"{index}.conv.weight") for part in parts]
            rows = activation(_convolve(rows, torch.stack(weights)))
        return rows


def _convolve(rows: Tensor, weights: Tensor) -> Tensor:
    """Convolve `[parts, n, s, c]` over time, zeros around it, by each part's weights `[parts, out, c, k]`."""
    taps = torch.cat(_shifted(rows, weights.shape[-1]), -1)
    product = taps.flatten(1, 2) @ weights.permute(0, 3, 2, 1).flatten(1, 2)
    return product.reshape(*rows.shape[:3], -1)


def _templates(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean, with padding counted, plus maximum over three and over five frames, like `[parts, n, s, c]`."""
    first, second, _, fourth, fifth = _shifted(rows, 5)
    sum_3 = second + rows + fourth
    sum_5 = sum_3 + first + fifth
    first, second, _, fourth, fifth = _shifted(rows, 5, -torch.inf)
    top_3 = torch.maximum(torch.maximum(second, rows), fourth)
    top_5 = torch.maximum(torch.maximum(top_3, first), fifth)
    return sum_3 / 3 + top_3, sum_5 / 5 + top_5


def _shifted(rows: Tensor, size: int, beyond: float = 0.0) -> list[Tensor]:
    """The rows at each of `size` frames around every frame."""
    frames, reach = rows.shape[2], size // 2
    padded = F.pad(rows, (0, 0, reach, reach), value=beyond)
    return [padded[:, :, shift : shift + frames] for shift in range(size)]


class _Pooling(nn.Module):
    """The aggregation under the released key name `pooling_func`."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.pooling_func = function

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pooling_func(x)
        return out


class GaitPart(nn.Module):
    """The whole model, with the released key names.

    Args:
        layout: of the convolutions: CASIA-B's, or that of GREW, OU-MVLP and CASIA-E.
        channels: widths of the stages.
        dim: of a part's embedding.
    """

    def __init__(
        self, layout: Layout = "casia", channels: tuple[int, ...] = (32, 64, 128), dim: int | None = None
    ) -> None:
        super().__init__()
        self.layout = layout
        last = channels[-1]
        self.Backbone = SetBlock(_Feature(backbone(layout, channels)))
        self.TFA = _Pooling(TemporalAggregation(last, PARTS))
        self.Head = SeparateFCs(PARTS, last, dim or last)

    def features(self, frames: Tensor) -> Tensor:
        """Parts of each frame: `[n, 1, 64, 44]` in 0..1 to `[n, 16, c]`."""
        return pool_bins(self.Backbone(frames), PARTS)

    def embed(self, sequence: Tensor) -> Tensor:
        """Embedding of a window's parts in order: `[n, s, 16, c]` to `[n, 16, dim]`."""
        out: Tensor = self.Head(self.TFA(sequence))
        return out

    def forward(self, silhouettes: Tensor) -> Tensor:
        """A window's embedding: `[n, s, 1, 64, 44]` to `[n, 16, dim]`."""
        n, s = silhouettes.shape[:2]
        return self.embed(self.features(silhouettes.flatten(0, 1)).reshape(n, s, PARTS, -1))

"""The residual blocks both recognizers are built of, with the key names of the released checkpoints.

A released model wraps each convolutional network for image sets, which puts `forward_block` into the
keys; here everything works on `[frames, channels, height, width]` and the wrapper only keeps the name.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everyone knows


class SetBlock(nn.Module):
    """Holds a network under the released key name `forward_block`."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.forward_block = block

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to frames `[n, c, h, w]`."""
        out: Tensor = self.forward_block(x)
        return out


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation and a shortcut (He et al., 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map `[n, inputs, h, w]` to `[n, outputs, h / stride, w / stride]`."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class _Conv(nn.Module):
    """A convolution under the released key name `conv`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class Stem(nn.Module):
    """3x3 convolution and one block at full resolution, no pooling."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = _Conv(inputs, outputs)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.layer1 = nn.Sequential(BasicBlock(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[n, inputs, h, w]` to `[n, outputs, h, w]`."""
        out: Tensor = self.layer1(F.relu(self.bn1(self.conv1(x))))
        return out


def stage(index: int, inputs: int, outputs: int, stride: int, depth: int = 1) -> nn.Sequential:
    """Blocks under the released key name `layer<index>`; the first one changes width and resolution."""
    rest = (BasicBlock(outputs, outputs) for _ in range(depth - 1))
    layer = nn.Sequential(BasicBlock(inputs, outputs, stride), *rest)
    return nn.Sequential(OrderedDict([(f"layer{index}", layer)]))


def trunk(channels: tuple[int, int, int, int]) -> nn.Sequential:
    """Blocks two to four: two halvings of the resolution, then one at constant resolution."""
    c1, c2, c3, c4 = channels
    plan = [(2, c1, c2, 2), (3, c2, c3, 2), (4, c3, c4, 1)]
    return nn.Sequential(
        OrderedDict(
            (f"layer{index}", nn.Sequential(BasicBlock(inputs, outputs, stride)))
            for index, inputs, outputs, stride in plan
        )
    )

"""The small networks of the demo: one encoder with skip connections, two heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

CHANNELS, DEPTHS = (8, 16, 32, 64), (1, 3, 1)
DIM = 64
"""Widths, blocks a stage and part dimensions of the demo's GaitHeat."""
OUTLINE_CHANNELS, OUTLINE_DIM = (8, 16, 32, 64), 64
"""Widths and part dimensions of the demo's GaitBase."""
MASK_SIZE = (128, 96)
"""Height and width of the segmenter's crops."""

Widths = tuple[int, int, int, int]


class Conv(nn.Sequential):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, size, stride, (size - 1) // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = Conv(width, width), Conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as the input."""
        out: Tensor = x + self.second(self.first(x))
        return out


class Encoder(nn.Module):
    """Pixels to features at strides 4, 8, 16 and 32, and back up to stride 8 with skip connections.

    Takes RGB 0..255, `[n, 3, height, width]` with sides that are multiples of 32.
    """

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        c1, c2, c3, c4 = widths
        self.stem = nn.Sequential(nn.Conv2d(3, c1, 8, 4, 2, bias=False), nn.BatchNorm2d(c1), nn.ReLU(True))
        self.down1 = nn.Sequential(Conv(c1, c2, 3, 2), Residual(c2))
        self.down2 = nn.Sequential(Conv(c2, c3, 3, 2), Residual(c3))
        self.down3 = nn.Sequential(Conv(c3, c4, 3, 2), Residual(c4), Residual(c4))
        self.up3, self.merge3 = nn.Conv2d(c4, c3, 1), Conv(c3, c3)
        self.up2, self.merge2 = nn.Conv2d(c3, c2, 1), Conv(c2, c2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features at stride 4 (before going down) and at stride 8 (having gone down and up)."""
        fine = self.stem((x - 118.0) / 60.0)
        at8 = self.down1(fine)
        at16 = self.down2(at8)
        at32 = self.down3(at16)
        at16 = self.merge3(at16 + _double(self.up3(at32)))
        return fine, self.merge2(at8 + _double(self.up2(at16)))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class PoseNet(nn.Module):
    """RGB crops `[n, 3, 256, 192]`, 0..255, to joint heatmaps `[n, 17, 64, 48]`."""

    def __init__(self, widths: Widths = (24, 48, 80, 112)) -> None:
        super().__init__()
        c1, c2 = widths[:2]
        self.encoder = Encoder(widths)
        self.up1, self.merge1 = nn.Conv2d(c2, c1, 1), nn.Sequential(Conv(c1, c1), Conv(c1, c1))
        self.head = nn.Conv2d(c1, 17, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        fine, coarse = self.encoder(x)
        out: Tensor = self.head(self.merge1(fine + _double(self.up1(coarse))))
        return out


class MaskNet(nn.Module):
    """RGB crops `[n, 3, 128, 96]`, 0..255, to logits of the person `[n, 1, 128, 96]`."""

    def __init__(self, widths: Widths = (12, 24, 32, 48)) -> None:
        super().__init__()
        c1, c2 = widths[:2]
        self.encoder = Encoder(widths)
        self.up1, self.merge1 = nn.Conv2d(c2, c1, 1), nn.Sequential(Conv(c1, c1), Conv(c1, c1))
        self.head = nn.Conv2d(c1, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Every cell of stride 4 gives its sixteen pixels."""
        fine, coarse = self.encoder(x)
        return F.pixel_shuffle(self.head(self.merge1(fine + _double(self.up1(coarse)))), 4)


class MaskGraph(nn.Module):
    """`MaskNet` with probabilities."""

    def __init__(self, net: MaskNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, crops: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.net(crops).sigmoid()
        return out


class DetectNet(nn.Module):
    """RGB pictures `[n, 3, height, width]`, 0..255, to one person candidate per cell of 8 x 8 pixels."""

    STRIDE = 8

    def __init__(self, widths: Widths = (16, 40, 64, 96)) -> None:
        super().__init__()
        self.encoder = Encoder(widths)
        self.tower = Conv(widths[1], widths[1])
        self.head = nn.Conv2d(widths[1], 5, 1)
        nn.init.constant_(self.head.bias, 0.0)
        with torch.no_grad():
            self.head.bias[0] = -4.0
            self.head.bias[1:] = 1.5

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Score logits `[n, h, w]` and boxes xyxy in pixels `[n, h, w, 4]`."""
        return self.decode(self.raw(x))

    def raw(self, x: Tensor) -> Tensor:
        """Score logit and the logarithms of the four sides, in cells: `[n, 5, h, w]`."""
        out: Tensor = self.head(self.tower(self.encoder(x)[1]))
        return out

    def decode(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """What `forward` returns, from what `raw` returns."""
        sides = raw[:, 1:].clamp(-3.0, 4.0).exp().permute(0, 2, 3, 1) * self.STRIDE
        rows = (torch.arange(raw.shape[2], dtype=raw.dtype) + 0.5) * self.STRIDE
        columns = (torch.arange(raw.shape[3], dtype=raw.dtype) + 0.5) * self.STRIDE
        y, x_centre = torch.meshgrid(rows, columns, indexing="ij")
        left, top, right, bottom = sides.unbind(-1)
        boxes = torch.stack([x_centre - left, y - top, x_centre + right, y + bottom], -1)
        return raw[:, 0], boxes


class DetectGraph(nn.Module):
    """`DetectNet` in the layout of YOLOv8's raw output: `[n, 4 + 1, cells]`, centre, size, score."""

    def __init__(self, net: DetectNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        logits, boxes = self.net(images)
        low, high = boxes[..., :2], boxes[..., 2:]
        rows = torch.cat([(low + high) / 2, high - low, logits.sigmoid()[..., None]], -1)
        return rows.flatten(1, 2).transpose(1, 2)

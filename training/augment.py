"""What cameras do to pictures, on batches of RGB 0..255 `[n, 3, h, w]`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def photometric(x: Tensor) -> Tensor:
    """Brightness, contrast, colour cast, grey pictures, noise, blur, lost detail and hidden patches."""
    n = len(x)

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        return low + (high - low) * torch.rand(n, channels, 1, 1)

    def some(share: float) -> Tensor:
        return torch.rand(n, 1, 1, 1) < share

    def now(share: float) -> bool:
        return bool(torch.rand(()) < share)

    mean = x.mean((1, 2, 3), keepdim=True)
    gain = uniform(0.65, 1.35)
    x = x * gain + (mean * (uniform(0.7, 1.3) - gain) + uniform(-12, 12, 3))
    # What costs much happens to whole batches, now and then.
    if now(0.1):
        x = torch.where(some(0.5), x.mean(1, keepdim=True), x)
    if now(0.2):
        size = x.shape[-2:]
        x = F.interpolate(F.avg_pool2d(x, 2), size=size, mode="bilinear")
    if now(0.35):
        x = x + torch.randn_like(x[:1]) * uniform(0, 9)
    if now(0.3):
        x = torch.where(some(0.5), _patch(x), x)
    return x.clamp(0, 255)


def _patch(x: Tensor) -> Tensor:
    """A copy with one flat rectangle over each picture."""
    n, _, h, w = x.shape
    top, left = torch.rand(n, 1, 1, 1) * h, torch.rand(n, 1, 1, 1) * w
    tall, wide = (0.08 + 0.2 * torch.rand(n, 1, 1, 1)) * h, (0.1 + 0.3 * torch.rand(n, 1, 1, 1)) * w
    rows, columns = torch.arange(h)[:, None], torch.arange(w)[None]
    inside = (rows > top) & (rows < top + tall) & (columns > left) & (columns < left + wide)
    return torch.where(inside, torch.rand(n, 3, 1, 1) * 255, x)

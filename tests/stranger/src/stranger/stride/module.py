"""The network in PyTorch."""

from __future__ import annotations

from torch import Tensor, nn

from gaitstream.models.graphs.heads import SeparateFCs, pool_rows

SILHOUETTE = (64, 44)
PARTS = 16
CONTEXT = 2
"""Frames on each side that one output frame sees: one for either convolution."""


class Stride(nn.Module):
    """Two convolutions over space and time, the maximum over time, a projection of every row."""

    def __init__(self, channels: int = 8, dim: int = 12) -> None:
        super().__init__()
        self.stride = nn.Sequential(
            nn.Conv3d(1, channels, 3, (1, 2, 2), 1),
            nn.ReLU(),
            nn.Conv3d(channels, channels, 3, (1, 2, 2), 1),
            nn.ReLU(),
        )
        self.embed = SeparateFCs(PARTS, channels, dim)

    def forward(self, silhouettes: Tensor) -> Tensor:
        """Embed windows of silhouettes `[n, 1, s, 64, 44]` in 0..1 as `[n, 16, dim]`."""
        out: Tensor = self.embed(pool_rows(self.stride(silhouettes).amax(2)))
        return out

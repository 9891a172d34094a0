"""The network in PyTorch."""

from __future__ import annotations

from torch import Tensor, nn

from gaitstream.models.graphs.heads import SeparateFCs, pool_rows, temporal_max

SILHOUETTE = (64, 44)
PARTS = 16


class Outline(nn.Module):
    """Two convolutions over a silhouette, the maximum over frames, a projection of every row."""

    def __init__(self, channels: int = 8, dim: int = 12) -> None:
        super().__init__()
        self.outline = nn.Sequential(
            nn.Conv2d(1, channels, 3, 2, 1),
            nn.LeakyReLU(),
            nn.Conv2d(channels, channels, 3, 2, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.LeakyReLU(),
        )
        self.embed = SeparateFCs(PARTS, channels, dim)

    def features(self, silhouettes: Tensor) -> Tensor:
        """Map silhouettes `[n, 1, 64, 44]` in 0..1 to `[n, channels, 16, 11]`."""
        out: Tensor = self.outline(silhouettes)
        return out

    def head(self, pooled: Tensor) -> Tensor:
        """Embed pooled features `[n, channels, 16, 11]` as `[n, 16, dim]`."""
        out: Tensor = self.embed(pool_rows(pooled))
        return out

    def forward(self, silhouettes: Tensor) -> Tensor:
        """Embed sequences `[n, s, 1, 64, 44]`."""
        features = self.features(silhouettes.flatten(0, 1))
        return self.head(temporal_max(features.reshape(*silhouettes.shape[:2], *features.shape[1:])))

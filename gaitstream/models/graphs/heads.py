"""Horizontal pooling, per-part projections and necks, shared by both recognizers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everyone knows


def pool_rows(features: Tensor) -> Tensor:
    """Mean plus maximum over the columns of every row.

    Args:
        features: `[n, c, parts, w]`, one row per body part.

    Returns:
        `[n, parts, c]`.
    """
    row = (1, features.shape[-1])
    # Poolings, not reductions, which take OpenVINO half as long again.
    return (F.avg_pool2d(features, row) + F.max_pool2d(features, row)).squeeze(-1).transpose(1, 2)


def temporal_max(features: Tensor, lengths: list[int] | None = None) -> Tensor:
    """Set pooling: element-wise maximum over the frames of every sequence.

    Args:
        features: `[n, s, c, h, w]`.
        lengths: when given, n is 1 and the frame axis holds sequences of these lengths back to back.

    Returns:
        `[sequences, c, h, w]`.
    """
    if lengths is None:
        return features.amax(1)
    return torch.cat([part.amax(1) for part in torch.split(features, lengths, dim=1)])


class SeparateFCs(nn.Module):
    """A projection of its own for every part."""

    def __init__(self, parts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fc_bin = nn.Parameter(torch.empty(parts, inputs, outputs))
        if outputs:
            nn.init.xavier_uniform_(self.fc_bin)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[n, parts, inputs]` to `[n, parts, outputs]`."""
        return torch.matmul(x.transpose(0, 1), self.fc_bin).transpose(0, 1)


class SeparateBNNecks(nn.Module):
    """Batch normalisation, per-part L2 normalisation, and the cosine classifier used in training."""

    def __init__(self, parts: int, dim: int, identities: int) -> None:
        super().__init__()
        self.fc_bin = nn.Parameter(torch.empty(parts, dim, identities))
        if identities:
            nn.init.xavier_uniform_(self.fc_bin)
        self.bn1d = nn.BatchNorm1d(parts * dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalise and classify.

        Args:
            x: `[n, parts, dim]`.

        Returns:
            The normalised features `[n, parts, dim]` and logits `[n, parts, identities]`.
        """
        n, parts, dim = x.shape
        # The released layer flattens channel-major: index = channel * parts + part.
        flat = self.bn1d(x.transpose(1, 2).reshape(n, dim * parts))
        feature = F.normalize(flat.reshape(n, dim, parts).transpose(1, 2), dim=-1)
        logits = torch.matmul(feature.transpose(0, 1), F.normalize(self.fc_bin, dim=1)).transpose(0, 1)
        return feature, logits

"""DINOv2 with the key names of the `transformers` library, every block's output kept."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everyone knows

from gaitstream.models.graphs.vit import EPS, HEAD_DIM, PATCH, interpolate_positions

PositionRule = Literal["exact", "offset"]
"""How the position grid is resized: to exactly the token grid, as `transformers` does today, or with 0.1
added to the number of tokens, as its releases up to 4.36 and DINOv2's own code do."""


class _Patches(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(3, dim, PATCH, PATCH)


class Embeddings(nn.Module):
    """Patch projection, class token and positions."""

    def __init__(self, dim: int, positions: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, dim))
        self.position_embeddings = nn.Parameter(torch.zeros(1, positions, dim))
        self.patch_embeddings = _Patches(dim)


class _SelfAttention(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))


class _Output(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, dim)


class Attention(nn.Module):
    """Attention with separate projections."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attention = _SelfAttention(dim)
        self.output = _Output(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Keep `[n, t, dim]`."""
        own = self.attention
        q, k, v = (
            layer(x).unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2)
            for layer in (own.query, own.key, own.value)
        )
        weights = torch.softmax((q * HEAD_DIM**-0.5) @ k.transpose(-2, -1), -1)
        out: Tensor = self.output.dense((weights @ v).transpose(1, 2).flatten(2))
        return out


class _Scale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.lambda1 = nn.Parameter(torch.ones(dim))


class _Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)


class TransformerLayer(nn.Module):
    """Pre-norm attention and MLP, each with layer scale."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, EPS)
        self.attention = Attention(dim)
        self.layer_scale1 = _Scale(dim)
        self.norm2 = nn.LayerNorm(dim, EPS)
        self.mlp = _Mlp(dim, hidden)
        self.layer_scale2 = _Scale(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Keep `[n, t, dim]`."""
        x = x + self.layer_scale1.lambda1 * self.attention(self.norm1(x))
        hidden = F.gelu(self.mlp.fc1(self.norm2(x)))
        out: Tensor = x + self.layer_scale2.lambda1 * self.mlp.fc2(hidden)
        return out


class _Encoder(nn.Module):
    def __init__(self, dim: int, depth: int, hidden: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(TransformerLayer(dim, hidden) for _ in range(depth))


class Dinov2(nn.Module):
    """ViT of patches of 14, without registers.

    Attributes:
        rule: how positions are resized; see `PositionRule`.
    """

    def __init__(
        self, dim: int = 384, depth: int = 12, hidden: int | None = None, positions: int = 1370
    ) -> None:
        super().__init__()
        self.rule: PositionRule = "exact"
        self.embeddings = Embeddings(dim, positions)
        self.encoder = _Encoder(dim, depth, hidden or 4 * dim)
        self.layernorm = nn.LayerNorm(dim, EPS)

    def positions(self, rows: int, columns: int) -> Tensor:
        """Positions of the class and patch tokens, `[1 + rows * columns, dim]`."""
        grid = self.embeddings.position_embeddings
        if self.rule == "offset":
            return interpolate_positions(grid, rows, columns)
        side = round((grid.shape[1] - 1) ** 0.5)
        square = grid[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        resized = F.interpolate(square, size=(rows, columns), mode="bicubic")
        return torch.cat([grid[0, :1], resized.flatten(2)[0].T])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Every block's output, no class token: normalised RGB `[n, 3, h, w]` to `[n, t, dim]` each."""
        grid = self.embeddings.patch_embeddings.projection(images)
        rows, columns = grid.shape[-2:]
        classes = self.embeddings.cls_token.expand(images.shape[0], -1, -1)
        x = torch.cat([classes, grid.flatten(2).transpose(1, 2)], 1) + self.positions(rows, columns)
        taken = []
        for layer in self.encoder.layer:
            x = layer(x)
            taken.append(x[:, 1:])
        return taken

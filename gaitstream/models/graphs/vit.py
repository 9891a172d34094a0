"""The DINOv2 vision transformer (Oquab et al., 2023), tapped at four depths as gait models read it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everyone knows

PATCH = 14
HEAD_DIM = 64
EPS = 1e-6


def tap_blocks(depth: int) -> tuple[int, ...]:
    """The four blocks whose outputs are concatenated: 2, 5, 8, 11 of 12 and 5, 11, 17, 23 of 24."""
    return tuple(int(i * depth / 4 + depth / 4 - 1) for i in range(4))


def interpolate_positions(pos_embed: Tensor, rows: int, columns: int) -> Tensor:
    """Resize the position embedding to a token grid.

    The released code asks for the scale factors (rows + 0.1) / side and (columns + 0.1) / side and
    samples with them; the 0.1 shifts every tap, so it is kept.

    Args:
        pos_embed: `[1, 1 + side * side, dim]`, the class position first.
        rows: height of the token grid.
        columns: width of the token grid.

    Returns:
        `[1 + rows * columns, dim]`; the class position is untouched.
    """
    dim = pos_embed.shape[-1]
    side = round((pos_embed.shape[1] - 1) ** 0.5)
    grid = pos_embed[:, 1:].reshape(1, side, side, dim).permute(0, 3, 1, 2)
    scale = ((rows + 0.1) / side, (columns + 0.1) / side)
    grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")
    return torch.cat([pos_embed[0, :1], grid.permute(0, 2, 3, 1).reshape(rows * columns, dim)])


class _PatchEmbed(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, PATCH, PATCH)


class _Attention(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = dim // HEAD_DIM
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, dim = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, HEAD_DIM).permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax((q * HEAD_DIM**-0.5) @ k.transpose(-2, -1), -1)
        out: Tensor = self.proj((weights @ v).transpose(1, 2).reshape(n, tokens, dim))
        return out


class _LayerScale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))


class _Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class TransformerBlock(nn.Module):
    """Pre-norm attention and MLP, each with layer scale."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, EPS)
        self.attn = _Attention(dim)
        self.ls1 = _LayerScale(dim)
        self.norm2 = nn.LayerNorm(dim, EPS)
        self.mlp = _Mlp(dim, hidden)
        self.ls2 = _LayerScale(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens `[n, t, dim]` to tokens of the same shape."""
        x = x + self.ls1.gamma * self.attn(self.norm1(x))
        out: Tensor = x + self.ls2.gamma * self.mlp(self.norm2(x))
        return out


class VisionTransformer(nn.Module):
    """DINOv2 without registers: ViT-S (384, 12 blocks), ViT-B or ViT-L (1024, 24 blocks), patches of 14."""

    def __init__(
        self, dim: int = 384, depth: int = 12, hidden: int | None = None, positions: int = 1370
    ) -> None:
        super().__init__()
        self.dim = dim
        self.taps = tap_blocks(depth)
        self.patch_embed = _PatchEmbed(dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, positions, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, dim))
        self.blocks = nn.ModuleList(TransformerBlock(dim, hidden or 4 * dim) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, EPS)

    def tokens(self, images: Tensor) -> Tensor:
        """Patch tokens with positions, the class token first.

        Args:
            images: normalised RGB `[n, 3, h, w]`, sides multiples of 14.

        Returns:
            `[n, 1 + h / 14 * w / 14, dim]`.
        """
        grid = self.patch_embed.proj(images)
        rows, columns = grid.shape[-2:]
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), grid.flatten(2).transpose(1, 2)], 1)
        return tokens + interpolate_positions(self.pos_embed, rows, columns)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images.

        Args:
            images: normalised RGB `[n, 3, h, w]`.

        Returns:
            Patch tokens after the final norm `[n, t, dim]`, and the four tapped blocks' un-normalised
            outputs concatenated and normalised without affine `[n, t, 4 * dim]`.
        """
        x = self.tokens(images)
        tapped = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taps:
                tapped.append(x)
        middle = torch.cat(tapped, -1)[:, 1:]
        last: Tensor = self.norm(x)
        return last[:, 1:], F.layer_norm(middle, middle.shape[-1:], eps=EPS)

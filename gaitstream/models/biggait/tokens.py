"""From crops to the backbone's normalised tokens, and from tokens to the grid of the masks.

Normalising, upscaling by 1.75 and cutting into patches of 14 is one convolution of 10 x 10 pixels with
stride 8 over the crop: 14 / 1.75 = 8, so every patch sees the same phases and one pixel around it.
"""

from __future__ import annotations

import numpy as np

from gaitstream.models.biggait.module import CROP, GRID, IMAGE, MEAN, STD
from gaitstream.models.graphs import fold
from gaitstream.models.graphs.fold import Doubles
from gaitstream.models.graphs.vit import (
    EPS,
    HEAD_DIM,
    PATCH,
    TransformerBlock,
    VisionTransformer,
    interpolate_positions,
)
from gaitstream.models.graphs.writer import GraphWriter

TOKENS = (IMAGE[0] // PATCH, IMAGE[1] // PATCH)
STRIDE = PATCH * CROP[0] // IMAGE[0]
"""Crop pixels a patch advances by."""


def bilinear(inputs: int, outputs: int) -> Doubles:
    """The matrix `[outputs, inputs]` that resizes a line (half-pixel centres, clamped)."""
    source = ((np.arange(outputs) + 0.5) * inputs / outputs - 0.5).clip(0, inputs - 1)
    low = np.floor(source).astype(int)
    matrix = np.zeros((outputs, inputs))
    matrix[np.arange(outputs), low] += 1 - (source - low)
    matrix[np.arange(outputs), (low + 1).clip(max=inputs - 1)] += source - low
    return matrix


def to_grid(g: GraphWriter, x: str, *, precise: bool = False) -> str:
    """Resize `[..., 32, 16]` to `[..., 64, 32]`."""
    rows = g.constant(bilinear(TOKENS[0], GRID[0]), precise=precise)
    columns = g.constant(bilinear(TOKENS[1], GRID[1]).T, precise=precise)
    return g.op("MatMul", rows, g.op("MatMul", x, columns))


def fused_patch_embed(backbone: VisionTransformer) -> tuple[Doubles, Doubles, Doubles]:
    """Weight `[dim, 3, 10, 10]`, bias, and the integers `[3]` subtracted from the crop before.

    The convolution takes the crop minus its mean colour rounded, which half precision holds exactly.
    """
    weight = fold.array(backbone.patch_embed.proj.weight)
    mean, std = 255 * np.asarray(MEAN), 255 * np.asarray(STD)
    centre = np.round(mean)
    source = (np.arange(PATCH) + 0.5) * STRIDE / PATCH - 0.5
    low = np.floor(source).astype(int)
    taps = np.zeros((PATCH, STRIDE + 2))
    taps[np.arange(PATCH), low + 1] = 1 - (source - low)
    taps[np.arange(PATCH), low + 2] = source - low
    assert backbone.patch_embed.proj.bias is not None  # noqa: S101 - narrows the type
    bias = fold.array(backbone.patch_embed.proj.bias) + weight.sum((2, 3)) @ ((centre - mean) / std)
    fused = np.einsum("dcij,iy,jx->dcyx", weight / std[:, None, None], taps, taps)
    return fused, bias, centre


def _patches(g: GraphWriter, backbone: VisionTransformer, pixels: str) -> str:
    weight, bias, centre = fused_patch_embed(backbone)
    x = g.op("Sub", pixels, g.constant(centre.reshape(1, 3, 1, 1)))
    x = g.op("Pad", x, g.constant(np.asarray([0, 0, 1, 1, 0, 0, 1, 1], np.int64)), mode="edge")
    x = g.conv(x, weight, bias, stride=STRIDE)
    x = g.transpose(g.reshape(x, 0, backbone.dim, -1), 0, 2, 1)
    # A row of zeros in front becomes the class token when positions are added.
    x = g.op("Pad", x, g.constant(np.asarray([0, 1, 0, 0, 0, 0], np.int64)))
    positions = fold.array(interpolate_positions(backbone.pos_embed, *TOKENS))
    positions[0] += fold.array(backbone.cls_token)[0, 0]
    return g.tap("tokens", g.op("Add", x, g.constant(positions)))


def tap_blocks(g: GraphWriter, backbone: VisionTransformer, pixels: str) -> list[str]:
    """Patch tokens `[n, 512, dim]` behind the four tapped blocks, of pixels 0..255 `[n, 3, 256, 128]`."""
    x = _patches(g, backbone, pixels)
    tapped = []
    for index, layer in enumerate(backbone.blocks):
        assert isinstance(layer, TransformerBlock)  # noqa: S101 - narrows the type
        x = _attention(g, x, layer)
        x = g.tap(f"block{index}", _mlp(g, x, layer))
        if index in backbone.taps:
            tapped.append(_drop_class(g, x))
    return tapped


def normalise(g: GraphWriter, backbone: VisionTransformer, tapped: list[str]) -> tuple[str, str]:
    """The last block's tokens and all tapped ones side by side, both without affine, in float32."""
    middle = g.op("Concat", *tapped, axis=-1)
    return normalise_last(g, backbone, tapped), g.layer_norm(middle, 4 * backbone.dim, EPS)


def normalise_last(g: GraphWriter, backbone: VisionTransformer, tapped: list[str]) -> str:
    """The last block's tokens alone, `[n, 512, dim]`."""
    return g.layer_norm(tapped[-1], backbone.dim, EPS)


def _drop_class(g: GraphWriter, x: str) -> str:
    one, end, axis = (g.constant(np.asarray([v], np.int64)) for v in (1, 1 + TOKENS[0] * TOKENS[1], 1))
    return g.op("Slice", x, one, end, axis)


def _attention(g: GraphWriter, x: str, layer: TransformerBlock) -> str:
    dim = layer.attn.proj.in_features
    heads = layer.attn.heads
    norm = g.narrow(g.layer_norm(x, dim, EPS))
    weight, bias = fold.before(
        fold.linear(layer.attn.qkv), fold.array(layer.norm1.weight), fold.array(layer.norm1.bias)
    )
    scale = np.concatenate([np.full(dim, HEAD_DIM**-0.5), np.ones(2 * dim)])
    weight, bias = fold.after((weight, bias), scale)
    q, k, v = g.ops(
        "Split", g.linear(norm, weight, bias), outputs=g.fresh("split", 3), axis=-1, num_outputs=3
    )
    q, k, v = (g.reshape(value, 0, 0, heads, HEAD_DIM) for value in (q, k, v))
    scores = g.op("MatMul", g.transpose(q, 0, 2, 1, 3), g.transpose(k, 0, 2, 3, 1))
    mixed = g.op("MatMul", g.softmax(scores), g.transpose(v, 0, 2, 1, 3))
    mixed = g.reshape(g.transpose(mixed, 0, 2, 1, 3), 0, 0, dim)
    out = g.linear(mixed, *fold.after(fold.linear(layer.attn.proj), fold.array(layer.ls1.gamma)))
    return g.op("Add", x, out)


def _mlp(g: GraphWriter, x: str, layer: TransformerBlock) -> str:
    norm = g.narrow(g.layer_norm(x, layer.mlp.fc1.in_features, EPS))
    first = fold.before(
        fold.linear(layer.mlp.fc1), fold.array(layer.norm2.weight), fold.array(layer.norm2.bias)
    )
    hidden = g.op("Gelu", g.linear(norm, *first))
    return g.op(
        "Add", x, g.linear(hidden, *fold.after(fold.linear(layer.mlp.fc2), fold.array(layer.ls2.gamma)))
    )

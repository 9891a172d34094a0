"""BigGait's `frame` and `head` graphs: the module's arithmetic with everything constant folded.

What differs from the module, each an identity up to rounding:

- Normalising, upscaling by 1.75 and cutting into patches of 14 is one convolution of 10 x 10 pixels with
  stride 8 over the crop: 14 / 1.75 = 8, so every patch sees the same phases and one pixel around it.
- Two-class softmax is the sigmoid of the difference of the logits.
- Affine norms, batch norms, layer scale and the attention's 1/8 are inside the neighbouring weights.
- The support is `eroded or (dilated and valid column)`: inside a valid column a probability is never 0.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto
from torch import nn

from gaitstream.models.biggait.module import CROP, EDGE_ROWS, GRID, IMAGE, MEAN, STD, AttentionFusion, BigGait
from gaitstream.models.graphs import fold
from gaitstream.models.graphs.fold import Doubles
from gaitstream.models.graphs.layers import block, project_rows, stem
from gaitstream.models.graphs.resnet import BasicBlock, SetBlock, Stem
from gaitstream.models.graphs.vit import (
    EPS,
    HEAD_DIM,
    PATCH,
    TransformerBlock,
    VisionTransformer,
    interpolate_positions,
)
from gaitstream.models.graphs.writer import PRODUCER, GraphWriter

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


def write_frame(model: BigGait, *, half: bool = False) -> onnx.ModelProto:
    """Write the frame graph.

    Inputs `crops` uint8 `[n, 3, 256, 128]` RGB and `ratios` float32 `[n]`; output `features`
    float32 `[n, c, 16, 8]`.

    Returns:
        The graph; its taps are named in its properties.
    """
    g = GraphWriter("biggait_frame", half=half)
    crops = g.input("crops", ["n", 3, *CROP], TensorProto.UINT8)
    ratios = g.input("ratios", ["n"])
    last, middle = _vit(g, model.backbone, _patches(g, model.backbone, crops))
    valid = g.tap("valid", _valid(g, ratios))
    support = _support(g, g.tap("mask_logit", _mask_logit(g, model, last)), valid)
    net = model.gait_net
    denoising = g.tap("denoising", g.op("Mul", _denoising(g, model, middle), support))
    appearance = g.tap("appearance", g.op("Mul", _appearance(g, model, middle), support))
    x = _fuse(g, net.fusion, _stem(g, denoising, net.pre_part), _stem(g, appearance, net.pre_rgb))
    x = g.tap("fused", x)
    for layer in _children(net.post_backbone):
        x = block(g, x, layer)
    g.output("features", x, ["n", *feature_shape(model)])
    return g.model(PRODUCER)


def write_head(model: BigGait, *, half: bool = False) -> onnx.ModelProto:
    """Write the head graph: `pooled` float32 `[n, c, 16, 8]` to `embedding` float32 `[n, parts, dim]`."""
    g = GraphWriter("biggait_head", half=half)
    pooled = g.input("pooled", ["n", *feature_shape(model)])
    parts, _, dim = model.gait_net.FCs.fc_bin.shape
    x = project_rows(g, pooled, fold.array(model.gait_net.FCs.fc_bin))
    g.output("embedding", g.transpose(x, 1, 0, 2), ["n", parts, dim])
    return g.model(PRODUCER)


def _stem(g: GraphWriter, x: str, wrapped: SetBlock) -> str:
    assert isinstance(wrapped.forward_block, Stem)  # noqa: S101 - narrows the type
    return stem(g, x, wrapped.forward_block)


def _children(wrapped: SetBlock) -> list[BasicBlock]:
    return [module for module in wrapped.modules() if isinstance(module, BasicBlock)]


def feature_shape(model: BigGait) -> tuple[int, int, int]:
    """Channels, height and width of a frame's features."""
    return model.gait_net.FCs.fc_bin.shape[1], GRID[0] // 4, GRID[1] // 4


def _patches(g: GraphWriter, backbone: VisionTransformer, crops: str) -> str:
    weight, bias, centre = fused_patch_embed(backbone)
    x = g.op("Cast", crops, to=TensorProto.FLOAT16 if g.half else TensorProto.FLOAT)
    x = g.op("Sub", x, g.constant(centre.reshape(1, 3, 1, 1)))
    x = g.op("Pad", x, g.constant(np.asarray([0, 0, 1, 1, 0, 0, 1, 1], np.int64)), mode="edge")
    x = g.conv(x, weight, bias, stride=STRIDE)
    x = g.transpose(g.reshape(x, 0, backbone.dim, -1), 0, 2, 1)
    # A row of zeros in front becomes the class token when positions are added.
    x = g.op("Pad", x, g.constant(np.asarray([0, 1, 0, 0, 0, 0], np.int64)))
    positions = fold.array(interpolate_positions(backbone.pos_embed, *TOKENS))
    positions[0] += fold.array(backbone.cls_token)[0, 0]
    return g.tap("tokens", g.op("Add", x, g.constant(positions)))


def _vit(g: GraphWriter, backbone: VisionTransformer, x: str) -> tuple[str, str]:
    """Normalised patch tokens of the last block and of the four taps, without affine, in float32."""
    tapped = []
    for index, layer in enumerate(backbone.blocks):
        assert isinstance(layer, TransformerBlock)  # noqa: S101 - narrows the type
        x = _attention(g, x, layer)
        x = g.tap(f"block{index}", _mlp(g, x, layer))
        if index in backbone.taps:
            tapped.append(_drop_class(g, x))
    middle = g.op("Concat", *tapped, axis=-1)
    return g.layer_norm(tapped[-1], backbone.dim, EPS), g.layer_norm(middle, 4 * backbone.dim, EPS)


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


def _valid(g: GraphWriter, ratios: str) -> str:
    """Columns that hold the person, float32 `[n, 1, 32]`; see `biggait.valid_columns`."""

    def number(value: float) -> str:
        return g.constant(np.float32(value), precise=True)

    column = g.constant(np.arange(GRID[1], dtype=np.float32), precise=True)
    need = g.reshape(g.op("Floor", g.op("Mul", ratios, number(GRID[0]))), -1, 1, 1)
    left = g.op("Floor", g.op("Mul", g.op("Sub", number(GRID[1]), need), number(0.5)))
    after = g.op("Clip", g.op("Add", g.op("Sub", column, left), number(1)), number(0), number(1))
    before = g.op("Clip", g.op("Sub", g.op("Add", left, need), column), number(0), number(1))
    return g.op("Mul", after, before)


def _mask_logit(g: GraphWriter, model: BigGait, last: str) -> str:
    """Logit of class 0 against class 1 on the full grid, float32 `[n, 64, 32]`."""
    branch = model.Mask_Branch
    assert isinstance(branch.down_sampling, nn.Linear)  # noqa: S101 - narrows the type
    pair = fold.before(fold.linear(branch.down_sampling), *fold.bn_affine(branch.bn_s))
    norm = model.backbone.norm
    weight, bias = fold.before(pair, fold.array(norm.weight), fold.array(norm.bias))
    logit = g.linear(last, weight[:, :1] - weight[:, 1:], bias[:1] - bias[1:], precise=True)
    return _upsample_map(g, g.reshape(logit, 0, *TOKENS), precise=True)


def _upsample_map(g: GraphWriter, x: str, *, precise: bool = False) -> str:
    """Resize `[..., 32, 16]` to `[..., 64, 32]`."""
    rows = g.constant(bilinear(TOKENS[0], GRID[0]), precise=precise)
    columns = g.constant(bilinear(TOKENS[1], GRID[1]).T, precise=precise)
    return g.op("MatMul", rows, g.op("MatMul", x, columns))


def _support(g: GraphWriter, logit: str, valid: str) -> str:
    """Pixels of the closed foreground, 0 or 1, `[n, 1, 64, 32]` in the graph's precision."""
    zero = g.constant(np.float32(0), precise=True)

    def positive(comparison: str) -> str:
        return g.op("Mul", g.op("Cast", g.op(comparison, logit, zero), to=TensorProto.FLOAT), valid)

    first, second = positive("Greater"), positive("Less")
    rows = np.zeros((1, GRID[0], 1), np.float32)
    rows[:, :EDGE_ROWS] = rows[:, -EDGE_ROWS:] = 1
    axes = g.constant(np.asarray([1, 2], np.int64))
    edge = g.op("ReduceSum", g.op("Mul", first, g.constant(rows, precise=True)), axes, keepdims=1)
    limit = g.constant(np.float32(EDGE_ROWS * GRID[1]), precise=True)
    flip = g.op("Cast", g.op("Greater", edge, limit), to=TensorProto.FLOAT)
    mask = g.op("Add", first, g.op("Mul", flip, g.op("Sub", second, first)))
    mask = g.reshape(mask, 0, 1, *GRID)
    dilated = _max_pool(g, mask, 3)
    one = g.constant(np.float32(1), precise=True)
    eroded = g.op("Sub", one, _max_pool(g, g.op("Sub", one, dilated), 5))
    ring = g.op("Mul", dilated, g.reshape(valid, 0, 1, 1, GRID[1]))
    return g.tap("support", g.narrow(g.op("Max", eroded, ring)))


def _max_pool(g: GraphWriter, x: str, size: int) -> str:
    return g.op("MaxPool", x, kernel_shape=[size] * 2, strides=[1, 1], pads=[size // 2] * 4)


def _denoising(g: GraphWriter, model: BigGait, middle: str) -> str:
    """Soft part labels `[n, 16, 64, 32]`."""
    branch = model.Denoising_Branch
    assert isinstance(branch.down_sampling, nn.Sequential)  # noqa: S101 - narrows the type
    first, norm, _, last = branch.down_sampling
    assert isinstance(first, nn.Linear)  # noqa: S101
    assert isinstance(norm, nn.BatchNorm1d)  # noqa: S101
    assert isinstance(last, nn.Linear)  # noqa: S101
    pair = fold.after(fold.before(fold.linear(first), *fold.bn_affine(branch.bn_s)), *fold.bn_affine(norm))
    hidden = g.reshape(g.linear(g.narrow(middle), *pair), 0, *TOKENS, -1)
    columns = g.op("MatMul", g.constant(bilinear(TOKENS[1], GRID[1])), hidden)
    flat = g.reshape(columns, 0, TOKENS[0], -1)
    rows = g.op("MatMul", g.constant(bilinear(TOKENS[0], GRID[0])), flat)
    hidden = g.op("Gelu", g.reshape(rows, 0, GRID[0] * GRID[1], -1))
    labels = g.softmax(g.linear(hidden, *fold.linear(last)))
    return g.reshape(g.transpose(labels, 0, 2, 1), 0, -1, *GRID)


def _appearance(g: GraphWriter, model: BigGait, middle: str) -> str:
    """Appearance channels `[n, 16, 64, 32]`."""
    branch = model.Appearance_Branch
    assert isinstance(branch.down_sampling, nn.Linear)  # noqa: S101 - narrows the type
    pair = fold.before(fold.linear(branch.down_sampling), *fold.bn_affine(branch.bn_s))
    tokens = g.linear(g.narrow(middle), *fold.after(pair, *fold.bn_affine(branch.bn_t)))
    grid = g.reshape(g.transpose(tokens, 0, 2, 1), 0, -1, *TOKENS)
    return g.op("Sigmoid", _upsample_map(g, grid))


def _fuse(g: GraphWriter, fusion: AttentionFusion, denoising: str, appearance: str) -> str:
    """`appearance + weight * (denoising - appearance)`, the two-way softmax as a sigmoid."""
    layers = fusion.conv.forward_block
    assert isinstance(layers, nn.Sequential)  # noqa: S101 - narrows the type
    squeeze, norm1, _, mix, norm2, _, expand = layers
    x = g.op("Concat", denoising, appearance, axis=1)
    x = g.op("Relu", g.conv(x, *fold.conv_bn(squeeze, norm1)))  # type: ignore[arg-type]
    x = g.op("Relu", g.conv(x, *fold.conv_bn(mix, norm2), pad=1))  # type: ignore[arg-type]
    assert isinstance(expand, nn.Conv2d)  # noqa: S101
    weight = fold.array(expand.weight)
    weight = weight[0::2] - weight[1::2]  # output channel = c * 2 + d
    share = g.op("Sigmoid", g.conv(x, weight))
    return g.op("Add", appearance, g.op("Mul", share, g.op("Sub", denoising, appearance)))

"""BigGait's `frame` and `head` graphs: the module's arithmetic with everything constant folded.

What differs from the module, here and in `tokens` and `masks`, is an identity up to rounding. Affine norms,
batch norms, layer scale and the attention's 1/8 are inside the neighbouring weights.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto
from torch import nn

from gaitstream.models.biggait.masks import find_valid, mask_logit, support
from gaitstream.models.biggait.module import CROP, GRID, AttentionFusion, BigGait
from gaitstream.models.biggait.tokens import TOKENS, bilinear, normalise, tap_blocks, to_grid
from gaitstream.models.graphs import fold
from gaitstream.models.graphs.layers import block, project_rows, stem
from gaitstream.models.graphs.resnet import BasicBlock, SetBlock, Stem
from gaitstream.models.graphs.writer import PRODUCER, GraphWriter


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
    pixels = g.op("Cast", crops, to=TensorProto.FLOAT16 if half else TensorProto.FLOAT)
    last, middle = normalise(g, model.backbone, tap_blocks(g, model.backbone, pixels))
    valid = g.tap("valid", find_valid(g, ratios))
    shown = g.tap("support", support(g, g.tap("mask_logit", mask_logit(g, model, last)), valid))
    net = model.gait_net
    denoising = g.tap("denoising", g.op("Mul", _denoising(g, model, middle), shown))
    appearance = g.tap("appearance", g.op("Mul", _appearance(g, model, middle), shown))
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
    return g.op("Sigmoid", to_grid(g, grid))


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

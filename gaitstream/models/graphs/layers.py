"""Layers both recognizers' graphs are written with, batch norms folded."""

from __future__ import annotations

import numpy as np

from gaitstream.models.graphs import fold
from gaitstream.models.graphs.fold import Doubles
from gaitstream.models.graphs.resnet import BasicBlock, Stem
from gaitstream.models.graphs.writer import GraphWriter


def project_rows(g: GraphWriter, pooled: str, weight: Doubles) -> str:
    """Pool the columns and project every row on its own: `[n, c, parts, w]` to `[parts, n, dim]`."""
    axis = g.constant(np.asarray([3], np.int64))
    mean = g.op("ReduceMean", pooled, axis, keepdims=0)
    rows = g.op("Add", mean, g.op("ReduceMax", pooled, axis, keepdims=0))
    return g.op("MatMul", g.narrow(g.transpose(rows, 2, 0, 1)), g.constant(weight))


def block(g: GraphWriter, x: str, layer: BasicBlock) -> str:
    """A residual block with its batch norms folded."""
    stride = layer.conv1.stride[0]
    shortcut = x
    if layer.downsample is not None:
        conv, norm = layer.downsample
        shortcut = g.conv(x, *fold.conv_bn(conv, norm), stride=stride)  # type: ignore[arg-type]
    x = g.op("Relu", g.conv(x, *fold.conv_bn(layer.conv1, layer.bn1), stride=stride, pad=1))
    x = g.conv(x, *fold.conv_bn(layer.conv2, layer.bn2), pad=1)
    return g.op("Relu", g.op("Add", x, shortcut))


def stem(g: GraphWriter, x: str, layer: Stem) -> str:
    """A stem with its batch norms folded."""
    first, residual = fold.stem_convs(layer)
    return block(g, g.op("Relu", g.conv(x, *first, pad=1)), residual)

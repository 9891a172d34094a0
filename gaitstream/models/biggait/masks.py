"""BigGait's masks: which pixels of the 64 x 32 grid show the person; also as a graph of their own.

Two-class softmax is the sigmoid of the difference of the logits. The support is `eroded or (dilated and valid
column)`: inside a valid column a probability is never 0.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto
from torch import nn

from gaitstream.models.biggait.module import CROP, EDGE_ROWS, GRID, BigGait
from gaitstream.models.biggait.padding import find_ratios
from gaitstream.models.biggait.tokens import TOKENS, normalise_last, tap_blocks, to_grid
from gaitstream.models.graphs import fold
from gaitstream.models.graphs.writer import PRODUCER, GraphWriter


def write(model: BigGait) -> onnx.ModelProto:
    """Write the mask branch as a segmentation model, in float32.

    Input `crops` float32 `[n, 3, 256, 128]` RGB 0..255, centred in black as `crops.crop_padded` does; output
    `foreground` float32 `[n, 1, 64, 32]` in 0..1: the probability of the person, closed, as the module's
    `Maps.foreground`.
    """
    g = GraphWriter("biggait_masks")
    crops = g.input("crops", ["n", 3, *CROP])
    valid = find_valid(g, find_ratios(g, crops))
    logit = mask_logit(g, model, normalise_last(g, model.backbone, tap_blocks(g, model.backbone, crops)))
    flip, mask = _choose(g, logit, valid)
    dilated, eroded = _close(g, mask)
    probability = g.op("Mul", _either(g, flip, *_probabilities(g, logit)), _columns(g, valid))
    ring = g.op("Mul", g.op("Sub", dilated, eroded), probability)
    g.output("foreground", g.op("Add", eroded, ring), ["n", 1, *GRID])
    return g.model(PRODUCER)


def find_valid(g: GraphWriter, ratios: str) -> str:
    """Columns that hold the person, float32 `[n, 1, 32]`; see `biggait.valid_columns`."""

    def number(value: float) -> str:
        return g.constant(np.float32(value), precise=True)

    column = g.constant(np.arange(GRID[1], dtype=np.float32), precise=True)
    need = g.reshape(g.op("Floor", g.op("Mul", ratios, number(GRID[0]))), -1, 1, 1)
    left = g.op("Floor", g.op("Mul", g.op("Sub", number(GRID[1]), need), number(0.5)))
    after = g.op("Clip", g.op("Add", g.op("Sub", column, left), number(1)), number(0), number(1))
    before = g.op("Clip", g.op("Sub", g.op("Add", left, need), column), number(0), number(1))
    return g.op("Mul", after, before)


def mask_logit(g: GraphWriter, model: BigGait, last: str) -> str:
    """Logit of class 0 against class 1 on the full grid, float32 `[n, 64, 32]`."""
    branch = model.Mask_Branch
    assert isinstance(branch.down_sampling, nn.Linear)  # noqa: S101 - narrows the type
    pair = fold.before(fold.linear(branch.down_sampling), *fold.bn_affine(branch.bn_s))
    norm = model.backbone.norm
    weight, bias = fold.before(pair, fold.array(norm.weight), fold.array(norm.bias))
    logit = g.linear(last, weight[:, :1] - weight[:, 1:], bias[:1] - bias[1:], precise=True)
    return to_grid(g, g.reshape(logit, 0, *TOKENS), precise=True)


def support(g: GraphWriter, logit: str, valid: str) -> str:
    """Pixels of the closed foreground, 0 or 1, `[n, 1, 64, 32]` in the graph's precision."""
    _, mask = _choose(g, logit, valid)
    dilated, eroded = _close(g, mask)
    return g.narrow(g.op("Max", eroded, g.op("Mul", dilated, _columns(g, valid))))


def _choose(g: GraphWriter, logit: str, valid: str) -> tuple[str, str]:
    """Whether class 1 is the person `[n, 1, 1]`, and the person's pixels `[n, 1, 64, 32]`, 0 or 1."""
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
    return flip, _either(g, flip, first, second)


def _either(g: GraphWriter, flip: str, first: str, second: str) -> str:
    """The maps of class 0, or where flipped of class 1: `[n, 64, 32]` to `[n, 1, 64, 32]`."""
    chosen = g.op("Add", first, g.op("Mul", flip, g.op("Sub", second, first)))
    return g.reshape(chosen, 0, 1, *GRID)


def _probabilities(g: GraphWriter, logit: str) -> tuple[str, str]:
    """Of both classes."""
    return g.op("Sigmoid", logit), g.op("Sigmoid", g.op("Neg", logit))


def _close(g: GraphWriter, mask: str) -> tuple[str, str]:
    """The 3 x 3 dilation and its 5 x 5 erosion."""
    dilated = _max_pool(g, mask, 3)
    one = g.constant(np.float32(1), precise=True)
    return dilated, g.op("Sub", one, _max_pool(g, g.op("Sub", one, dilated), 5))


def _columns(g: GraphWriter, valid: str) -> str:
    return g.reshape(valid, 0, 1, 1, GRID[1])


def _max_pool(g: GraphWriter, x: str, size: int) -> str:
    return g.op("MaxPool", x, kernel_shape=[size] * 2, strides=[1, 1], pads=[size // 2] * 4)

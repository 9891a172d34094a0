"""How wide a person is, read from the black columns that a crop is padded with.

The ordinary graph is told the width as a ratio; nvinfer and the pipeline's segmentation stage give a batch of
crops and nothing else.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from gaitstream.models.biggait.module import CROP
from gaitstream.models.graphs.writer import GraphWriter

DARK = 0.5
"""A column that has no value over this is padding: both pad with 0."""


def find_ratios(g: GraphWriter, crops: str) -> str:
    """Width over height of the persons in padded crops `[n]`, as `int(256 * ratio)` columns show it.

    Crops are centred with the odd column on the right. Where one margin is larger than that allows, dark
    columns of the person touch it and the other margin is believed.
    """
    width = CROP[1]

    def number(value: float) -> str:
        return g.constant(np.float32(value))

    rows = g.constant(np.asarray([1, 2], np.int64))
    last = g.constant(np.asarray([1], np.int64))
    bright = g.op("Greater", g.op("ReduceMax", crops, rows, keepdims=0), number(DARK))
    lit = g.op("Cast", bright, to=TensorProto.FLOAT)
    dark = g.op("Sub", number(1), lit)
    column = g.constant(np.arange(width, dtype=np.float32))
    outside = g.op("Mul", dark, number(width))
    left = g.op("ReduceMin", g.op("Add", g.op("Mul", column, lit), outside), last, keepdims=0)
    mirrored = g.constant(np.arange(width, dtype=np.float32)[::-1].copy())
    right = g.op("ReduceMin", g.op("Add", g.op("Mul", mirrored, lit), outside), last, keepdims=0)
    odd = g.op("Cast", g.op("Equal", g.op("Sub", right, left), number(1)), to=TensorProto.FLOAT)
    margins = g.op("Add", g.op("Mul", g.op("Min", left, right), number(2)), odd)
    columns = g.op("Max", g.op("Sub", number(width), margins), number(0))
    # Half a column more, so that no rounding takes the product below the whole number.
    return g.op("Div", g.op("Add", columns, number(0.5)), number(CROP[0]))

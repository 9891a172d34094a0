"""BigGait for nvinfer: raw 0..255 pixels in, half-precision features out, no second input.

nvinfer gives a batch of crops and nothing else: the width of a person, which the ordinary graph takes as a
ratio, is read from the black columns that nvinfer pads with.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, compose, helper

from gaitstream.models.biggait.module import CROP
from gaitstream.models.graphs.splice import copy, half_output, input_of, redirect, sealed
from gaitstream.models.graphs.writer import PRODUCER, GraphWriter

INPUT = "crops"
FEATURE = "biggait_feature"
DARK = 0.5
"""A column that has no value over this is padding: nvinfer pads with 0."""


def write(frame: onnx.ModelProto) -> onnx.ModelProto:
    """BigGait for nvinfer, from its frame graph of either precision.

    Returns:
        The graph: input `crops` float32 `[n, 3, 256, 128]` RGB 0..255, centred in black; output
        `biggait_feature` float16 `[n, c, 16, 8]`.
    """
    g = GraphWriter("biggait_width")
    crops = g.input(INPUT, ["n", 3, *CROP])
    g.output("ratios", _ratios(g, crops), ["n"])
    widths = compose.add_prefix(g.model(PRODUCER), "width/", rename_inputs=False, rename_outputs=False)
    body = copy(frame)
    input_of(body, INPUT).type.tensor_type.elem_type = TensorProto.FLOAT
    _drop_idle_casts(body)
    body.graph.input.remove(input_of(body, "ratios"))
    body.graph.node.extend(widths.graph.node)
    body.graph.initializer.extend(widths.graph.initializer)
    _sort_front(body, len(widths.graph.node))
    return sealed(half_output(body, "features", FEATURE))


def _ratios(g: GraphWriter, crops: str) -> str:
    """Width over height of the persons in padded crops `[n]`, as `int(256 * ratio)` columns show it.

    nvinfer centres with the odd column on the right. Where one margin is larger than that allows, dark
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


def _sort_front(model: onnx.ModelProto, count: int) -> None:
    """Move the last `count` nodes to the front: a graph lists nodes in order of computation."""
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes[-count:], *nodes[:-count]])


def _drop_idle_casts(model: onnx.ModelProto) -> None:
    """Take out casts of the crops to float32, which they are now; to half precision they stay."""
    for node in [n for n in model.graph.node if n.op_type == "Cast" and list(n.input) == [INPUT]]:
        if helper.get_node_attr_value(node, "to") == TensorProto.FLOAT:
            model.graph.node.remove(node)
            redirect(model, node.output[0], INPUT)

"""BigGait for nvinfer: raw 0..255 pixels in, half-precision features out, no second input.

nvinfer gives a batch of crops and nothing else, so that the width of a person is read from its padding.
"""

from __future__ import annotations

import onnx
from onnx import compose

from gaitstream.models.biggait.module import CROP
from gaitstream.models.biggait.padding import find_ratios
from gaitstream.models.graphs.splice import copy, half_output, input_of, sealed, take_floats
from gaitstream.models.graphs.writer import PRODUCER, GraphWriter

INPUT = "crops"
FEATURE = "biggait_feature"


def write(frame: onnx.ModelProto) -> onnx.ModelProto:
    """BigGait for nvinfer, from its frame graph of either precision.

    Returns:
        The graph: input `crops` float32 `[n, 3, 256, 128]` RGB 0..255, centred in black; output
        `biggait_feature` float16 `[n, c, 16, 8]`.
    """
    g = GraphWriter("biggait_width")
    crops = g.input(INPUT, ["n", 3, *CROP])
    g.output("ratios", find_ratios(g, crops), ["n"])
    widths = compose.add_prefix(g.model(PRODUCER), "width/", rename_inputs=False, rename_outputs=False)
    body = copy(frame)
    take_floats(body, INPUT)
    body.graph.input.remove(input_of(body, "ratios"))
    body.graph.node.extend(widths.graph.node)
    body.graph.initializer.extend(widths.graph.initializer)
    _sort_front(body, len(widths.graph.node))
    return sealed(half_output(body, "features", FEATURE))


def _sort_front(model: onnx.ModelProto, count: int) -> None:
    """Move the last `count` nodes to the front: a graph lists nodes in order of computation."""
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes[-count:], *nodes[:-count]])

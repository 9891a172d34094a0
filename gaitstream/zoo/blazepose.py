"""BlazePose, MediaPipe's model of 33 landmarks, as networks the pipeline takes: COCO's joints, or a mask.

Bazarevsky V and others, *BlazePose: On-device Real-time Body Pose tracking* (2020). Its landmarks are
regressed from heatmaps, which are in the file as well; the pipeline takes those.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from gaitstream.zoo.tflite import OPSET, read_tflite

HEATMAPS, MASK = "Identity_3", "Identity_2"
"""Outputs: 39 heatmaps, and whether a pixel shows the person; logits."""
COCO = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
"""The landmarks that are COCO's joints, in COCO's order."""
SIDE, CROP_WIDTH = 256, 192
"""Pixels of its square picture, and of a crop's width; the crop is put in the middle."""
STRIDE = 4
SIGMA = 2.0
"""Of a joint in the heatmaps that SimpleBaseline, HRNet and ViTPose are trained with, in their pixels."""
SIGMAS = {"blazepose_lite": 1.86, "blazepose_full": 1.73, "blazepose_heavy": 1.66}
"""Of a joint in BlazePose's own: median of where its height is halved, on 199 rendered people."""
RADIUS = 4
"""Pixels to either side that widening looks at."""


def convert(source: Path, name: str, task: Literal["pose", "segmenter"], target: Path) -> None:
    """Write an ONNX graph of what the pipeline takes.

    Args:
        source: BlazePose's landmark model, TensorFlow Lite.
        name: a pose model's, of `SIGMAS`.
        task: `pose` makes joints' heatmaps `[n, 17, 64, 48]` of crops `[n, 3, 256, 192]`, as wide as those of
            other pose models and up to 1; `segmenter` a mask `[n, 1, 256, 256]` of `[n, 3, 256, 256]`,
            logits. Pixels are RGB from 0 to 1.
        target: file to write.

    Raises:
        ZooError: the file is another network, or cannot be read.
    """
    if task == "segmenter":
        model = read_tflite(source, MASK)
    else:
        network = compose.add_prefix(read_tflite(source, HEATMAPS), "blazepose/")
        head = _joints(SIGMAS[name])
        model = compose.merge_models(
            compose.merge_models(_squared(), network, [("square", "blazepose/pixels")]),
            head,
            [("blazepose/maps", "logits")],
        )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)


def _squared() -> onnx.ModelProto:
    """A crop in the middle of a black square."""
    side = (SIDE - CROP_WIDTH) // 2
    pads = numpy_helper.from_array(np.array([0, 0, 0, side, 0, 0, 0, side], np.int64), "sides")
    node = helper.make_node("Pad", ["crops", "sides"], ["square"])
    return _model([node], ("crops", 3, SIDE, CROP_WIDTH), ("square", 3, SIDE, SIDE), [pads])


def _joints(sigma: float) -> onnx.ModelProto:
    """Heatmaps of COCO's joints in the crop, widened to `SIGMA`; a joint that is sure keeps a peak of 1."""
    added = np.sqrt(SIGMA**2 - sigma**2)
    taps = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / added) ** 2)
    taps *= SIGMA / sigma / taps.sum()
    kernel = np.broadcast_to(taps.astype(np.float32), (len(COCO), 1, 1, len(taps)))
    left = (SIDE - CROP_WIDTH) // 2 // STRIDE
    numbers = {
        "coco": np.array(COCO, np.int64),
        "begin": np.array([left], np.int64),
        "end": np.array([left + CROP_WIDTH // STRIDE], np.int64),
        "axis": np.array([3], np.int64),
        "rows": np.ascontiguousarray(kernel),
        "columns": np.ascontiguousarray(kernel.transpose(0, 1, 3, 2)),
        "most": np.array(1.0, np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["logits", "coco"], ["joints"], axis=1),
        helper.make_node("Slice", ["joints", "begin", "end", "axis"], ["inside"]),
        helper.make_node("Sigmoid", ["inside"], ["narrow"]),
        helper.make_node("Conv", ["narrow", "rows"], ["wider"], group=len(COCO), pads=[0, RADIUS, 0, RADIUS]),
        helper.make_node(
            "Conv", ["wider", "columns"], ["wide"], group=len(COCO), pads=[RADIUS, 0, RADIUS, 0]
        ),
        helper.make_node("Clip", ["wide", "", "most"], ["heatmaps"]),
    ]
    heat = SIDE // STRIDE
    weights = [numpy_helper.from_array(values, name) for name, values in numbers.items()]
    return _model(
        nodes, ("logits", 39, heat, heat), ("heatmaps", len(COCO), heat, CROP_WIDTH // STRIDE), weights
    )


def _model(
    nodes: Sequence[onnx.NodeProto],
    given: tuple[str, int, int, int],
    made: tuple[str, int, int, int],
    weights: Sequence[onnx.TensorProto],
) -> onnx.ModelProto:
    """A graph of one input and one output, each a name and the shape of a row."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", *shape))
        for name, *shape in (given, made)
    ]
    graph = helper.make_graph(list(nodes), "blazepose", ends[:1], ends[1:], list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)

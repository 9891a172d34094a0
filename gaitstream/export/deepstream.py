"""Frame graphs for nvinfer: raw 0..255 pixels in, half-precision features out, no second input.

They are the ordinary graphs with something in front and a cast behind, so what was proved of those holds
here. nvinfer gives a batch of crops and nothing else: the width of a person, which the ordinary BigGait
graph takes as a ratio, is read from the black columns that nvinfer pads with.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, version_converter

from gaitstream.errors import ExportError
from gaitstream.export.biggait import CROP
from gaitstream.export.gaitheat import HEATMAP
from gaitstream.export.graph import IR_VERSION, OPSET, PRODUCER, GraphWriter
from gaitstream.export.halve import halve
from gaitstream.models.pose import CROP_HEIGHT, CROP_WIDTH, JOINTS, PoseContract, read_contract

INPUT = "crops"
BIGGAIT_FEATURE = "biggait_feature"
GAITHEAT_FEATURE = "gaitheat_feature"
GAITHEAT_KEYPOINTS = "gaitheat_keypoints"
DARK = 0.5
"""A column that has no value over this is padding: nvinfer pads with 0."""


def biggait_graph(frame: onnx.ModelProto) -> onnx.ModelProto:
    """BigGait for nvinfer, from its frame graph of either precision.

    Returns:
        The graph: input `crops` float32 `[n, 3, 256, 128]` RGB 0..255, centred in black; output
        `biggait_feature` float16 `[n, c, 16, 8]`.
    """
    g = GraphWriter("biggait_width")
    crops = g.input(INPUT, ["n", 3, *CROP])
    g.output("ratios", _ratios(g, crops), ["n"])
    widths = compose.add_prefix(g.model(PRODUCER), "width/", rename_inputs=False, rename_outputs=False)
    body = _copy(frame)
    _input(body, INPUT).type.tensor_type.elem_type = TensorProto.FLOAT
    _drop_idle_casts(body)
    body.graph.input.remove(_input(body, "ratios"))
    body.graph.node.extend(widths.graph.node)
    body.graph.initializer.extend(widths.graph.initializer)
    _sort_front(body, len(widths.graph.node))
    return _sealed(_half_output(body, "features", BIGGAIT_FEATURE))


def gaitheat_graph(
    pose: onnx.ModelProto,
    contract: PoseContract,
    align: onnx.ModelProto,
    frame: onnx.ModelProto,
    *,
    half: bool = False,
) -> onnx.ModelProto:
    """Pose model, joints, alignment and GaitHeat's frame graph as one.

    Args:
        pose: heatmaps `[n, 17, 64, 48]` from `[n, 3, 256, 192]`.
        contract: how its input is normalised.
        align: the bundle's align graph; not one that normalises over a tracklet.
        frame: the bundle's frame graph.
        half: compute the pose model in half precision; alignment stays in float32.

    Returns:
        The graph: input `crops` float32 `[n, 3, 256, 192]` RGB 0..255; outputs `gaitheat_feature` float16
        `[n, c, 16, 12]` and `gaitheat_keypoints` float32 `[n, 17, 3]`.

    Raises:
        ExportError: the pose model cannot be brought to the other graphs' form.
    """
    pose = halve(_modern(pose)) if half else _modern(pose)
    (source,) = [i for i in pose.graph.input if i.name not in {c.name for c in pose.graph.initializer}]
    heatmaps = pose.graph.output[0].name
    merged = _chain(_normalise(contract), "front/", pose, "pose/", [("normalised", source.name)])
    merged = _chain(
        merged, "", _joints(), "joints/", [(f"pose/{heatmaps}", "heatmaps")], keep=[f"pose/{heatmaps}"]
    )
    pairs = [(f"pose/{heatmaps}", "heatmaps"), ("joints/keypoints", "keypoints")]
    merged = _chain(merged, "", align, "align/", pairs, keep=["joints/keypoints"])
    merged = _chain(merged, "", frame, "frame/", [("align/parts", "parts")], keep=["joints/keypoints"])
    _rename_input(merged, "front/crops", INPUT)
    merged.graph.node.append(helper.make_node("Identity", ["joints/keypoints"], [GAITHEAT_KEYPOINTS]))
    merged.graph.output.append(
        helper.make_tensor_value_info(GAITHEAT_KEYPOINTS, TensorProto.FLOAT, ["n", JOINTS, 3])
    )
    merged.graph.output.remove(next(o for o in merged.graph.output if o.name == "joints/keypoints"))
    return _sealed(_half_output(merged, "frame/features", GAITHEAT_FEATURE))


def read_pose(path: Path) -> tuple[onnx.ModelProto, PoseContract]:
    """A pose model and how its input is normalised, from its ONNX file or manifest."""
    graph, contract = read_contract(path)
    return onnx.load(graph), contract


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


def _normalise(contract: PoseContract) -> onnx.ModelProto:
    g = GraphWriter("pose_input")
    x = g.input("crops", ["n", 3, CROP_HEIGHT, CROP_WIDTH])
    if contract.colour == "bgr":
        x = g.op("Gather", x, g.constant(np.asarray([2, 1, 0], np.int64)), axis=1)
    mean, std = np.asarray(contract.mean), np.asarray(contract.std)
    gain, bias = 1 / (contract.scale * std), -mean / std
    x = g.op("Mul", x, g.constant(gain.reshape(1, 3, 1, 1).astype(np.float32)))
    x = g.op("Add", x, g.constant(bias.reshape(1, 3, 1, 1).astype(np.float32)))
    g.output("normalised", x, ["n", 3, CROP_HEIGHT, CROP_WIDTH])
    return g.model(PRODUCER)


def _joints() -> onnx.ModelProto:
    """`gaitstream.models.pose.keypoints` as a graph: peaks, moved a quarter pixel to the higher neighbour."""
    height, width = HEATMAP
    g = GraphWriter("joints")
    maps = g.input("heatmaps", ["n", JOINTS, height, width])
    flat = g.reshape(maps, 0, 0, -1)
    peak = g.op("Cast", g.op("ArgMax", flat, axis=2, keepdims=1), to=TensorProto.FLOAT)

    def number(value: float) -> str:
        return g.constant(np.float32(value))

    y = g.op("Floor", g.op("Div", g.op("Add", peak, number(0.5)), number(width)))
    x = g.op("Sub", peak, g.op("Mul", y, number(width)))
    edge = g.constant(np.asarray([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    padded = g.reshape(g.op("Pad", maps, edge, mode="edge"), 0, 0, -1)
    centre = g.op("Add", g.op("Mul", g.op("Add", y, number(1)), number(width + 2)), g.op("Add", x, number(1)))

    def value(offset: int) -> str:
        index = g.op("Cast", g.op("Add", centre, number(offset)), to=TensorProto.INT64)
        return g.op("GatherElements", padded, index, axis=2)

    def shift(position: str, step: int, size: int) -> str:
        slope = g.op("Sign", g.op("Sub", value(step), value(-step)))
        # A peak on the border has one neighbour only: it stays. Positions are whole numbers.
        low = g.op("Clip", position, number(0), number(1))
        high = g.op("Clip", g.op("Sub", number(size - 1), position), number(0), number(1))
        return g.op("Mul", g.op("Mul", slope, number(0.25)), g.op("Mul", low, high))

    score = g.op("ReduceMax", flat, g.constant(np.asarray([2], np.int64)), keepdims=1)
    moved_x = g.op("Add", x, shift(x, 1, width))
    moved_y = g.op("Add", y, shift(y, width + 2, height))
    g.output("keypoints", g.op("Concat", moved_x, moved_y, score, axis=2), ["n", JOINTS, 3])
    return g.model(PRODUCER)


def _modern(pose: onnx.ModelProto) -> onnx.ModelProto:
    """The pose graph in our opset, for any batch."""
    version = next(entry.version for entry in pose.opset_import if entry.domain in ("", "ai.onnx"))
    pose = _copy(pose)
    for node in pose.graph.node:
        # Old exporters wrote this attribute wrongly beside per-channel statistics, which say it all.
        for attribute in [
            a for a in node.attribute if node.op_type == "BatchNormalization" and a.name == "spatial"
        ]:
            node.attribute.remove(attribute)
    try:
        pose = pose if version == OPSET else version_converter.convert_version(pose, OPSET)
    except (RuntimeError, ValueError) as error:
        raise ExportError(
            f"the pose model is in opset {version} and cannot be brought to {OPSET} ({error}); export it anew"
        ) from error
    constants = {constant.name for constant in pose.graph.initializer}
    for info in [*(i for i in pose.graph.input if i.name not in constants), *pose.graph.output]:
        info.type.tensor_type.shape.dim[0].dim_param = "n"
    # Constants listed as inputs, as old exporters do, would become inputs of the whole.
    for info in [i for i in pose.graph.input if i.name in constants]:
        pose.graph.input.remove(info)
    del pose.graph.value_info[:]
    return pose


def _chain(
    first: onnx.ModelProto,
    first_prefix: str,
    second: onnx.ModelProto,
    second_prefix: str,
    pairs: list[tuple[str, str]],
    keep: list[str] | None = None,
) -> onnx.ModelProto:
    """Feed one graph's outputs into another's inputs; names in `pairs` and `keep` have their first prefix."""
    if first_prefix:
        first = compose.add_prefix(first, first_prefix)
        pairs = [(first_prefix + a, b) for a, b in pairs]
    second = compose.add_prefix(second, second_prefix)
    for model in (first, second):
        model.ir_version = IR_VERSION
        del model.opset_import[:]
        model.opset_import.append(helper.make_opsetid("", OPSET))
        del model.metadata_props[:]
    outputs = [o.name for o in second.graph.output] + (keep or [])
    return compose.merge_models(
        first, second, io_map=[(a, second_prefix + b) for a, b in pairs], outputs=outputs
    )


def _half_output(model: onnx.ModelProto, old: str, new: str) -> onnx.ModelProto:
    """Replace a float32 output by its half-precision cast."""
    output = next(o for o in model.graph.output if o.name == old)
    shape = [d.dim_param or d.dim_value for d in output.type.tensor_type.shape.dim]
    model.graph.output.remove(output)
    model.graph.node.append(helper.make_node("Cast", [old], [new], to=TensorProto.FLOAT16))
    model.graph.output.insert(0, helper.make_tensor_value_info(new, TensorProto.FLOAT16, shape))
    return model


def _sealed(model: onnx.ModelProto) -> onnx.ModelProto:
    model.producer_name = PRODUCER
    model.ir_version = IR_VERSION
    del model.metadata_props[:]
    del model.graph.value_info[:]
    try:
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise ExportError(f"the graphs do not fit together: {error}") from error
    return model


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
            _redirect(model, node.output[0], INPUT)


def _rename_input(model: onnx.ModelProto, old: str, new: str) -> None:
    _input(model, old).name = new
    _redirect(model, old, new)


def _redirect(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new


def _input(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    found: onnx.ValueInfoProto = next(info for info in model.graph.input if info.name == name)
    return found


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy

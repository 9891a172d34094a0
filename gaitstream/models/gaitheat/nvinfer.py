"""GaitHeat for nvinfer: pose model, joints, alignment and the frame graph as one.

Raw 0..255 pixels in, half-precision features and the joints out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from gaitstream.engines.base import Precision
from gaitstream.errors import BundleError, ExportError
from gaitstream.kernels.contract import AlignmentOptions
from gaitstream.kernels.onnx_op import DOMAIN, OPERATOR, write_operator
from gaitstream.models.bundle import Bundle
from gaitstream.models.gaitheat.spec import HEATMAP
from gaitstream.models.graphs.halve import halve
from gaitstream.models.graphs.splice import chain, half_output, modern, rename_input, sealed
from gaitstream.models.graphs.writer import PRODUCER, GraphWriter
from gaitstream.models.pose import PoseContract, read_contract
from gaitstream.models.pose_outputs import CROP_HEIGHT, CROP_WIDTH, JOINTS

INPUT = "crops"
FEATURE = "gaitheat_feature"
KEYPOINTS = "gaitheat_keypoints"
PARTS = "align/parts"
"""What comes out of the alignment, inside the graph."""


def write(
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
        align: the bundle's align graph, not one that normalises over a tracklet; or, for TensorRT with our
            plugin, the operator that computes the same (`kernels.onnx_op.write_operator`).
        frame: the bundle's frame graph.
        half: compute the pose model in half precision; alignment stays in float32.

    Returns:
        The graph: input `crops` float32 `[n, 3, 256, 192]` RGB 0..255; outputs `gaitheat_feature` float16
        `[n, c, 16, 12]` and `gaitheat_keypoints` float32 `[n, 17, 3]`.

    Raises:
        ExportError: the pose model cannot be brought to the other graphs' form.
    """
    pose = halve(modern(pose)) if half else modern(pose)
    (source,) = [i for i in pose.graph.input if i.name not in {c.name for c in pose.graph.initializer}]
    heatmaps = pose.graph.output[0].name
    merged = chain(_normalise(contract), "front/", pose, "pose/", [("normalised", source.name)])
    merged = chain(
        merged, "", _joints(), "joints/", [(f"pose/{heatmaps}", "heatmaps")], keep=[f"pose/{heatmaps}"]
    )
    pairs = [(f"pose/{heatmaps}", "heatmaps"), ("joints/keypoints", "keypoints")]
    merged = chain(merged, "", align, "align/", pairs, keep=["joints/keypoints"])
    merged = chain(merged, "", frame, "frame/", [(PARTS, "parts")], keep=["joints/keypoints"])
    rename_input(merged, "front/crops", INPUT)
    merged.graph.node.append(helper.make_node("Identity", ["joints/keypoints"], [KEYPOINTS]))
    merged.graph.output.append(helper.make_tensor_value_info(KEYPOINTS, TensorProto.FLOAT, ["n", JOINTS, 3]))
    merged.graph.output.remove(next(o for o in merged.graph.output if o.name == "joints/keypoints"))
    parts = next(output for output in align.graph.output if output.name == "parts")
    known = onnx.ValueInfoProto()
    known.CopyFrom(parts)
    known.name = PARTS
    return sealed(half_output(merged, "frame/features", FEATURE), [known])


def join(bundle: Bundle, pose: Path, *, half: bool, operator: bool) -> onnx.ModelProto:
    """`write` of a bundle's own graphs; see `ModelFamily.join`."""
    contract = bundle.manifest.alignment
    if contract is None:
        raise BundleError(f"{bundle.root} does not say how heatmaps are aligned: export it again")
    check_normalization(contract.normalization)
    precision: Precision = "fp16" if half else "fp32"
    if operator:
        aligning = AlignmentOptions(contract.groups, contract.gamma_deg, contract.small_angle)
        align = write_operator(aligning, channels=JOINTS)
    else:
        align = onnx.load(bundle.graph("align", precision))
    network, about = read_pose(pose)
    return write(network, about, align, onnx.load(bundle.graph("frame", precision)), half=half)


def check_normalization(normalization: str) -> None:
    """See that heatmaps are normalised frame by frame.

    Raises:
        ExportError: they are normalised over a whole tracklet.
    """
    if normalization != "fixed":
        raise ExportError(
            f"normalization {normalization!r} needs the whole tracklet, which DeepStream never sees: export "
            "with --normalization fixed"
        )


def operator_inputs(graph: Path) -> list[str]:
    """Names of the values that go into our operator in a graph that holds it: heatmaps and joints."""
    model = onnx.load(graph, load_external_data=False)
    (node,) = [node for node in model.graph.node if node.op_type == OPERATOR and node.domain == DOMAIN]
    return list(node.input)


def read_pose(path: Path) -> tuple[onnx.ModelProto, PoseContract]:
    """A pose model and how its input is normalised, from its ONNX file or manifest."""
    graph, contract = read_contract(path)
    return onnx.load(graph), contract


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

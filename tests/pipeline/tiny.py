"""Small recognizers for tests: real bundles with real graphs, random weights, a millisecond per frame.

The same walk gives the same embedding and different people give different ones, which is all the stages
behind the networks need.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from gaitstream.models.bundle import Bundle, write_manifest
from gaitstream.models.manifest import (
    AlignmentContract,
    EmbeddingContract,
    FeatureContract,
    Graphs,
    InputContract,
    InputKind,
    Manifest,
)

PARTS, DIM, CHANNELS = 16, 32, 8
GROUPS = (tuple(range(11)), tuple(range(11, 17)))


def tiny_bundle(root: Path, model: Literal["biggait", "gaitheat"] = "gaitheat", seed: int = 0) -> Bundle:
    """Write a bundle of a small random network."""
    root.mkdir(parents=True, exist_ok=True)
    weights = np.random.default_rng(seed)
    heat = model == "gaitheat"
    width = 12 if heat else 8
    onnx.save(_frame(weights, heat), root / "frame.onnx")
    onnx.save(_head(weights, width), root / "head.onnx")
    size = (64, 48, 3) if heat else (256, 128, 3)
    contract = InputContract(
        kind=InputKind.POSE if heat else InputKind.CROP,
        height=size[0],
        width=size[1],
        channels=size[2],
        crop_rule="pose" if heat else "pad_to_aspect",
    )
    manifest = Manifest(
        model=model,
        version=f"tiny-{seed}",
        input=contract,
        alignment=AlignmentContract(groups=GROUPS) if heat else None,
        feature=FeatureContract(channels=CHANNELS, height=16, width=width),
        embedding=EmbeddingContract(parts=PARTS, dim=DIM, tap="embedding"),
        graphs={"fp32": Graphs(frame="frame.onnx", head="head.onnx")},
        licence="test data",
        source={},
    )
    return Bundle(root, write_manifest(manifest, root))


def _frame(weights: np.random.Generator, heat: bool) -> onnx.ModelProto:
    kernel = 4 if heat else 16
    convolution = weights.normal(size=(CHANNELS, 3, kernel, kernel)).astype(np.float32) / kernel
    constants = [numpy_helper.from_array(convolution, "w")]
    if heat:
        name, inputs = "parts", [helper.make_tensor_value_info("parts", TensorProto.FLOAT, ["n", 3, 64, 48])]
        nodes = []
    else:
        constants.append(numpy_helper.from_array(np.array([-1, 1, 1, 1]), "shape"))
        constants.append(numpy_helper.from_array(np.array(255, np.float32), "white"))
        inputs = [
            helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", 3, 256, 128]),
            helper.make_tensor_value_info("ratios", TensorProto.FLOAT, ["n"]),
        ]
        nodes = [
            helper.make_node("Cast", ["crops"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["pixels", "white"], ["light"]),
            helper.make_node("Reshape", ["ratios", "shape"], ["ratio"]),
            helper.make_node("Mul", ["light", "ratio"], ["scaled"]),
        ]
        name = "scaled"
    nodes += [
        helper.make_node("Conv", [name, "w"], ["raw"], strides=[kernel, kernel]),
        helper.make_node("Relu", ["raw"], ["features"]),
    ]
    out = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", CHANNELS, 16, 12 if heat else 8])
    return _model(nodes, inputs, out, constants)


def _head(weights: np.random.Generator, width: int) -> onnx.ModelProto:
    matrix = weights.normal(size=(PARTS, CHANNELS * width, DIM)).astype(np.float32)
    constants = [
        numpy_helper.from_array(matrix, "m"),
        numpy_helper.from_array(np.array([0, PARTS, 1, CHANNELS * width]), "shape"),
        numpy_helper.from_array(np.array([2]), "axis"),
    ]
    nodes = [
        helper.make_node("Transpose", ["pooled"], ["rows"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["rows", "shape"], ["vectors"]),
        helper.make_node("MatMul", ["vectors", "m"], ["long"]),
        helper.make_node("Squeeze", ["long", "axis"], ["embedding"]),
    ]
    pooled = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["n", CHANNELS, PARTS, width])
    out = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", PARTS, DIM])
    return _model(nodes, [pooled], out, constants)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    output: onnx.ValueInfoProto,
    constants: list[onnx.TensorProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "tiny", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model

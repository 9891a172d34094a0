"""A float32 graph computed in half precision, for networks that come without a half-precision export.

Constants and values become float16; what raises to powers or adds up many squares or exponentials stays
float32 between casts, a chain of it as a whole: a power that the next root takes back would not fit into
float16. Inputs and outputs keep their types.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PRECISE = frozenset(
    {
        "LayerNormalization", "InstanceNormalization", "GroupNormalization", "Softmax", "LogSoftmax", "Pow",
        "Sqrt", "Exp", "Log", "ReduceMean", "ReduceSum", "ReduceL2", "Erf",
    }
)  # fmt: skip
"""Operators that are computed in float32."""

_FLOAT32_INPUTS = {"Resize": {1, 2}, "Upsample": {1}}
"""Inputs that are float32 by definition: regions and scales."""

_LARGEST = float(np.finfo(np.float16).max)


def halve(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert a graph; the original stays as it is."""
    half = onnx.ModelProto()
    half.CopyFrom(model)
    graph = half.graph
    del graph.value_info[:]
    fixed = _float32_names(graph)
    constants = {tensor.name for tensor in graph.initializer}
    for tensor in graph.initializer:
        if tensor.name not in fixed:
            _halve_tensor(tensor)
    nodes: list[onnx.NodeProto] = []
    wide: dict[str, str] = {}
    for info in graph.input:
        if info.name not in constants and info.type.tensor_type.elem_type == TensorProto.FLOAT:
            nodes.append(_cast(info.name, f"{info.name}/half", TensorProto.FLOAT16))
            redirect(graph, info.name, f"{info.name}/half")
    for node in graph.node:
        _halve_attributes(node, fixed)
        nodes += _precise(node, wide) if node.op_type in PRECISE else [node]
    read = {name for node in nodes for name in node.input} | {output.name for output in graph.output}
    kept = [_copy(node) for node in nodes if node.output[0] in read or node.output[0] not in wide]
    for output in graph.output:
        if output.type.tensor_type.elem_type == TensorProto.FLOAT:
            kept = [_renamed(node, output.name, f"{output.name}/half") for node in kept]
            kept.append(_cast(f"{output.name}/half", output.name, TensorProto.FLOAT))
    del graph.node[:]
    graph.node.extend(kept)
    return half


def _float32_names(graph: onnx.GraphProto) -> set[str]:
    return {
        name
        for node in graph.node
        for index, name in enumerate(node.input)
        if index in _FLOAT32_INPUTS.get(node.op_type, ())
    }


def _halve_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        values = numpy_helper.to_array(tensor).clip(-_LARGEST, _LARGEST)
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))


def _halve_attributes(node: onnx.NodeProto, fixed: set[str]) -> None:
    for attribute in node.attribute:
        if node.op_type in ("Constant", "ConstantOfShape") and attribute.name == "value":
            if node.output[0] not in fixed:
                _halve_tensor(attribute.t)
        elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16


def _precise(node: onnx.NodeProto, wide: dict[str, str]) -> list[onnx.NodeProto]:
    """The operator between casts; shapes and axes, which are integers, are its second inputs at most.

    Args:
        node: the operator.
        wide: names in float32 of what such operators gave before, by their names in half precision; this
            one's is added.
    """
    integers = node.op_type.startswith("Reduce")
    before = []
    for index, name in enumerate(node.input):
        if not name or (integers and index > 0):
            continue
        if name not in wide:
            before.append(_cast(name, f"{node.output[0]}/wide{index}", TensorProto.FLOAT))
        node.input[index] = wide.get(name, f"{node.output[0]}/wide{index}")
    narrow = node.output[0]
    node.output[0] = wide[narrow] = f"{narrow}/wide"
    return [*before, node, _cast(f"{narrow}/wide", narrow, TensorProto.FLOAT16)]


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{source}>{target}", to=kind)


def redirect(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Let every node that reads one value read another."""
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new


def _renamed(node: onnx.NodeProto, old: str, new: str) -> onnx.NodeProto:
    for names in (node.input, node.output):
        for index, name in enumerate(names):
            if name == old:
                names[index] = new
    return node


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy

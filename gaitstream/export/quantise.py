"""Post-training quantisation: a graph's weights and activations in eight bits, by NNCF.

The result is the same graph with pairs of `QuantizeLinear` and `DequantizeLinear` before its products. All
integers are signed and symmetric (zero is zero), weights per channel: the one form that OpenVINO, ONNX
Runtime, TensorRT and TensorRT-RTX all take. In FP8 (E4M3) the pairs are the same with other types; TensorRT
and TensorRT-RTX compile it for GPUs that have it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from gaitstream.errors import ExportError, MissingExtraError
from gaitstream.models.graphs.halve import redirect

EightBits = Literal["int8", "fp8"]
Feeds = Mapping[str, NDArray[Any]]
PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
"""Operators that runtimes compute in integers."""
MATRIX = 2
"""Axes of one."""
PAIR = ("QuantizeLinear", "DequantizeLinear")
FLOATING = ("Softmax", "LayerNormalization", "Resize", "Add", "Sub", "Mul", "Div", "Max", "Min", "Pow")
"""Operators whose inputs are never rounded: they gain nothing by it, and lose what the products need."""
FOLDED = ("Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators on a constant that make one: of a weight stored in half, of a flat one that looks at time too."""
MOVING = (
    "Reshape", "Transpose", "Split", "Squeeze", "Unsqueeze", "Slice", "Flatten", "Identity", "MaxPool",
    "ReduceMax", "Pad", "Expand", "Gather",
)  # fmt: skip
"""Operators that move rounded values about and leave them rounded."""


def quantise(
    model: onnx.ModelProto, samples: Sequence[Feeds], precision: EightBits = "int8"
) -> onnx.ModelProto:
    """Quantise a graph's products with weights.

    Products of two activations, as in attention, stay in floating point: in integers they were no faster.

    Args:
        model: in float32; it stays as it is.
        samples: inputs that the ranges of activations are read from, one inference each.
        precision: signed integers, or floating point of eight bits.

    Raises:
        MissingExtraError: NNCF is not installed.
        ExportError: NNCF cannot quantise this graph, or there is nothing in it to quantise.
    """
    nncf = require_nncf()
    source = prepared(model)
    weighted = set(weighted_names(source))
    if not weighted:
        raise ExportError(f"{model.graph.name} has no convolution or matrix product with weights to quantise")
    ignored = [
        node.name
        for node in source.graph.node
        if node.op_type in FLOATING or (node.op_type in PRODUCTS and node.name not in weighted)
    ]
    try:
        with _quiet():
            found = nncf.quantize(
                source,
                nncf.Dataset(samples),
                subset_size=len(samples),
                **_mode(nncf, precision),
                ignored_scope=nncf.IgnoredScope(names=ignored, validate=False),
            )
    except (RuntimeError, ValueError, nncf.ValidationError) as error:
        raise ExportError(f"NNCF cannot quantise {model.graph.name}: {error}") from error
    if precision == "int8":
        _make_signed(found.graph)
    return _sealed(found, model)


def product_names(model: onnx.ModelProto) -> list[str]:
    """Names of a graph's convolutions and matrix products."""
    return [node.name for node in model.graph.node if node.op_type in PRODUCTS]


def weighted_names(model: onnx.ModelProto) -> list[str]:
    """Names of the products one of whose operands is a kernel or a matrix of the graph.

    A matrix for each part, as heads have them, is none: with such integers OpenVINO computes values that are
    not finite, and ONNX Runtime refuses them.
    """
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}

    def weighted(node: onnx.NodeProto) -> bool:
        found = [ranks[name] for name in node.input[:2] if name in ranks]
        return bool(found) and (node.op_type != "MatMul" or max(found) <= MATRIX)

    return [node.name for node in model.graph.node if node.op_type in PRODUCTS and weighted(node)]


def quantised_names(model: onnx.ModelProto) -> list[str]:
    """Names of the products whose operands a quantised graph rounds."""
    makers = _makers(model.graph)
    return [
        node.name
        for node in model.graph.node
        if node.op_type in PRODUCTS and any(_rounding(name, makers) for name in node.input[:2])
    ]


def restore(quantised: onnx.ModelProto, original: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """A quantised graph with some of its layers in floating point again, as the original computes them.

    Where several layers share what is rounded, split or reshaped on its way to them, all get it as it was.

    Args:
        quantised: what `quantise` made of `original`; it stays as it is.
        original: in float32.
        names: of nodes.
    """
    result = onnx.ModelProto()
    result.CopyFrom(quantised)
    graph = result.graph
    makers = _makers(graph)
    source = prepared(original).graph
    before = {node.name: node for node in source.node}
    for node in [node for node in graph.node if node.name in names]:
        for pair in _moved_pairs(node, makers):
            redirect(graph, pair.output[0], makers[pair.input[0]].input[0])
        node.input[:] = before[node.name].input
    have = {tensor.name for tensor in graph.initializer}
    used = {name for node in graph.node for name in node.input}
    graph.initializer.extend(tensor for tensor in source.initializer if tensor.name in used - have)
    _drop_unused(graph)
    return result


def _makers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Each value's node."""
    return {name: node for node in graph.node for name in node.output}


def _rounding(name: str, makers: Mapping[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    """The `DequantizeLinear` that a value comes from, directly or moved about."""
    node = makers.get(name)
    while node is not None and node.op_type in MOVING:
        node = makers.get(node.input[0])
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def _moved_pairs(node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]) -> list[onnx.NodeProto]:
    """`DequantizeLinear` nodes that a product's activations come from by way of nodes that move them."""
    found = []
    for name in node.input[:2]:
        pair = _rounding(name, makers)
        if pair is not None and pair is not makers[name] and pair.input[0] in makers:
            found.append(pair)
    return found


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy as NNCF needs it: every node has a name of its own, every weight is a constant of the graph.

    Exporters leave weights in `Constant` nodes, and behind operators of `FOLDED`.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in copy.graph.initializer}
    kept, seen = [], set[str]()
    for index, node in enumerate(copy.graph.node):
        tensor = _constant(node, constants)
        if tensor is not None:
            constants[tensor.name] = tensor
            copy.graph.initializer.append(tensor)
            continue
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{index}"
        seen.add(node.name)
        kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    _drop_unused(copy.graph)
    return copy


def _constant(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> onnx.TensorProto | None:
    """What a node makes, where that is a constant."""
    if node.op_type == "Constant" and node.attribute[0].name == "value":
        tensor: onnx.TensorProto = onnx.TensorProto.FromString(node.attribute[0].t.SerializeToString())
        tensor.name = node.output[0]
        return tensor
    if node.op_type in FOLDED and all(name in constants for name in node.input):
        feeds = {name: numpy_helper.to_array(constants[name]) for name in node.input}
        (array,) = ReferenceEvaluator(node).run(None, feeds)
        return numpy_helper.from_array(np.asarray(array), node.output[0])
    return None


def _mode(nncf: Any, precision: EightBits) -> dict[str, Any]:
    if precision == "fp8":
        return {"mode": nncf.QuantizationMode.FP8_E4M3}
    # NNCF's fast bias correction adds noise wherever it was measured: docs/performance.md.
    uncorrected = nncf.AdvancedQuantizationParameters(disable_bias_correction=True)
    # Symmetric activations.
    return {"preset": nncf.QuantizationPreset.PERFORMANCE, "advanced_parameters": uncorrected}


def _make_signed(graph: onnx.GraphProto) -> None:
    """Make activations that are never negative signed as well: TensorRT takes no other integers.

    Raises:
        ExportError: a quantiser is not symmetric.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for name in {name for node in graph.node if node.op_type in PAIR for name in node.input[2:]}:
        zero = constants[name]
        if numpy_helper.to_array(zero).any():
            raise ExportError(f"{graph.name}: the quantiser with {name} is not symmetric")
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and constants[node.input[2]].data_type == TensorProto.UINT8:
            scale, zero = (constants[name] for name in node.input[1:3])
            wider = numpy_helper.to_array(scale) * np.float32(255 / 127)
            scale.CopyFrom(numpy_helper.from_array(wider, scale.name))
            zero.CopyFrom(numpy_helper.from_array(np.zeros(zero.dims, np.int8), zero.name))


def _sealed(found: onnx.ModelProto, original: onnx.ModelProto) -> onnx.ModelProto:
    """With the original's producer, properties and inferred shapes."""
    del found.metadata_props[:]
    found.metadata_props.extend(original.metadata_props)
    found.producer_name, found.producer_version = original.producer_name, original.producer_version
    _drop_unused(found.graph)
    del found.graph.value_info[:]
    sealed = onnx.shape_inference.infer_shapes(found)
    onnx.checker.check_model(sealed)
    return sealed


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Take out nodes and constants that nothing reads."""
    while True:
        used = {name for node in graph.node for name in node.input} | {info.name for info in graph.output}
        kept = [node for node in graph.node if used.intersection(node.output)]
        if len(kept) == len(graph.node):
            break
        nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
        del graph.node[:]
        graph.node.extend(nodes)
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    if len(tensors) < len(graph.initializer):
        copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in tensors]
        del graph.initializer[:]
        graph.initializer.extend(copies)


def require_nncf() -> Any:
    """NNCF's module.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import nncf
    except ImportError as error:
        raise MissingExtraError("nncf", "int8", "Quantising a graph") from error
    return nncf


@contextmanager
def _quiet() -> Iterator[None]:
    """NNCF's bars and its advice about layers that stay as they are."""
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logger.setLevel(level)

"""An ONNX graph that takes its picture as bytes, a quarter of what is copied, and makes floats of them.

It is done in the file and not in TensorRT's network of it: an input of any batch that the parser has made
cannot be replaced there, since the builder still finds the old one (`checkSanity.cpp`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gaitstream.engines.base import Pixels
from gaitstream.errors import EngineError, MissingExtraError

PICTURE_RANK = 4


def graph_on_bytes(path: Path, pixels: Pixels) -> bytes:
    """A graph whose pictures in floating point come as bytes; other inputs stay as they are.

    Args:
        path: of the ONNX file; weights in files of their own stay there.
        pixels: how floats are made of bytes.

    Returns:
        The serialised graph.

    Raises:
        MissingExtraError: onnx is not installed.
        EngineError: the file is not a graph.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise MissingExtraError("onnx", "gpu", "Building an engine that takes pictures as bytes") from error
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise EngineError(f"{path} is not an ONNX graph: {error}") from error
    constants = {constant.name for constant in model.graph.initializer}
    for source in model.graph.input:
        kind = source.type.tensor_type
        if source.name in constants or len(kind.shape.dim) != PICTURE_RANK:
            continue
        channels = kind.shape.dim[1]
        if channels.HasField("dim_value") and channels.dim_value not in (len(pixels.std), -1):
            continue  # no picture as it is understood here: whoever opened it says what is wrong
        if kind.elem_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
            _take_bytes(onnx, model.graph, source, pixels)
    content: bytes = model.SerializeToString()
    return content


def _take_bytes(onnx: Any, graph: Any, source: Any, pixels: Pixels) -> None:
    name, kind = source.name, source.type.tensor_type
    floats, dtype = f"{name}/floats", kind.elem_type
    _rename_uses(graph, name, floats)
    kind.elem_type = onnx.TensorProto.UINT8
    if pixels.interleaved:
        channels = kind.shape.dim.pop(1)
        kind.shape.dim.append(channels)
    std = np.asarray(pixels.std, np.float32)
    gain, bias = 1 / (np.float32(pixels.scale) * std), -np.asarray(pixels.mean, np.float32) / std
    numbers = {
        "order": np.arange(len(std), dtype=np.int64)[::-1].copy(),
        "gain": gain.reshape(1, -1, 1, 1),
        "bias": bias.reshape(1, -1, 1, 1),
    }
    steps: list[tuple[str, list[str], dict[str, Any]]] = [("Cast", [], {"to": onnx.TensorProto.FLOAT})]
    if pixels.interleaved:
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    if pixels.swap:
        steps.append(("Gather", ["order"], {"axis": 1}))
    steps += [("Mul", ["gain"], {}), ("Add", ["bias"], {})]
    if dtype != onnx.TensorProto.FLOAT:
        steps.append(("Cast", [], {"to": dtype}))
    value = name
    for place, (kind_of_node, constants, attributes) in enumerate(steps):
        inputs = [value, *(f"{name}/{constant}" for constant in constants)]
        value = floats if place == len(steps) - 1 else f"{name}/{place}"
        node = onnx.helper.make_node(
            kind_of_node, inputs, [value], f"{name}/{kind_of_node}{place}", **attributes
        )
        graph.node.insert(place, node)
        graph.initializer.extend(
            onnx.numpy_helper.from_array(numbers[constant], f"{name}/{constant}") for constant in constants
        )


def _rename_uses(graph: Any, old: str, new: str) -> None:
    """In a graph, and in those of its nodes, which see its values."""
    for node in graph.node:
        for index, one in enumerate(node.input):
            if one == old:
                node.input[index] = new
        for attribute in node.attribute:
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                if old not in {value.name for value in inner.input}:
                    _rename_uses(inner, old, new)

"""Small graphs to compile, and what they compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="making graphs needs the extra [export]")


def small_graph(path: Path, *, half: bool = False, seed: int = 0, batch: int | str = "n") -> Path:
    """`features [n, 8] = mean(relu(conv(images / 255)))` of uint8 images `[n, 3, 16, 16]`."""
    kind = onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT
    dtype = np.float16 if half else np.float32
    rng = np.random.default_rng(seed)
    weights = [
        onnx.numpy_helper.from_array(rng.normal(size=(8, 3, 3, 3)).astype(dtype), "weight"),
        onnx.numpy_helper.from_array(np.array(1 / 255, dtype), "scale"),
        onnx.numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
    ]
    node = onnx.helper.make_node
    nodes = [
        node("Cast", ["images"], ["typed"], to=kind),
        node("Mul", ["typed", "scale"], ["scaled"]),
        node("Conv", ["scaled", "weight"], ["mapped"], pads=[1, 1, 1, 1]),
        node("Relu", ["mapped"], ["positive"]),
        node("ReduceMean", ["positive", "axes"], ["pooled"], keepdims=0),
        node("Cast", ["pooled"], ["features"], to=onnx.TensorProto.FLOAT),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "small",
        [onnx.helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, [batch, 3, 16, 16])],
        [onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, [batch, 8])],
        weights,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path)
    return path


def small_reference(images: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """What `small_graph` computes, in float64."""
    weight = np.random.default_rng(seed).normal(size=(8, 3, 3, 3)).astype(np.float32).astype(np.float64)
    padded = np.pad(images / 255.0, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    mapped = np.einsum("nchwij,kcij->nkhw", windows, weight)
    return np.asarray(mapped.clip(0).mean((2, 3)))

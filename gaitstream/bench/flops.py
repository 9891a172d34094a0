"""Multiply-adds of a graph, counted with OpenVINO: the plain install has nothing else that reads ONNX."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any


def graph_gflop(graph: Path, frames: int = 1) -> float:
    """GFLOP of a graph's convolutions and matrix products for one row of its batch.

    A multiply-add counts as two. Everything else a graph does is left out: the figure is a lower bound.

    Args:
        graph: the ONNX file.
        frames: how many a row has, where the graph leaves it open.
    """
    import openvino as ov

    model = ov.Core().read_model(graph)
    model.reshape(
        {
            port: [1, *(size if size.is_static else frames for size in list(port.get_partial_shape())[1:])]
            for port in model.inputs
        }
    )
    return sum(2 * _multiply_adds(node) for node in model.get_ops()) / 1e9


def _multiply_adds(node: Any) -> int:
    kind = node.get_type_name()
    if kind not in ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul"):
        return 0
    source, weight = (tuple(node.get_input_shape(index)) for index in (0, 1))
    output = prod(node.get_output_shape(0))
    if kind == "Convolution":  # weight [out, in, height, width]
        return int(output * prod(weight[1:]))
    if kind == "GroupConvolution":  # weight [groups, out, in, height, width]
        return int(output * prod(weight[2:]))
    if kind == "ConvolutionBackpropData":  # weight [in, out, height, width]
        return int(prod(source) * prod(weight[1:]))
    transposed = node.get_attributes()["transpose_a"]
    return int(output * source[-2 if transposed else -1])

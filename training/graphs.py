"""PyTorch networks to small ONNX files: half-precision weights, float32 arithmetic, any batch."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gaitstream.models.graphs.traced import drop_traces


class FromBytes(nn.Module):
    """Takes uint8 pixels instead of floats."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        """Same output as the network."""
        out: Tensor = self.net(pixels.float())
        return out


def write_graph(
    net: nn.Module, sample: Tensor, path: Path, *, input_name: str, output_name: str, pixels: bool
) -> None:
    """Export, fold batch normalisation, store the weights in half precision.

    Args:
        net: the network; left as it is.
        sample: an input, float 0..255.
        path: the ONNX file to write.
        input_name: of the graph.
        output_name: of the graph.
        pixels: whether the graph takes uint8.
    """
    net = copy.deepcopy(net).eval().to(memory_format=torch.contiguous_format)
    _fold(net)
    if pixels:
        net, sample = FromBytes(net), sample.to(torch.uint8)
    torch.onnx.export(
        net, (sample,), path, input_names=[input_name], output_names=[output_name], opset_version=18,
        dynamo=True, dynamic_shapes=({0: torch.export.Dim("n", min=1, max=512)},), external_data=False,
    )  # fmt: skip
    model = onnx.load(path)
    drop_traces(model)
    _halve(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _fold(module: nn.Module) -> None:
    """Fold each batch normalisation into the convolution just before it in a `Sequential`."""
    for child in module.children():
        _fold(child)
    if isinstance(module, nn.Sequential):
        parts = list(module)
        for index in range(len(parts) - 1):
            if isinstance(parts[index], nn.Conv2d) and isinstance(parts[index + 1], nn.BatchNorm2d):
                module[index] = fuse_conv_bn_eval(parts[index], parts[index + 1])
                module[index + 1] = nn.Identity()


def _halve(graph: onnx.GraphProto) -> None:
    """Store weights of a kilobyte and more as float16 behind a cast, which runtimes fold when loading."""
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < 256:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + "_half"))
        casts.append(helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT))
    for index, node in enumerate(casts):
        graph.node.insert(index, node)

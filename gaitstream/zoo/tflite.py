"""Convolutional networks in TensorFlow Lite's format as ONNX graphs: OpenVINO reads the file, this writes it.

TensorFlow Lite keeps channels last, ONNX first. Transpositions between the two are not written: maps are
stored with their channels first throughout, and it is remembered where the file has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from gaitstream.errors import ZooError

if TYPE_CHECKING:
    import openvino

OPSET = 17
TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
"""Orders of axes."""


@dataclass(frozen=True)
class Maps:
    """Maps of pictures `[n, channels, height, width]`.

    Attributes:
        name: in the ONNX graph.
        last: whether the file has their channels last.
    """

    name: str
    last: bool = False


Value = Maps | NDArray[Any]
"""What a layer makes; an array where it is computed of weights alone."""


def read_tflite(path: Path, output: str) -> onnx.ModelProto:
    """One output of a network that looks at a picture, and all that leads to it.

    Args:
        path: its name ends in `.tflite`; its only input is `[1, height, width, channels]` float32.
        output: name of an output `[1, height, width, channels]`.

    Returns:
        A graph from `pixels` to `maps`, both `[n, channels, height, width]`; weights in float32.

    Raises:
        ZooError: the file cannot be read, has no such output, or holds a layer that is not known here.
    """
    import openvino

    try:
        model = openvino.Core().read_model(path)
    except RuntimeError as error:
        raise ZooError(
            f"{path} cannot be read as TensorFlow Lite: {str(error).strip().splitlines()[-1]}"
        ) from error
    result = next((one for one in model.outputs if output in one.names), None)
    if result is None:
        known = ", ".join(sorted(name for one in model.outputs for name in one.names))
        raise ZooError(f"{path} has no output {output!r}; it has {known}")
    graph = _Graph(path)
    for node in _leading_to(result.node):
        graph.add(node)
    return graph.finish(model.inputs[0], result)


def _leading_to(result: openvino.Node) -> Iterator[openvino.Node]:
    """Nodes that a result needs, each after its inputs."""
    seen: set[str] = set()
    stack = [(result, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif node.get_name() not in seen:
            seen.add(node.get_name())
            stack.append((node, True))
            stack.extend((one.get_source_output().get_node(), False) for one in node.inputs())


@dataclass
class _Graph:
    """The graph that grows."""

    path: Path
    values: dict[str, Value] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, node: openvino.Node) -> None:
        """Write one node, whose inputs are written."""
        inputs = [self.values[one.get_source_output().get_node().get_name()] for one in node.inputs()]
        layer = _Layer(self, node, inputs)
        self.values[node.get_name()] = layer.value()

    def finish(self, given: openvino.Output, result: openvino.Output) -> onnx.ModelProto:
        """The whole graph."""
        maps = self.values[result.node.get_name()]
        pixels, made = (tuple(int(one) for one in end.get_shape()) for end in (given, result))
        if not isinstance(maps, Maps) or not maps.last or len(pixels) != 4:
            raise ZooError(
                f"{self.path} makes {list(made)} of {list(pixels)}: maps of a picture are expected"
            )
        self.nodes.append(helper.make_node("Identity", [maps.name], ["maps"]))
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", shape[3], *shape[1:3]))
            for name, shape in (("pixels", pixels), ("maps", made))
        ]
        graph = helper.make_graph(self.nodes, self.path.stem, ends[:1], ends[1:], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)

    def keep(self, values: NDArray[Any]) -> str:
        """Put numbers into the graph; their name."""
        name = f"weights_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


@dataclass(frozen=True)
class _Layer:
    """One layer as OpenVINO has read it, and what its inputs became."""

    graph: _Graph
    node: openvino.Node
    inputs: Sequence[Value]

    @property
    def wanted(self) -> dict[str, Any]:
        found: dict[str, Any] = self.node.get_attributes()
        return found

    @property
    def made(self) -> list[int]:
        """The shape that the file has for its output."""
        return [int(one) for one in self.node.output(0).get_shape()]

    @property
    def maps(self) -> Maps:
        """Its first input."""
        first = self.inputs[0]
        return first if isinstance(first, Maps) else self.unknown("of weights alone")

    @property
    def channels_first(self) -> Maps:
        """The same where the file, too, has channels first."""
        return self.unknown("with channels last") if self.maps.last else self.maps

    def numbers(self, place: int) -> NDArray[Any]:
        """An input that is known."""
        found = self.inputs[place]
        return self.unknown("with weights that are computed") if isinstance(found, Maps) else found

    def value(self) -> Value:
        """What it makes."""
        kind = self.node.get_type_name()
        if kind == "Constant":
            return np.array(self.node.get_data())
        if kind == "Parameter":
            return Maps("pixels", last=True)
        if kind in _OF_WEIGHTS and not any(isinstance(one, Maps) for one in self.inputs):
            return _OF_WEIGHTS[kind](self)
        return _OF_MAPS.get(kind, _Layer.unknown)(self)

    def write(self, kind: str, *inputs: str, last: bool = False, **attributes: Any) -> Maps:
        """Write one node of ONNX."""
        name = f"{kind.lower()}_{len(self.graph.nodes)}"
        self.graph.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return Maps(name, last)

    def unknown(self, how: object = "") -> NoReturn:
        """Say that this cannot be written."""
        raise ZooError(
            f"{self.graph.path} holds a layer {self.node.get_type_name()} {how}".rstrip()
            + ": it cannot be written as ONNX here"
        )


def _transpose(layer: _Layer) -> Maps:
    """The same maps, which the file from here on has in the other order."""
    order = tuple(layer.numbers(1).tolist())
    if order != (TO_FIRST if layer.maps.last else TO_LAST):
        layer.unknown(order)
    return Maps(layer.maps.name, not layer.maps.last)


def _convert(layer: _Layer) -> Maps:
    """A conversion of maps, which are float32 throughout."""
    kinds = {one.get_element_type().get_type_name() for one in (layer.node.input(0), layer.node.output(0))}
    return layer.maps if kinds == {"f32"} else layer.unknown(f"between {' and '.join(sorted(kinds))}")


def _convolution(layer: _Layer) -> Maps:
    """Weights are `[out, in, height, width]`, of groups `[groups, out, in, height, width]`."""
    weights = layer.numbers(1).astype(np.float32)
    grouped = layer.node.get_type_name() == "GroupConvolution"
    kernel = weights.reshape(-1, *weights.shape[2:]) if grouped else weights
    groups = weights.shape[0] if grouped else 1
    window = _window(layer, kernel.shape[2:])
    return layer.write("Conv", layer.channels_first.name, layer.graph.keep(kernel), group=groups, **window)


def _pool(layer: _Layer) -> Maps:
    kernel = layer.wanted["kernel"]
    if layer.wanted["rounding_type"] != "floor":
        layer.unknown(f"that rounds by {layer.wanted['rounding_type']}")
    return layer.write("MaxPool", layer.channels_first.name, kernel_shape=kernel, **_window(layer, kernel))


def _window(layer: _Layer, kernel: Sequence[int]) -> dict[str, Any]:
    """How a window moves, and what is added around: of `same` what `ceil(size / stride)` results need."""
    wanted = layer.wanted
    begin, end = list(wanted["pads_begin"]), list(wanted["pads_end"])
    if wanted["auto_pad"].startswith("same"):
        sizes = [int(one) for one in layer.node.input(0).get_shape()][2:]
        steps = zip(sizes, kernel, wanted["strides"], wanted["dilations"], strict=True)
        missing = [
            max(0, (-(-size // stride) - 1) * stride + (width - 1) * dilation + 1 - size)
            for size, width, stride, dilation in steps
        ]
        less, more = [one // 2 for one in missing], [one - one // 2 for one in missing]
        begin, end = (less, more) if wanted["auto_pad"] == "same_upper" else (more, less)
    return {
        "strides": list(wanted["strides"]),
        "dilations": list(wanted["dilations"]),
        "pads": [*begin, *end],
    }


def _add(layer: _Layer) -> Maps:
    """Maps and maps, or maps and weights, which may be one a channel."""
    maps = [one for one in layer.inputs if isinstance(one, Maps)]
    last = maps[0].last
    if any(one.last != last for one in maps):
        layer.unknown("of maps whose channels are at different places")
    names = [
        one.name if isinstance(one, Maps) else layer.graph.keep(_stored(one.astype(np.float32), last))
        for one in layer.inputs
    ]
    return layer.write("Add", *names, last=last)


def _stored(values: NDArray[Any], last: bool) -> NDArray[Any]:
    """Weights as they are added to maps that are stored with channels first."""
    full = values.reshape((1,) * (4 - values.ndim) + values.shape)
    return full.transpose(TO_FIRST) if last else full


def _clamp(layer: _Layer) -> Maps:
    bounds = [layer.graph.keep(np.array(layer.wanted[key], np.float32)) for key in ("min", "max")]
    return layer.write("Clip", layer.maps.name, *bounds, last=layer.maps.last)


def _pad(layer: _Layer) -> Maps:
    if layer.wanted["pad_mode"] != "constant":
        layer.unknown(f"of mode {layer.wanted['pad_mode']}")
    order = _order(layer.maps)
    pads = np.concatenate([layer.numbers(side)[order] for side in (1, 2)]).astype(np.int64)
    value = layer.numbers(3) if len(layer.inputs) > 3 else np.zeros(())
    kept = [layer.graph.keep(one) for one in (pads, value.astype(np.float32))]
    return layer.write("Pad", layer.maps.name, *kept, last=layer.maps.last)


def _resize(layer: _Layer) -> Maps:
    how = [layer.wanted[key] for key in ("mode", "coordinate_transformation_mode", "antialias")]
    if how[0] != "linear_onnx" or how[1] not in ("half_pixel", "align_corners", "asymmetric") or how[2]:
        layer.unknown(how)
    before = [int(one) for one in layer.node.input(0).get_shape()]
    scales = (np.array(layer.made) / before)[_order(layer.maps)].astype(np.float32)
    inputs = (layer.maps.name, "", layer.graph.keep(scales))
    return layer.write(
        "Resize", *inputs, last=layer.maps.last, mode="linear", coordinate_transformation_mode=how[1]
    )


def _order(maps: Maps) -> list[int]:
    """Axes of the file in the order in which maps are stored."""
    return list(TO_FIRST if maps.last else range(4))


_OF_MAPS: dict[str, Callable[[_Layer], Value]] = {
    "Transpose": _transpose,
    "Convert": _convert,
    "Convolution": _convolution,
    "GroupConvolution": _convolution,
    "MaxPool": _pool,
    "Add": _add,
    "Clamp": _clamp,
    "Relu": lambda layer: layer.write("Relu", layer.maps.name, last=layer.maps.last),
    "Sigmoid": lambda layer: layer.write("Sigmoid", layer.maps.name, last=layer.maps.last),
    "Pad": _pad,
    "Interpolate": _resize,
    "Result": lambda layer: layer.maps,
}
_OF_WEIGHTS: dict[str, Callable[[_Layer], NDArray[Any]]] = {
    "Convert": lambda layer: layer.numbers(0).astype(np.float32),
    "Transpose": lambda layer: layer.numbers(0).transpose(layer.numbers(1)),
    "Reshape": lambda layer: layer.numbers(0).reshape(layer.made),
    "Unsqueeze": lambda layer: layer.numbers(0).reshape(layer.made),
}
"""What is computed while the graph is written."""

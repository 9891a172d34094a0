"""A small writer of ONNX graphs: typed constants, casts where the precision asks for them, named taps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
IR_VERSION = 10
PRODUCER = "gaitstream"
TAPS = "gaitstream.taps"
"""Key of the model property that lists the taps."""
Array = NDArray[Any]


class GraphWriter:
    """Collects nodes and initializers of one graph.

    In a half-precision graph the constants and operations are float16 unless a method says otherwise;
    graph inputs and outputs stay float32 or uint8, so that every runtime is fed alike.

    Attributes:
        half: whether the graph computes in float16.
        taps: names of intermediate values kept for comparisons, in order of computation.
    """

    def __init__(self, name: str, *, half: bool = False) -> None:
        self.name = name
        self.half = half
        self.taps: list[str] = []
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._seen: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def input(self, name: str, shape: Sequence[int | str], dtype: int = TensorProto.FLOAT) -> str:
        """Declare a graph input; a string is a dynamic dimension."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def output(self, name: str, value: str, shape: Sequence[int | str], *, precise: bool = False) -> None:
        """Declare a graph output in float32; `precise` says that the value is float32 already."""
        if self.half and not precise:
            self.op("Cast", value, to=TensorProto.FLOAT, out=name)
        else:
            self._rename(value, name)
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def op(self, kind: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """Add a node with one output and return the name of its value."""
        return self.ops(kind, *inputs, outputs=[out or self._fresh(kind)], **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: list[str], **attributes: Any) -> list[str]:
        """Add a node with several outputs."""
        self._nodes.append(
            helper.make_node(kind, list(inputs), outputs, name=f"{outputs[0]}:{kind}", **attributes)
        )
        return outputs

    def fresh(self, kind: str, count: int) -> list[str]:
        """Names for several outputs of one node."""
        return [self._fresh(kind) for _ in range(count)]

    def constant(self, array: Array | np.generic, *, precise: bool = False) -> str:
        """Add a constant; floats take the graph's precision unless `precise`. Equal ones are shared."""
        array = np.require(array, requirements="C")
        if array.dtype.kind == "f":
            array = array.astype(np.float16 if self.half and not precise else np.float32)
        key = (array.dtype.str, array.shape, hashlib.blake2b(array.tobytes()).digest())
        if key not in self._seen:
            name = f"const_{len(self._constants)}"
            self._constants[name] = numpy_helper.from_array(array, name)
            self._seen[key] = name
        return self._seen[key]

    def tap(self, name: str, value: str) -> str:
        """Give a value a lasting name by which a comparison can ask for it."""
        self.taps.append(name)
        return self._rename(value, name)

    def widen(self, value: str) -> str:
        """Cast to float32 where the graph computes in half precision."""
        return self.op("Cast", value, to=TensorProto.FLOAT) if self.half else value

    def narrow(self, value: str) -> str:
        """Cast a float32 value to the graph's precision."""
        return self.op("Cast", value, to=TensorProto.FLOAT16) if self.half else value

    def reshape(self, value: str, *shape: int) -> str:
        """Reshape; 0 keeps a dimension, -1 takes what is left."""
        return self.op("Reshape", value, self.constant(np.asarray(shape, np.int64)))

    def transpose(self, value: str, *order: int) -> str:
        """Permute the axes."""
        return self.op("Transpose", value, perm=list(order))

    def linear(self, value: str, weight: Array, bias: Array | None = None, *, precise: bool = False) -> str:
        """Multiply the last axis by `weight` `[inputs, outputs]` and add `bias`."""
        value = self.op("MatMul", value, self.constant(weight, precise=precise))
        return value if bias is None else self.op("Add", value, self.constant(bias, precise=precise))

    def conv(
        self,
        value: str,
        weight: Array,
        bias: Array | None = None,
        *,
        stride: int | Sequence[int] = 1,
        pad: int | Sequence[int] = 0,
    ) -> str:
        """Convolve `[n, c, ...]` with `weight` `[outputs, inputs, ...]` over one, two or three axes.

        Args:
            value: what is convolved.
            weight: `[outputs, inputs, kernel size of each axis]`.
            bias: `[outputs]`.
            stride: of all axes, or of each.
            pad: zeros on both sides of all axes, or of each.
        """
        axes = weight.ndim - 2
        strides = [stride] * axes if isinstance(stride, int) else list(stride)
        pads = [pad] * axes if isinstance(pad, int) else list(pad)
        inputs = [value, self.constant(weight)] + ([] if bias is None else [self.constant(bias)])
        return self.op("Conv", *inputs, strides=strides, pads=pads * 2, kernel_shape=list(weight.shape[2:]))

    def layer_norm(self, value: str, width: int, epsilon: float) -> str:
        """Normalise the last axis in float32, without affine; the result is float32."""
        scale = self.constant(np.ones(width, np.float32), precise=True)
        return self.op("LayerNormalization", self.widen(value), scale, axis=-1, epsilon=epsilon)

    def softmax(self, value: str, axis: int = -1) -> str:
        """Softmax computed in float32, returned in the graph's precision."""
        return self.narrow(self.op("Softmax", self.widen(value), axis=axis))

    def model(self, producer: str) -> onnx.ModelProto:
        """The checked graph, with inferred shapes."""
        graph = helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, list(self._constants.values())
        )
        model = helper.make_model(
            graph, producer_name=producer, opset_imports=[helper.make_opsetid("", OPSET)]
        )
        model.ir_version = IR_VERSION
        helper.set_model_props(model, {TAPS: ",".join(self.taps)})
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model)
        return model

    def _rename(self, value: str, name: str) -> str:
        """Rename a value at the node that makes it, or copy one that has a lasting name already."""
        if value in self.taps or value in {info.name for info in self._inputs}:
            return self.op("Identity", value, out=name)
        for node in self._nodes:
            for names in (node.input, node.output):
                for index, old in enumerate(names):
                    if old == value:
                        names[index] = name
        return name

    def _fresh(self, kind: str) -> str:
        self._count += 1
        return f"{kind.lower()}_{self._count}"


def taps_of(model: onnx.ModelProto) -> list[str]:
    """Names of a graph's taps, in order of computation."""
    listed = {prop.key: prop.value for prop in model.metadata_props}.get(TAPS, "")
    return [name for name in listed.split(",") if name]


def with_taps(model: onnx.ModelProto, names: Sequence[str] | None = None) -> onnx.ModelProto:
    """A copy of a graph that also outputs intermediate values, by default all of its taps."""
    names = taps_of(model) if names is None else names
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {info.name: info for info in copy.graph.value_info}
    copy.graph.output.extend(known[name] for name in names)
    return copy

"""TensorFlow Lite files, written layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
import tflite
from numpy.typing import NDArray

TYPES = {
    "float32": tflite.TensorType.FLOAT32,
    "float16": tflite.TensorType.FLOAT16,
    "int32": tflite.TensorType.INT32,
}
SAME, VALID = tflite.Padding.SAME, tflite.Padding.VALID
PLAIN, RELU6 = tflite.ActivationFunctionType.NONE, tflite.ActivationFunctionType.RELU6


class NetworkFile:
    """A file that grows: every method adds a layer and gives the number of the tensor that it makes.

    Args:
        picture: shape of the input `[1, height, width, channels]`.
    """

    def __init__(self, picture: Sequence[int]) -> None:
        self._builder = flatbuffers.Builder(1 << 20)
        self._buffers = [self._table("Buffer")]
        self._names: list[str] = []
        self._shapes: list[list[int]] = []
        self._kept: list[tuple[str, int]] = []
        self._codes: list[int] = []
        self._operators: list[int] = []
        self.picture = self._tensor("picture", list(picture), "float32", 0)

    def weights(self, values: NDArray[Any]) -> int:
        """Numbers of the file."""
        data = self._builder.CreateNumpyVector(np.frombuffer(values.tobytes(), np.uint8))
        self._buffers.append(self._table("Buffer", Data=data))
        name = f"weights_{len(self._names)}"
        return self._tensor(name, list(values.shape), values.dtype.name, len(self._buffers) - 1)

    def halves(self, values: NDArray[Any]) -> int:
        """Numbers in half precision, which a layer makes floats of, as published files have them."""
        half = self.weights(values.astype(np.float16))
        return self._layer("DEQUANTIZE", [half], list(values.shape), "DequantizeOptions")

    def convolve(
        self, maps: int, kernel: NDArray[Any], bias: NDArray[Any], stride: int = 1, *, activation: int = RELU6
    ) -> int:
        """A convolution that adds what makes `ceil(size / stride)`; kernel `[out, height, width, in]`."""
        _, height, width, _ = self._shapes[maps]
        shape = [1, -(-height // stride), -(-width // stride), kernel.shape[0]]
        inputs = [maps, self.halves(kernel), self.halves(bias)]
        how = {"Padding": SAME, "StrideW": stride, "StrideH": stride, "FusedActivationFunction": activation}
        return self._layer(
            "CONV_2D", inputs, shape, "Conv2DOptions", DilationWFactor=1, DilationHFactor=1, **how
        )

    def convolve_each(self, maps: int, kernel: NDArray[Any], bias: NDArray[Any], stride: int = 1) -> int:
        """A convolution of every channel by itself; kernel `[1, height, width, channels]`."""
        _, height, width, channels = self._shapes[maps]
        shape = [1, -(-height // stride), -(-width // stride), channels]
        inputs = [maps, self.halves(kernel), self.halves(bias)]
        how = {"Padding": SAME, "StrideW": stride, "StrideH": stride, "FusedActivationFunction": PLAIN}
        return self._layer(
            "DEPTHWISE_CONV_2D", inputs, shape, "DepthwiseConv2DOptions",
            DepthMultiplier=1, DilationWFactor=1, DilationHFactor=1, **how,
        )  # fmt: skip

    def add(self, one: int, other: int) -> int:
        """A sum."""
        return self._layer(
            "ADD", [one, other], self._shapes[one], "AddOptions", FusedActivationFunction=PLAIN
        )

    def pad(self, maps: int, pads: Sequence[Sequence[int]]) -> int:
        """Zeros around, before and after each axis."""
        shape = [size + sum(added) for size, added in zip(self._shapes[maps], pads, strict=True)]
        return self._layer("PAD", [maps, self.weights(np.array(pads, np.int32))], shape, "PadOptions")

    def pool(self, maps: int) -> int:
        """The maximum of every two by two."""
        _, height, width, channels = self._shapes[maps]
        how = {"StrideW": 2, "StrideH": 2, "FilterWidth": 2, "FilterHeight": 2}
        shape = [1, height // 2, width // 2, channels]
        return self._layer(
            "MAX_POOL_2D", [maps], shape, "Pool2DOptions", Padding=VALID, FusedActivationFunction=PLAIN, **how
        )

    def enlarge(self, maps: int, factor: int) -> int:
        """Linear interpolation, with corners where pixels have their middles."""
        _, height, width, channels = self._shapes[maps]
        size = np.array([height * factor, width * factor], np.int32)
        inputs = [maps, self.weights(size)]
        shape = [1, *map(int, size), channels]
        return self._layer("RESIZE_BILINEAR", inputs, shape, "ResizeBilinearOptions", HalfPixelCenters=True)

    def single(self, kind: str, maps: int) -> int:
        """A layer without options and weights."""
        return self._layer(kind, [maps], self._shapes[maps])

    def finish(self, outputs: dict[str, int]) -> bytes:
        """The file, its outputs by name."""
        for name, tensor in outputs.items():
            self._names[tensor] = name
        graph = self._table(
            "SubGraph",
            Tensors=self._offsets(self._tables()),
            Inputs=self._integers([self.picture]),
            Outputs=self._integers(list(outputs.values())),
            Operators=self._offsets(self._operators),
        )
        codes = self._offsets(
            [
                self._table("OperatorCode", DeprecatedBuiltinCode=min(code, 127), BuiltinCode=code, Version=2)
                for code in self._codes
            ]
        )
        model = self._table(
            "Model",
            Version=3,
            OperatorCodes=codes,
            Subgraphs=self._offsets([graph]),
            Buffers=self._offsets(self._buffers),
        )
        self._builder.Finish(model, file_identifier=b"TFL3")
        return bytes(self._builder.Output())

    def _layer(
        self,
        kind: str,
        inputs: Sequence[int],
        shape: list[int],
        options: str = "",
        **values: int | bool,
    ) -> int:
        code = getattr(tflite.BuiltinOperator, kind)
        if code not in self._codes:
            self._codes.append(code)
        made = self._tensor(f"{kind.lower()}_{len(self._names)}", shape, "float32", 0)
        fields: dict[str, int] = {}
        if options:
            fields = {
                "BuiltinOptionsType": getattr(tflite.BuiltinOptions, options),
                "BuiltinOptions": self._table(options, **values),
            }
        self._operators.append(
            self._table(
                "Operator",
                OpcodeIndex=self._codes.index(code),
                Inputs=self._integers(inputs),
                Outputs=self._integers([made]),
                **fields,
            )
        )
        return made

    def _tensor(self, name: str, shape: list[int], kind: str, buffer: int) -> int:
        self._names.append(name)
        self._shapes.append(shape)
        self._kept.append((kind, buffer))
        return len(self._names) - 1

    def _tables(self) -> list[int]:
        """All tensors, written."""
        written = []
        for name, shape, (kind, buffer) in zip(self._names, self._shapes, self._kept, strict=True):
            text = self._builder.CreateString(name)
            fields = {"Shape": self._integers(shape), "Type": TYPES[kind], "Buffer": buffer, "Name": text}
            written.append(self._table("Tensor", **fields))
        return written

    def _table(self, name: str, **fields: int | bool) -> int:
        getattr(tflite, f"{name}Start")(self._builder)
        for field, value in fields.items():
            getattr(tflite, f"{name}Add{field}")(self._builder, value)
        return int(getattr(tflite, f"{name}End")(self._builder))

    def _integers(self, values: Sequence[int]) -> int:
        return int(self._builder.CreateNumpyVector(np.array(values, np.int32)))

    def _offsets(self, tables: Sequence[int]) -> int:
        self._builder.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            self._builder.PrependUOffsetTRelative(table)
        return int(self._builder.EndVector())

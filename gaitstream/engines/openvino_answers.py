"""What OpenVINO answers, in plain types; without OpenVINO, which is slow to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaitstream.engines.proof import Layer, Proof, prove

if TYPE_CHECKING:
    import openvino as ov

NAMES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"}
MATRIX_LAYERS = frozenset(
    {
        "Convolution",
        "MatMul",
        "FullyConnected",
        "Deconvolution",
        "MHA",
        "ScaledDotProductAttention",
        "ScaledAttn",
        "GatherMatmul",
    }
)
NOT_COMPUTING = frozenset(
    {
        "Input",
        "Output",
        "Const",
        "Reorder",
        "Reshape",
        "Convert",
        "ShapeOf",
        "Gather",
        "Broadcast",
        "Split",
        "Concatenation",
        "Transpose",
        "StridedSlice",
        "Range",
        "Tile",
        "Subgraph_boundary",
    }
)
PRECISION_NAMES = frozenset(NAMES.values())


def port_shape(port: ov.Output | ov.ConstOutput) -> tuple[int, ...]:
    """Shape of an input or output, -1 where dynamic."""
    return tuple(-1 if size.is_dynamic else int(size.get_length()) for size in port.get_partial_shape())


def last_line(error: Exception) -> str:
    """What went wrong: OpenVINO's messages end with it, after lines of its own source positions."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def prove_compiled(compiled: ov.CompiledModel) -> Proof:
    """Read the precision every layer runs in from the runtime model."""
    layers = []
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        kind = str(info["layerType"].value)
        if kind in NOT_COMPUTING:
            continue
        executed = str(info["primitiveType"].value).rsplit("_", 1)[-1].lower()
        precision = NAMES.get(executed) or NAMES.get(str(info["runtimePrecision"].value), executed)
        if precision in PRECISION_NAMES:
            layers.append(Layer(node.get_friendly_name(), precision, kind in MATRIX_LAYERS))
    return prove(layers, "OpenVINO's runtime model")

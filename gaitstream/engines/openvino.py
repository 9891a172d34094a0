"""OpenVINO on the CPU: fp32, bf16, and int8 with the better of the two around it; asynchronous."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from gaitstream.engines.base import (
    Array,
    BuildRequest,
    Built,
    Engine,
    Feeds,
    Pending,
    Pixels,
    Probe,
    Progress,
    TensorSpec,
    no_progress,
)
from gaitstream.engines.openvino_answers import last_line, port_shape
from gaitstream.engines.proof import Layer, Proof, prove, require
from gaitstream.engines.slots import SlotPool
from gaitstream.errors import EngineError

if TYPE_CHECKING:
    import openvino as ov

EMULATED = frozenset({"fp8"})
"""Computed by rounding and multiplying in fp32, on any CPU: for comparison, never taken unasked."""
HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
CAPABILITIES = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16", "int8": "INT8"}
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
MAX_STREAMS = 4


class OpenVino:
    """The runtime of machines without a GPU."""

    name = "openvino"

    def probe(self, device: str | None = None) -> Probe:
        """Version, CPU name and what the CPU computes natively."""
        if device not in (None, "cpu"):
            raise EngineError(f"openvino compiles for 'cpu' here, not for {device!r}")
        core = _core()
        name = str(core.get_property("CPU", "FULL_DEVICE_NAME"))
        return Probe(
            version=_version(),
            device=f"cpu:{name}:{','.join(native_precisions(core))}",
            description=f"{name}, {os.cpu_count()} CPUs",
            accelerator=False,
            precisions=native_precisions(core),
        )

    def build(self, request: BuildRequest, progress: Progress = no_progress) -> Built:
        """Compile, prove the precision, and serialise."""
        progress("compiling", 0.0)
        compiled = _compile(request)
        proof = prove_compiled(compiled)
        if request.precision not in EMULATED:
            require(proof, request.precision, str(request.graph))
        progress("compiling", 1.0)
        stream: io.BytesIO = compiled.export_model()
        return Built(stream.getvalue(), proof)

    def load(self, request: BuildRequest, built: Built) -> Engine:
        """Import a serialised engine, or compile the graph when there is none."""
        if built.blob is None:
            return OpenVinoEngine(_compile(request), request.precision)
        try:
            compiled = _core().import_model(io.BytesIO(built.blob), "CPU", _settings(request))
        except RuntimeError as error:
            raise EngineError(
                f"openvino cannot read the engine of {request.graph}: {last_line(error)}"
            ) from error
        return OpenVinoEngine(compiled, request.precision)


class OpenVinoEngine(Engine):
    """A compiled OpenVINO model with a few infer requests that take turns."""

    runtime = "openvino"

    def __init__(self, compiled: ov.CompiledModel, precision: str) -> None:
        self._compiled: ov.CompiledModel | None = compiled
        self.precision = precision
        self.device = "cpu"
        self.inputs = {port.get_any_name(): _spec(port) for port in compiled.inputs}
        self.outputs = {port.get_any_name(): _spec(port) for port in compiled.outputs}
        streams = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        # One more than run at once, so that the next feeds are in place when a stream falls free.
        self._slots = SlotPool([_Request(compiled, list(self.outputs)) for _ in range(streams + 1)])

    def submit(self, feeds: Feeds) -> Pending:
        """Start on an idle infer request; when there is none, the oldest inference is finished first."""
        return self._slots.submit(self.check(feeds))

    def proof(self) -> Proof:
        """Counts over the runtime model's executed precisions."""
        if self._compiled is None:
            raise EngineError("the engine is closed")
        return prove_compiled(self._compiled)

    def close(self) -> None:
        """Finish what runs, then drop the requests and the model."""
        self._slots.close()
        self._compiled = None


class _Request:
    """An infer request and the names of its outputs."""

    def __init__(self, compiled: ov.CompiledModel, names: list[str]) -> None:
        self._request: ov.InferRequest | None = compiled.create_infer_request()
        self._names = names

    def start(self, feeds: dict[str, Array]) -> None:
        try:
            self._infer().start_async(feeds, share_inputs=True)
        except RuntimeError as error:
            raise EngineError(f"openvino failed: {last_line(error)}") from error

    def wait(self) -> dict[str, Array]:
        request = self._infer()
        try:
            request.wait()
            return {
                name: np.array(request.get_output_tensor(index).data)
                for index, name in enumerate(self._names)
            }
        except RuntimeError as error:
            raise EngineError(f"openvino failed: {last_line(error)}") from error

    def free(self) -> None:
        self._request = None

    def _infer(self) -> ov.InferRequest:
        if self._request is None:
            raise EngineError("the engine is closed")
        return self._request


def native_precisions(core: ov.Core) -> tuple[str, ...]:
    """What the CPU computes natively; OpenVINO takes any hint and silently runs it in something else."""
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return tuple(name for name, word in CAPABILITIES.items() if word in capabilities)


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


PRECISION_NAMES = frozenset(NAMES.values())


def _core() -> ov.Core:
    try:
        import openvino as ov
    except ImportError as error:
        raise EngineError(
            "OpenVINO cannot be imported; it comes with the plain install: pip install openvino"
        ) from error
    return ov.Core()


def _version() -> str:
    import openvino as ov

    return str(ov.__version__)


def _compile(request: BuildRequest) -> ov.CompiledModel:
    core = _core()
    if request.precision not in EMULATED.union(native_precisions(core)):
        raise EngineError(
            f"this CPU does not compute {request.precision} natively "
            f"(it has {', '.join(native_precisions(core))}): use one of these with openvino"
        )
    try:
        model = core.read_model(request.graph)
        if request.free_batch:
            model.reshape({port: [-1, *list(port.get_partial_shape())[1:]] for port in model.inputs})
        if request.pixels is not None:
            model = take_bytes(model, request.pixels)
        return core.compile_model(model, "CPU", _settings(request))
    except RuntimeError as error:
        raise EngineError(f"openvino cannot compile {request.graph}: {last_line(error)}") from error


def take_bytes(model: ov.Model, pixels: Pixels) -> ov.Model:
    """Put the making of floats from bytes into the graph, where its first layers absorb it."""
    from openvino import Layout, Type
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    for port in model.inputs:
        if len(port.get_partial_shape()) != 4 or not port.get_element_type().is_real():
            continue
        source = steps.input(port.get_any_name())
        source.tensor().set_element_type(Type.u8).set_layout(Layout("NHWC" if pixels.interleaved else "NCHW"))
        source.model().set_layout(Layout("NCHW"))
        work = source.preprocess().convert_element_type(Type.f32)
        if pixels.swap:
            work = work.reverse_channels()
        if any(pixels.mean):
            work = work.mean([pixels.scale * mean for mean in pixels.mean])
        gains = [pixels.scale * std for std in pixels.std]
        if gains != [1.0, 1.0, 1.0]:
            work.scale(gains)
    return steps.build()


def _settings(request: BuildRequest) -> dict[str, Any]:
    # The precision is always spelled out: left alone, OpenVINO takes bf16 wherever the CPU has it.
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": HINTS[_around(request.precision)],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    if request.threads is not None:
        settings["INFERENCE_NUM_THREADS"] = request.threads
    return settings


def _around(precision: str) -> str:
    """What layers compute in that the graph leaves in floating point: in int8 the best that the CPU has."""
    if precision in EMULATED:
        return "fp32"
    if precision != "int8":
        return precision
    return "bf16" if "bf16" in native_precisions(_core()) else "fp32"


def _spec(port: ov.ConstOutput) -> TensorSpec:
    dtype = np.dtype(port.get_element_type().to_dtype()).name
    return TensorSpec(port.get_any_name(), port_shape(port), dtype)

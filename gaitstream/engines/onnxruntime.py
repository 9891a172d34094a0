"""ONNX Runtime: the portable fallback, on CUDA or the CPU."""

from __future__ import annotations

import functools
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gaitstream.engines import cuda
from gaitstream.engines.base import (
    Array,
    BuildRequest,
    Built,
    Done,
    Engine,
    Feeds,
    Pending,
    Probe,
    Progress,
    TensorSpec,
    no_progress,
)
from gaitstream.engines.device import number_of
from gaitstream.engines.libraries import import_working
from gaitstream.engines.proof import Layer, Proof, prove, require
from gaitstream.errors import EngineError, MissingExtraError

if TYPE_CHECKING:
    import onnxruntime as ort

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
EXECUTED = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16", "int8": "int8", "uint8": "int8"}
QUANTISED_OPS = ("QLinear", "QGemm", "MatMulInteger", "ConvInteger", "QAttention")
"""Kernels that multiply integers, whatever type they write."""
MATRIX_OPS = ("Conv", "MatMul", "Gemm", "Attention")
NOT_COMPUTING = (
    "Cast",
    "QuantizeLinear",
    "DequantizeLinear",
    "Reorder",
    "Memcpy",
    "Reshape",
    "Transpose",
    "Shape",
    "Gather",
    "Slice",
    "Concat",
    "Expand",
)
ERRORS = 3
"""Of ONNX Runtime's log levels."""
WINDOW = 16
"""Frames of the window that a session is profiled with; graphs for chunks of windows need up to 15."""
NOTES = {
    (
        CPU,
        "fp16",
    ): "the CPU provider promotes half-typed nodes to fp32: weights are rounded, arithmetic is not",
    (CPU, "int8"): "the CPU provider multiplies integers only where a product's result is rounded too",
    (CUDA, "int8"): "the CUDA provider rounds to integers and multiplies floats",
}


class OnnxRuntime:
    """ONNX Runtime with the best provider installed, or the one named."""

    name = "onnxruntime"

    def __init__(self, provider: str | None = None) -> None:
        self._provider = provider

    def probe(self, device: str | None = None, *, to_run: bool = True) -> Probe:  # noqa: ARG002 - the same
        """Version and provider."""
        ort = _module()
        provider = self._pick(device)
        on_gpu = provider == CUDA
        return Probe(
            version=str(ort.__version__),
            device=f"cuda:{number_of(device)}" if on_gpu else f"cpu:{platform.machine()}",
            description=cuda.devices()[number_of(device)].name
            if on_gpu
            else f"{platform.machine()} CPU, {os.cpu_count()} CPUs",
            accelerator=on_gpu,
            precisions=("fp32", "fp16") if on_gpu else ("fp32",),
        )

    def build(self, request: BuildRequest, progress: Progress = no_progress) -> Built:
        """Open the graph once and prove its precision; ONNX Runtime compiles on every load."""
        progress("optimising", 0.0)
        engine = self._open(request)
        try:
            proof = engine.proof()
        finally:
            engine.close()
        if engine.provider == CUDA and request.precision != "int8":
            require(proof, request.precision, str(request.graph))
        progress("optimising", 1.0)
        return Built(None, proof)

    def load(self, request: BuildRequest, built: Built) -> Engine:  # noqa: ARG002 - nothing is kept
        """Open the graph."""
        return self._open(request)

    def _open(self, request: BuildRequest) -> OnnxRuntimeEngine:
        if request.precision == "bf16":
            raise EngineError("onnxruntime has no bf16 mode here: use --precision fp32 or fp16, or openvino")
        return OnnxRuntimeEngine(request, self._pick(request.device))

    def _pick(self, device: str | None) -> str:
        available = _module().get_available_providers()
        if self._provider is not None:
            return self._provider
        if device is None:
            wanted: tuple[str, ...] = (CUDA, CPU)
        elif device == "cpu":
            wanted = (CPU,)
        elif device.startswith("cuda"):
            wanted = (CUDA,)
        else:
            raise EngineError(f"onnxruntime runs on 'cpu' or 'cuda', not on {device!r}")
        for provider in wanted:
            if provider in available and (provider != CUDA or number_of(device) < len(cuda.devices())):
                return str(provider)
        raise EngineError(
            f"onnxruntime has no CUDA provider that works here (it has {', '.join(available)}): "
            "install gaitstream[gpu] in place of onnxruntime, or use --device cpu"
        )


class OnnxRuntimeEngine(Engine):
    """An inference session; on CUDA, outputs are bound so that each is copied once."""

    runtime = "onnxruntime"

    def __init__(self, request: BuildRequest, provider: str) -> None:
        self._request = request
        self.provider = provider
        self._session: ort.InferenceSession | None = _session(request, provider)
        self.precision = request.precision
        self._gpu = number_of(request.device) if provider == CUDA else 0
        self.device = f"cuda:{self._gpu}" if provider == CUDA else "cpu"
        self.inputs = {node.name: _spec(node) for node in self._session.get_inputs()}
        self.outputs = {node.name: _spec(node) for node in self._session.get_outputs()}

    def submit(self, feeds: Feeds) -> Pending:
        """Run now: sessions have no asynchronous call worth its thread."""
        checked = self.check(feeds)
        if self._session is None:
            raise EngineError("the engine is closed")
        names = list(self.outputs)
        try:
            if self.provider == CUDA:
                return Done(dict(zip(names, self._run_bound(self._session, checked), strict=True)))
            return Done(dict(zip(names, self._session.run(names, checked), strict=True)))
        except _errors() as error:
            raise EngineError(f"onnxruntime failed: {error}") from error

    def _run_bound(self, session: ort.InferenceSession, feeds: dict[str, Array]) -> list[Array]:
        binding = session.io_binding()
        for name, array in feeds.items():
            binding.bind_cpu_input(name, array)
        for name in self.outputs:
            binding.bind_output(name, "cuda", self._gpu)
        session.run_with_iobinding(binding)
        copied: list[Array] = binding.copy_outputs_to_cpu()
        return copied

    def proof(self) -> Proof:
        """Types the kernels really ran with, from one profiled run on zeros."""
        return prove_session(self._request, self.provider, self.inputs)

    def close(self) -> None:
        """Drop the session."""
        self._session = None


def prove_session(request: BuildRequest, provider: str, inputs: dict[str, TensorSpec] | Any) -> Proof:
    """Run the graph once with the profiler on and read the type each kernel wrote."""
    with tempfile.TemporaryDirectory(prefix="gaitstream-") as folder:
        session = _session(request, provider, profile=Path(folder) / "profile")
        zeros = {name: np.zeros(_shape(spec), spec.dtype) for name, spec in inputs.items()}
        try:
            session.run(None, zeros)
        except _errors() as error:
            raise EngineError(f"onnxruntime cannot run {request.graph}: {error}") from error
        events = json.loads(Path(session.end_profiling()).read_text())
    layers = [
        layer for event in events if event.get("cat") == "Node" for layer in _layer(event.get("args", {}))
    ]
    note = NOTES.get((provider, request.precision), "")
    return prove(layers, "ONNX Runtime's profile of one run", note)


def _layer(kernel: dict[str, Any]) -> list[Layer]:
    name = str(kernel.get("op_name", ""))
    if "output_type_shape" not in kernel or name.startswith(NOT_COMPUTING):
        return []
    types = [kind for output in kernel["output_type_shape"] for kind in output]
    precision = next((EXECUTED[kind] for kind in types if kind in EXECUTED), None)
    if name.startswith(QUANTISED_OPS):
        precision = "int8"
    return [Layer(name, precision, any(op in name for op in MATRIX_OPS))] if precision else []


def _shape(spec: TensorSpec) -> tuple[int, ...]:
    """A batch of one; where more varies, a window of frames long enough for temporal layers."""
    return tuple((WINDOW if axis else 1) if size < 0 else size for axis, size in enumerate(spec.shape))


def _module() -> Any:
    try:
        return import_working("onnxruntime", "InferenceSession")
    except ModuleNotFoundError as error:
        raise MissingExtraError("onnxruntime", "ort", "The runtime 'onnxruntime'") from error
    except ImportError as error:
        raise EngineError(
            f"onnxruntime does not load ({error}): install it again "
            "(pip install --force-reinstall onnxruntime, or onnxruntime-gpu)"
        ) from error


def _errors() -> tuple[type[Exception], ...]:
    """Every exception ONNX Runtime raises: they share no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return tuple(
        kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)
    )


def _session(request: BuildRequest, provider: str, profile: Path | None = None) -> ort.InferenceSession:
    ort = _module()
    # What a session says, and what it says before it has options: of CUDA's provider a warning each time.
    ort.set_default_logger_severity(ERRORS)
    options = ort.SessionOptions()
    options.log_severity_level = ERRORS
    if request.threads is not None:
        options.intra_op_num_threads = request.threads
    if request.precision == "int8":
        # On x86 it fuses unsigned activations alone, unless it is told that signed ones are meant.
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    providers: list[Any] = [CPU]
    if provider == CUDA:
        # TF32 is on by default and rounds the inputs of products to ten bits; references must not be.
        tf32 = {"use_tf32": "0"} if request.precision == "fp32" else {}
        providers = [(CUDA, {"device_id": str(number_of(request.device)), **tf32}), CPU]
        _load_cuda_libraries(ort)
    try:
        session = ort.InferenceSession(request.graph, options, providers=providers)
    except _errors() as error:
        raise EngineError(f"onnxruntime cannot open {request.graph}: {error}") from error
    # A provider whose libraries do not load is left out with a line in the log, and the CPU takes its place.
    if provider not in session.get_providers():
        raise EngineError(
            f"onnxruntime could not start {provider} for {request.graph} and fell back to "
            f"{', '.join(session.get_providers())}: its CUDA libraries are missing or of another version "
            "(pip install 'onnxruntime-gpu[cuda,cudnn]'), or use --device cpu"
        )
    return session


@functools.cache
def _load_cuda_libraries(ort: Any) -> None:
    """Load the CUDA and cuDNN libraries of NVIDIA's wheels, which lie on no search path, once."""
    if hasattr(ort, "preload_dlls"):  # from 1.21 on
        ort.preload_dlls()


def _spec(node: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else -1 for size in node.shape)
    if node.type not in TYPES:
        raise EngineError(f"{node.name!r} has type {node.type}; engines take {', '.join(sorted(TYPES))}")
    return TensorSpec(node.name, shape, TYPES[node.type])

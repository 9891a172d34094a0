"""OpenVINO on the CPU: fp32, bf16, and int8 with the better of the two around it."""

from __future__ import annotations

import ctypes
import io
import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from gaitstream.engines.base import BuildRequest, Built, Engine, Probe, Progress, no_progress
from gaitstream.engines.fixed_shapes import Shapes
from gaitstream.engines.graph_files import GraphState, graph_state
from gaitstream.engines.libraries import import_openvino
from gaitstream.engines.openvino_answers import last_line, prove_compiled
from gaitstream.engines.openvino_engine import OpenVinoEngine
from gaitstream.engines.openvino_graphs import compare_neighbours, fix_shapes, take_bytes
from gaitstream.engines.proof import Proof, require
from gaitstream.errors import EngineError, RefusedEngineError
from gaitstream.kernels.build import cpu_identity

if TYPE_CHECKING:
    import openvino as ov

    from gaitstream.engines.cache import ShapeCache

log = logging.getLogger(__name__)

EMULATED = frozenset({"fp8"})
"""Computed by rounding and multiplying in fp32, on any CPU: for comparison, never taken unasked."""
HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
CAPABILITIES = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16", "int8": "INT8"}
MOST_SHAPES = 8
"""Shapes that are compiled for beside any shape."""
MOST_BYTES = 96 << 20
"""Of weights, over all of them."""


class OpenVino:
    """The runtime of machines without a GPU."""

    name = "openvino"

    def probe(self, device: str | None = None, *, to_run: bool = True) -> Probe:  # noqa: ARG002 - the same
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
            has_tiles="amx_tile" in cpu_identity().split(),
        )

    def build(self, request: BuildRequest, progress: Progress = no_progress) -> Built:
        """Compile, prove the precision, and serialise."""
        progress("compiling", 0.0)
        compiled = _compile(request)
        proof = _proven(compiled, request)
        progress("compiling", 1.0)
        stream: io.BytesIO = compiled.export_model()
        return Built(stream.getvalue(), proof)

    def load(self, request: BuildRequest, built: Built) -> Engine:
        """Import a serialised engine, or compile the graph when there is none."""
        state = graph_state(request.graph)
        fixed = min(MOST_SHAPES, MOST_BYTES // max(sum(size for _, size, _ in state), 1))
        fixed = 0 if request.for_once else fixed
        compile_for = partial(_compile_for, request, state)
        if built.blob is None:
            return OpenVinoEngine(_compile(request), request.precision, compile_for, fixed)
        try:
            compiled = _core().import_model(io.BytesIO(built.blob), "CPU", _settings(request))
        except RuntimeError as error:
            raise RefusedEngineError(
                f"openvino cannot read the engine of {request.graph}: {last_line(error)}"
            ) from error
        return OpenVinoEngine(compiled, request.precision, compile_for, fixed)


def native_precisions(core: ov.Core) -> tuple[str, ...]:
    """What the CPU computes natively; OpenVINO takes any hint and silently runs it in something else."""
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return tuple(name for name, word in CAPABILITIES.items() if word in capabilities)


def _core() -> ov.Core:
    return cast("ov.Core", import_openvino().Core())


def _version() -> str:
    import openvino as ov

    return str(ov.__version__)


def _compile_for(request: BuildRequest, state: GraphState, shapes: Shapes) -> ov.CompiledModel | None:
    """The graph compiled for one shape of its inputs.

    None where its outputs then still have several shapes, and where a file of it is no longer what it was:
    two models must not answer by turns.
    """
    if graph_state(request.graph) != state:
        return None
    rows = shapes[0][0]
    kept = request.shapes if rows & (rows - 1) == 0 else None  # others may be any, and ever more
    try:
        if kept is not None:
            return _kept_for(kept, request, shapes)
        return _compile_fixed(request, shapes)[0]
    except (RuntimeError, EngineError) as error:
        log.debug("%s is not compiled for %s: %s", request.graph, shapes, last_line(error))
        return None


def _kept_for(kept: ShapeCache, request: BuildRequest, shapes: Shapes) -> ov.CompiledModel:
    """The graph compiled for one shape, from the cache where it is there."""
    made: list[ov.CompiledModel] = []

    def build() -> Built:
        compiled, proof = _compile_fixed(request, shapes)
        made.append(compiled)
        stream: io.BytesIO = compiled.export_model()
        return Built(stream.getvalue(), proof)

    built = kept.get(shapes, build)
    if not made:
        try:
            compiled = _core().import_model(io.BytesIO(built.blob or b""), "CPU", _settings(request))
            del built
            _return_freed_memory()
            return compiled
        except RuntimeError as error:
            kept.get(shapes, build, refuse=f"it did not load ({last_line(error)})")
    return made[0]


def _compile_fixed(request: BuildRequest, shapes: Shapes) -> tuple[ov.CompiledModel, Proof]:
    """The graph compiled for one shape.

    Raises:
        EngineError: its outputs still have several shapes, or it computes in something else.
    """
    core = _core()
    model = _prepared(core, request)
    if not fix_shapes(model, shapes):
        raise EngineError("its outputs still have several shapes")
    compiled = core.compile_model(model, "CPU", _settings(request))
    del model
    proof = _proven(compiled, request)
    _return_freed_memory()
    return compiled, proof


def _proven(compiled: ov.CompiledModel, request: BuildRequest) -> Proof:
    """What it computes in; an EngineError where that is not what was asked for."""
    proof = prove_compiled(compiled)
    if request.precision not in EMULATED:
        require(proof, request.precision, str(request.graph))
    return proof


def _return_freed_memory() -> None:
    """Give the system back what compiling freed: half of what the process grew by, and nobody asks for it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)


def _compile(request: BuildRequest) -> ov.CompiledModel:
    core = _core()
    if request.precision not in EMULATED.union(native_precisions(core)):
        raise EngineError(
            f"this CPU does not compute {request.precision} natively "
            f"(it has {', '.join(native_precisions(core))}): use one of these with openvino"
        )
    try:
        return core.compile_model(_prepared(core, request), "CPU", _settings(request))
    except RuntimeError as error:
        raise EngineError(f"openvino cannot compile {request.graph}: {last_line(error)}") from error


def _prepared(core: ov.Core, request: BuildRequest) -> ov.Model:
    """The graph with what the request asks for in it."""
    model = core.read_model(request.graph)
    if request.free_batch:
        model.reshape({port: [-1, *list(port.get_partial_shape())[1:]] for port in model.inputs})
    if request.pixels is not None:
        model = take_bytes(model, request.pixels)
    compare_neighbours(model)
    return model


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

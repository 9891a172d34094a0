"""ONNX to a serialised TensorRT or TensorRT-RTX engine, with its precision read back.

`trt` is the module: `tensorrt` 10 or 11, or `tensorrt_rtx`. What they do not share is asked of the module
itself, never of its version.
"""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gaitstream.engines.base import Batch, BuildRequest, Built, Progress, TensorSpec
from gaitstream.engines.bytes_in import graph_on_bytes
from gaitstream.engines.proof import Layer, Proof, prove, require
from gaitstream.engines.timing import Timings
from gaitstream.errors import EngineError

log = logging.getLogger(__name__)

TYPES = {
    "half": "fp16", "float": "fp32", "bfloat16": "bf16", "int8": "int8", "fp8": "fp8",
    "bf16": "bf16", "fp16": "fp16", "fp32": "fp32",
}  # fmt: skip
MATRIX_WORDS = (
    "correlation", "conv", "gemm", "matmul", "matrixmultiply", "fully", "mha", "attention", "runtime_fusion"
)  # fmt: skip
"""What the types of convolutions, products and kernels fused around a product hold."""
NOT_COMPUTING = ("shape_call", "signal", "wait", "reformat", "noop", "constant", "copy", "memset", "assert")
NOT_SAID = "N/A due to dynamic shapes"
"""In place of the types of an engine for any batch."""
LAYER_LINE = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<type>[^,]*), Inputs: (?P<rest>.*)$")
DATATYPE = re.compile(r"Datatype: (?P<words>[^,}\]]*)")
"""Type of a tensor, in some versions among words: `Channel major FP16 format where channel % 8 == 0`."""
TYPE_WORD = re.compile(rf"\b({'|'.join(TYPES)})\b", re.IGNORECASE)
WEIGHTS = re.compile(r'Weights: \{"Type": "(?P<type>\w+)"')
TACTIC = re.compile(r"TacticName: [^,]*?_(?P<type>i8i8|f16f16|bf16bf16|f32f32|tf32f32|tf32tf32|e4m3e4m3)_")
MULTIPLIED = {
    "i8i8": "int8", "f16f16": "fp16", "bf16bf16": "bf16", "f32f32": "fp32", "tf32f32": "fp32",
    "tf32tf32": "fp32", "e4m3e4m3": "fp8",
}  # fmt: skip
"""What a tactic's name says of what it multiplies."""


def build(
    trt: Any,
    request: BuildRequest,
    progress: Progress,
    *,
    optimization_level: int | None = None,
    timings: Timings | None = None,
) -> Built:
    """Compile a graph for this machine's GPU, or for `request.device` where the library can.

    Args:
        trt: the library.
        request: what to compile.
        progress: told of every phase.
        optimization_level: 0 to 5, how long the builder searches; None is its default.
        timings: what it has measured before; grows.

    Raises:
        EngineError: the graph does not parse or compile, or comes out in another precision.
    """
    with held_signals() as interrupted:
        logger = make_logger(trt)
        builder = trt.Builder(logger)
        # The parser owns the weights: it must live until the build is done.
        network, _parser = parse(trt, builder, logger, request)
        config = configure(trt, builder, network, request, optimization_level)
        timing_cache = None
        if timings is not None:
            # What cannot be read, or does not fit this device, is not taken: begin anew.
            for content in (timings.content, b""):
                timing_cache = config.create_timing_cache(content)
                if timing_cache is not None and config.set_timing_cache(timing_cache, False):
                    break
        if hasattr(trt, "IProgressMonitor"):
            config.progress_monitor = make_monitor(
                trt, lambda phase, done: progress(phase, done) and not interrupted()
            )
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise EngineError(f"{trt.__name__} cannot compile {request.graph}: {logger.reason()}")
        if timings is not None and timing_cache is not None:
            timings.content = bytes(timing_cache.serialize())
        proof = read_proof(trt, logger, plan, request.device)
        require(proof, request.precision, str(request.graph))
        return Built(bytes(plan), proof)


@contextmanager
def held_signals() -> Iterator[Callable[[], bool]]:
    """Signals that come meanwhile wait until it is asked, or the end.

    What their handlers raise would be lost where they come while TensorRT tells its logger or its monitor
    something: it prints the exception, and goes on.

    Yields:
        Calls the handlers of what has come; whether one of them raised, which is raised again at the end.
    """
    came: list[int] = []
    raised: list[BaseException] = []
    held: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        held = {number: handler for number, handler in handlers.items() if callable(handler)}

    def act() -> bool:
        while came:
            number = came.pop(0)
            try:
                held[number](number, None)
            except BaseException as error:  # noqa: BLE001 - raised again at the end
                raised.append(error)
        return bool(raised)

    try:
        for number in held:
            signal.signal(number, lambda number, _: came.append(number))
        yield act
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
        if act():
            raise raised[0]


def parse(trt: Any, builder: Any, logger: Any, request: BuildRequest) -> tuple[Any, Any]:
    """The graph as a strongly typed network (precision comes from nowhere else), and its parser."""
    flags = 0
    # TensorRT 11 knows strongly typed networks alone and may drop the flag; 10 must be told.
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if request.pixels is None:
        parsed = parser.parse_from_file(str(request.graph))
    else:  # the path tells where weights in files of their own lie
        parsed = parser.parse(graph_on_bytes(request.graph, request.pixels), str(request.graph))
    if not parsed:
        errors = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise EngineError(f"{trt.__name__} cannot read {request.graph}: {errors}")
    if request.free_batch:
        for tensor in [network.get_input(index) for index in range(network.num_inputs)]:
            if len(tensor.shape) > 1:
                tensor.shape = (-1, *tuple(tensor.shape)[1:])
    return network, parser


def configure(
    trt: Any, builder: Any, network: Any, request: BuildRequest, optimization_level: int | None
) -> Any:
    """Builder configuration: detailed layer names, the batch profile, and the target."""
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if request.precision == "fp32":
        # On by default, it rounds the inputs of products to ten bits: a reference for parity must not.
        config.clear_flag(trt.BuilderFlag.TF32)
    if optimization_level is not None:
        config.builder_optimization_level = optimization_level
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shapes = profile_shapes(tuple(tensor.shape), tensor.name, request.batch)
        if shapes is not None:
            profile.set_shape(tensor.name, *shapes)
    config.add_optimization_profile(profile)
    if hasattr(trt, "ComputeCapability"):
        named = (request.device or "").startswith("sm_")
        target(trt, config, str(request.device).replace("sm_", "SM") if named else "CURRENT")
    return config


def target(trt: Any, config: Any, capability: str) -> None:
    """Compile for one capability, such as `SM89`, where the library can cross-compile.

    `CURRENT` is that of the GPU at hand: told nothing, the library compiles for several, and not for all that
    it runs on.
    """
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)


WINDOW = (3, 30, 90)
"""Smallest, usual and largest number of frames that a graph over whole windows is compiled for."""


def profile_shapes(
    shape: tuple[int, ...], name: str, batch: Batch
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None:
    """Smallest, usual and largest shape of an input; None where it is fixed.

    The first dimension is the batch; a second open one is the frames of a window, see `WINDOW`.

    Raises:
        EngineError: more dimensions are open, or the batch is not.
    """
    if -1 not in shape:
        return None
    if shape[0] != -1 or shape[1:].count(-1) > 1:
        raise EngineError(
            f"input {name!r} has shape {list(shape)}: only the first dimension may be open, and the frames "
            "of a window"
        )
    small, usual, large = (
        (size, *(frames if one == -1 else one for one in shape[1:]))
        for size, frames in zip((batch.min, batch.opt, batch.max), WINDOW, strict=True)
    )
    return small, usual, large


def read_proof(trt: Any, logger: Any, plan: Any, device: str | None) -> Proof:
    """Precision of the engine's layers.

    The builder reports the finished engine's layers to its logger; without a GPU this is the one way to read
    them, since an inspector needs the engine on the device.
    """
    layers = [layer for line in logger.layers if (layer := parse_layer(line)) is not None]
    said = bool(layers) and not any(NOT_SAID in line for line in logger.layers)
    if said or (device is not None and device.startswith("sm_")):
        return prove(layers, f"the layers {trt.__name__} reported of the finished engine")
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError(f"{trt.__name__} cannot load the engine that it has built: {logger.reason()}")
    return inspect(trt, engine)


def inspect(trt: Any, engine: Any) -> Proof:
    """Precision of an engine on the device, by the engine inspector."""
    inspector = engine.create_engine_inspector()
    # Of an engine for any batch the types are known for the shapes of a context alone.
    context = _usual_context(trt, engine)
    if context is not None:
        inspector.execution_context = context
    layers = []
    for index in range(engine.num_layers):
        text = inspector.get_layer_information(index, trt.LayerInformationFormat.ONELINE)
        layers += [layer for line in text.splitlines() if (layer := parse_layer(line.strip())) is not None]
    return prove(layers, f"{trt.__name__}'s engine inspector")


def _usual_context(trt: Any, engine: Any) -> Any:
    """A context with its inputs at their usual shapes; None where there is no room for one."""
    context = engine.create_execution_context()
    if context is None:
        return None
    for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        if is_input and -1 in tuple(engine.get_tensor_shape(name)):
            context.set_input_shape(name, tuple(engine.get_tensor_profile_shape(name, 0)[1]))
    return context


def parse_layer(line: str) -> Layer | None:
    """One line of a layer report as a layer; None when it computes nothing in floating point."""
    match = LAYER_LINE.match(line)
    if match is None or match["type"].strip().lower().startswith(NOT_COMPUTING):
        return None
    outputs = match["rest"].partition("Outputs: ")[2].partition("TacticName:")[0]
    inputs = match["rest"].partition("Constants: ")[0].partition("Outputs: ")[0]
    matrix = any(word in match["type"].lower() for word in MATRIX_WORDS)
    # A product may write fp32 sums; what it multiplies is what it is judged by.
    tensors = DATATYPE.findall(inputs if matrix else outputs)
    words = [found for tensor in tensors if (found := TYPE_WORD.search(tensor))]
    floats = [TYPES[word[0].lower()] for word in words] or (_multiplied(match["rest"]) if matrix else [])
    return Layer(match["name"], floats[0], matrix) if floats else None


def _multiplied(rest: str) -> list[str]:
    """What a product multiplies where its tensors do not say."""
    weights, tactic = WEIGHTS.search(rest), TACTIC.search(rest)
    if weights is not None and weights["type"].lower() in TYPES:
        return [TYPES[weights["type"].lower()]]
    return [MULTIPLIED[tactic["type"]]] if tactic is not None else []


def make_logger(trt: Any) -> Any:
    """A logger that keeps the layer report and the last error, and passes warnings on."""

    class MessageCollector(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers: list[str] = []
            self.last_error = ""

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.last_error = message
            elif severity == trt.ILogger.Severity.WARNING:
                log.debug("%s: %s", trt.__name__, message)
            elif "LayerType: " in message:
                self.layers += [line.strip() for line in message.splitlines()]

        def reason(self) -> str:
            """The last error, once."""
            said, self.last_error = self.last_error, ""
            return said or "no reason given"

    return MessageCollector()


def make_monitor(trt: Any, progress: Progress) -> Any:
    """TensorRT's progress as one fraction that never goes back."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._phases: dict[str, tuple[str | None, int, int]] = {}
            self._done = 0.0
            self._go_on = True

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._phases[phase_name] = (parent_phase, 0, max(num_steps, 1))
            self._say(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            parent, _, steps = self._phases[phase_name]
            self._phases[phase_name] = (parent, step + 1, steps)
            self._say(phase_name)
            return self._go_on

        def phase_finish(self, phase_name: str) -> None:
            self._phases.pop(phase_name, None)

        def _say(self, phase_name: str) -> None:
            fraction, name = 0.0, str(phase_name)
            while name in self._phases:
                parent, step, steps = self._phases[name]
                fraction = min((step + fraction) / steps, 1.0)
                name = parent or ""
            self._done = max(self._done, fraction)
            self._go_on = progress(phase_name, self._done) and self._go_on

    return Monitor()


def tensor_spec(trt: Any, engine: Any, name: str) -> TensorSpec:
    """Specification of an engine's tensor."""
    dtype = trt.nptype(engine.get_tensor_dtype(name))
    return TensorSpec(name, tuple(engine.get_tensor_shape(name)), dtype.__name__)

"""What TensorRT's Python module looks like to `tensorrt_run`, with OpenVINO or a function behind it.

The product's own engine code runs against it: names, shapes, addresses and the order of calls are
TensorRT's, and what TensorRT refuses is refused. A "serialised engine" is the name of a program. Work
happens on the simulated device's streams.
"""

from __future__ import annotations

import enum
import weakref
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaitstream.engines.base import Batch, BuildRequest, Built, Engine, Pixels, TensorSpec
from gaitstream.engines.openvino import OpenVino
from gaitstream.engines.proof import Proof
from gaitstream.engines.simulated import SimulatedDevice
from gaitstream.engines.tensorrt_build import profile_shapes
from gaitstream.engines.tensorrt_run import TensorRtEngine
from gaitstream.errors import EngineError

Compute = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
"""Outputs by name from inputs by name."""


SCRATCH_BYTES = 4096
"""What a context of a file's graph works in."""


class Program(NamedTuple):
    """A graph and what computes it.

    -1 in a shape is the batch; beyond that, the frames of a window in an input, and in an output a size that
    depends on the data.
    """

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    compute: Compute
    batch: Batch = Batch()
    scratch_bytes: int = 0
    """Device memory that a context works in: what another one leaves there meanwhile is noticed."""


class TensorIOMode(enum.Enum):
    """As in TensorRT."""

    INPUT = 1
    OUTPUT = 2


class ILogger:
    """As in TensorRT; says nothing."""

    class Severity(enum.IntEnum):
        """As in TensorRT: smaller is worse."""

        ERROR = 1
        WARNING = 2


class ExecutionContextAllocationStrategy(enum.Enum):
    """As in TensorRT."""

    STATIC = 0
    USER_MANAGED = 2


def nptype(dtype: str) -> type[np.generic]:
    """Numpy's type of a tensor's."""
    return np.dtype(dtype).type


class SimulatedTensorRt:
    """The module.

    Args:
        device: where its contexts work.
        programs: what to run, by serialised engine.
    """

    __name__ = "simulated TensorRT"
    TensorIOMode = TensorIOMode
    ILogger = ILogger
    ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy
    nptype = staticmethod(nptype)

    def __init__(self, device: SimulatedDevice, programs: Mapping[bytes, Program]) -> None:
        self._device = device
        self._programs = dict(programs)
        self._logger: Any = None

    def Runtime(self, logger: Any) -> SimulatedTensorRt:  # noqa: N802 - TensorRT's name
        """Deserialises engines; what they refuse is told to the logger."""
        self._logger = logger
        return self

    def deserialize_cuda_engine(self, blob: bytes) -> CudaEngine | None:
        """The engine of a serialised form; None when it is none."""
        program = self._programs.get(blob)
        return CudaEngine(program, self._device, self._logger) if program else None


class CudaEngine:
    """As TensorRT's `ICudaEngine`, as far as it is used."""

    def __init__(self, program: Program, device: SimulatedDevice, logger: Any) -> None:
        self.program, self.device, self.logger = program, device, logger
        self._names = [*program.inputs, *program.outputs]
        self.num_io_tensors = len(self._names)
        self.device_memory_size_v2 = program.scratch_bytes

    def get_tensor_name(self, index: int) -> str:
        """Inputs first."""
        return self._names[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        """Input or output."""
        return TensorIOMode.INPUT if name in self.program.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> str:
        """Numpy's name of it."""
        return self._spec(name).dtype

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """-1 where open."""
        return self._spec(name).shape

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:  # noqa: ARG002
        """Smallest, usual and largest shape of an input that the engine was compiled for."""
        shape = self.program.inputs[name].shape
        return list(profile_shapes(shape, name, self.program.batch) or (shape, shape, shape))

    def create_execution_context(
        self, strategy: ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy.STATIC
    ) -> ExecutionContext:
        """A context, with memory of its own unless the strategy leaves it to the user."""
        context = ExecutionContext(self)
        if strategy is ExecutionContextAllocationStrategy.STATIC and self.program.scratch_bytes:
            memory = self.device.allocate(self.program.scratch_bytes)
            weakref.finalize(context, memory.free)
            context.set_device_memory(memory.pointer, memory.nbytes)
        return context

    def _spec(self, name: str) -> TensorSpec:
        return {**self.program.inputs, **self.program.outputs}[name]


class ExecutionContext:
    """As TensorRT's `IExecutionContext`: shapes and addresses are set, then work is queued on a stream."""

    def __init__(self, engine: CudaEngine) -> None:
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._scratch = (0, 0)

    def set_device_memory(self, memory: int, size: int) -> None:
        """What it works in."""
        self._scratch = (memory, size)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """False when the engine was not compiled for it."""
        smallest, _, largest = self._engine.get_tensor_profile_shape(name, 0)
        fits = self._engine.program.inputs[name].accepts(tuple(shape)) and all(
            low <= size <= high for low, size, high in zip(smallest, shape, largest, strict=True)
        )
        if fits:
            self._shapes[name] = tuple(shape)
        else:
            self._engine.logger.log(ILogger.Severity.ERROR, f"{name} does not satisfy the profile")
        return fits

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Where a tensor lies."""
        self._addresses[name] = memory
        return memory % 16 == 0

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """The shape that follows from the inputs' shapes; -1 where it does not."""
        program = self._engine.program
        if name in program.inputs:
            return self._shapes.get(name, program.inputs[name].shape)
        shape = program.outputs[name].shape
        batch = next((shape[0] for shape in self._shapes.values()), -1)
        return tuple(batch if size == -1 and index == 0 else size for index, size in enumerate(shape))

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Queue the inference; False when a shape or an address is missing."""
        program, scratch = self._engine.program, self._scratch
        if scratch[1] < program.scratch_bytes:
            return False
        if not {*program.inputs, *program.outputs} <= self._addresses.keys():
            return False
        if any(-1 in self.get_tensor_shape(name) for name in program.inputs):
            return False
        feeds = {name: (self._addresses[name], self.get_tensor_shape(name)) for name in program.inputs}
        targets = {name: self._addresses[name] for name in program.outputs}
        self._engine.device.launch(stream_handle, lambda: self._run(feeds, targets, scratch[0]))
        return True

    def _run(
        self, feeds: Mapping[str, tuple[int, tuple[int, ...]]], targets: Mapping[str, int], scratch: int
    ) -> None:
        device, program = self._engine.device, self._engine.program
        own = np.random.default_rng().integers(0, 256, program.scratch_bytes, np.uint8)
        if len(own):
            np.copyto(device.view(scratch, len(own)), own)
        arrays = {}
        for name, (pointer, shape) in feeds.items():
            dtype = np.dtype(program.inputs[name].dtype)
            arrays[name] = device.view(pointer, prod(shape) * dtype.itemsize).view(dtype).reshape(shape)
        found = program.compute(arrays)
        if len(own) and not np.array_equal(device.view(scratch, len(own)), own):
            raise EngineError("another inference worked in this one's memory")
        for name, array in found.items():
            flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            np.copyto(device.view(targets[name], flat.nbytes), flat)


def open_simulated(
    source: Path | Program,
    device: SimulatedDevice,
    *,
    precision: str = "fp32",
    batch: int = 16,
    pixels: Pixels | None = None,
) -> Engine:
    """An engine over the simulated device, through the code that runs TensorRT's.

    Args:
        source: an ONNX file, computed by OpenVINO, or what to run in its place.
        device: where.
        precision: what it is said to compute in.
        batch: largest batch.
        pixels: take a picture input as bytes.
    """
    blob = str(source).encode()
    sizes = Batch(1, batch, batch)
    program = read_program(source, pixels) if isinstance(source, Path) else source
    programs = {blob: program._replace(batch=sizes)}
    graph = source if isinstance(source, Path) else Path("program.onnx")
    request = BuildRequest(graph, precision, "cuda", sizes)
    built = Built(blob, Proof(source="nothing", layers={}, matrix_layers={}))
    return TensorRtEngine(SimulatedTensorRt(device, programs), "tensorrt", request, built, device)


def read_program(graph: Path, pixels: Pixels | None = None) -> Program:
    """An ONNX file as OpenVINO computes it, for any batch where it allows that.

    Raises:
        EngineError: it does not compile.
    """
    runtime, nothing = OpenVino(), Built(None, Proof(source="nothing", layers={}, matrix_layers={}))
    try:
        engine = runtime.load(BuildRequest(graph, "fp32", free_batch=True, pixels=pixels), nothing)
    except EngineError:
        engine = runtime.load(BuildRequest(graph, "fp32", pixels=pixels), nothing)
    return Program(engine.inputs, engine.outputs, engine.infer, scratch_bytes=SCRATCH_BYTES)

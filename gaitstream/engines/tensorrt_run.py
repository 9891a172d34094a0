"""Running a TensorRT or TensorRT-RTX engine: contexts on streams, over host arrays or the device's own."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from gaitstream.engines.base import Array, BuildRequest, Built, Engine, Feeds, Pending
from gaitstream.engines.device import Arena, Device, DeviceArray, DeviceStream, number_of
from gaitstream.engines.kept_kernels import KeptKernels
from gaitstream.engines.proof import Proof
from gaitstream.engines.pycuda_device import cuda_device
from gaitstream.engines.slots import NOWHERE, SlotPool
from gaitstream.engines.tensorrt_build import held_signals, make_logger, tensor_spec
from gaitstream.errors import EngineError, NoRoomError, RefusedEngineError
from gaitstream.kernels.dlpack import borrow

OUT_OF_MEMORY = re.compile(r"out\s?of\s?memory", re.IGNORECASE)
"""In what TensorRT and CUDA say."""
SLOTS = 2
"""Inferences under way at once: one computes while the next one's inputs are copied."""


class TensorRtEngine(Engine):
    """An engine on one GPU; host arrays go through two slots, device arrays through `execution`.

    Args:
        trt: the library.
        runtime: its name.
        request: what was compiled.
        built: the engine.
        device: where it runs; None is the GPU that `request` names.
    """

    def __init__(
        self, trt: Any, runtime: str, request: BuildRequest, built: Built, device: Device | None = None
    ) -> None:
        if built.blob is None:
            raise EngineError(f"{runtime} has no engine for {request.graph}")
        self.runtime = runtime
        self.precision = request.precision
        self.max_batch = request.batch.max
        self._built_proof = built.proof
        self._device = self.on_device = device or cuda_device(number_of(request.device))
        self.device = self._device.name
        with held_signals(), self._device.active():
            self._trt, self._logger = trt, make_logger(trt)
            # The engine needs its runtime as long as it lives.
            self._runtime = trt.Runtime(self._logger)
            self._engine = self._runtime.deserialize_cuda_engine(built.blob)
            if self._engine is None:
                reason = self._logger.reason()
                error = NoRoomError if OUT_OF_MEMORY.search(reason) else RefusedEngineError
                raise error(f"{runtime} cannot load the engine of {request.graph}: {reason}")
            self._kernels = KeptKernels(self._engine, built.blob) if hasattr(trt, "IRuntimeCache") else None
            self.scratch_bytes = int(self._engine.device_memory_size_v2)
            specs = [
                (tensor_spec(trt, self._engine, name), self._engine.get_tensor_mode(name))
                for name in map(self._engine.get_tensor_name, range(self._engine.num_io_tensors))
            ]
        self.inputs = {spec.name: spec for spec, mode in specs if mode == trt.TensorIOMode.INPUT}
        self.outputs = {spec.name: spec for spec, mode in specs if mode == trt.TensorIOMode.OUTPUT}
        self._executions: list[TensorRtExecution] = []
        self._slots: SlotPool | None = None
        self._lock = threading.Lock()
        self._by_stream: dict[int, tuple[DeviceStream, TensorRtExecution]] = {}
        self.execution().free()  # an engine whose outputs cannot be placed is refused now

    def submit(self, feeds: Feeds) -> Pending:
        """Queue copies and the inference; when both slots are busy the older one is finished first."""
        return self.submit_into(feeds, NOWHERE)

    def submit_into(self, feeds: Feeds, outputs: Mapping[str, Array]) -> Pending:
        """`submit`; results are copied to these arrays straight from the pinned memory."""
        checked = self.check(feeds)
        with self._lock:
            if self._slots is None:
                # Only now: on the device path no host array ever comes, and the buffers are large.
                self._slots = SlotPool([HostSlot(self, self._device) for _ in range(SLOTS)])
        return self._slots.submit(checked, outputs)

    def execution(self, scratch: DeviceArray | None = None) -> TensorRtExecution:
        """A context of its own, for inferences on device arrays; see `Engine.execution`."""
        if self._engine is None:
            raise EngineError("the engine is closed: open it again")
        context = self._context(scratch)
        made = TensorRtExecution(self._device, self._engine, context, self)
        self._executions.append(made)
        return made

    def _context(self, scratch: DeviceArray | None) -> Any:
        if scratch is not None and scratch.nbytes < self.scratch_bytes:
            raise EngineError(f"{scratch.nbytes} bytes to work in; the engine needs {self.scratch_bytes}")
        strategies = self._trt.ExecutionContextAllocationStrategy
        strategy = strategies.STATIC if scratch is None else strategies.USER_MANAGED
        with self._device.active():
            context = self._engine.create_execution_context(
                self._kernels.settings(strategy) if self._kernels is not None else strategy
            )
            if context is None:
                raise NoRoomError(
                    f"TensorRT could not make an execution context ({self._logger.reason()}): is the GPU out "
                    "of memory?"
                )
            if scratch is not None:
                context.set_device_memory(scratch.pointer, scratch.nbytes)
        return context

    def infer_on_device(
        self, feeds: Mapping[str, Any], stream: DeviceStream | None = None
    ) -> dict[str, DeviceArray]:
        """Queue one inference on device arrays; see `Engine.infer_on_device`."""
        with self._lock:
            handle = stream.handle if stream else 0
            if handle not in self._by_stream:
                self._by_stream[handle] = (stream or self._device.stream(), self.execution())
            stream, execution = self._by_stream[handle]
            arrays = {name: self._placed(name, feeds[name], stream) for name in self.named(feeds)}
            shapes = execution.output_shapes({name: array.shape for name, array in arrays.items()})
            arena = Arena(
                self._device, {name: (shapes[name], spec.dtype) for name, spec in self.outputs.items()}
            )
            ready = self._device.event()
            # The inputs stay as long as the outputs: their allocator knows nothing of this stream, and would
            # give memory that is still read to somebody else.
            held = arrays, arena
            outputs = {
                name: replace(array, stream=stream, ready=ready, owner=held)
                for name, array in arena.arrays.items()
            }
            execution.enqueue(arrays, outputs, stream)
            stream.record(ready)
        return outputs

    def _placed(self, name: str, array: Any, stream: DeviceStream) -> DeviceArray:
        """An input as an array of the device that `stream` may read."""
        if isinstance(array, DeviceArray):
            if array.ready is not None and array.stream is not stream:
                stream.wait(array.ready)
            placed, gpu = array, array.device.index
        else:
            lent = borrow(array, stream.handle)
            if not lent.on_device:
                raise EngineError(f"input {name!r} lies in host memory: use infer or submit")
            gpu = self._device.index if lent.gpu is None else lent.gpu
            placed = DeviceArray(lent.pointer, lent.shape, lent.dtype.name, self._device, owner=lent)
        if gpu != self._device.index:
            raise EngineError(
                f"input {name!r} lies on GPU {gpu}, the engine on GPU {self._device.index}: copy it there"
            )
        spec = self.inputs[name]
        if placed.dtype != spec.dtype or not spec.accepts(placed.shape):
            raise EngineError(
                f"input {name!r} takes {spec.dtype} {list(spec.shape)}, got {placed.dtype} "
                f"{list(placed.shape)}"
            )
        return placed

    def reason(self) -> str:
        """What TensorRT said when it refused last; once."""
        said: str = self._logger.reason()
        return said

    def proof(self) -> Proof:
        """The proof read when the engine was built."""
        return self._built_proof

    def close(self) -> None:
        """Finish what runs, then free contexts, buffers and the engine."""
        with self._lock:
            if self._slots is not None:
                self._slots.close()
            for stream, _ in self._by_stream.values():
                with contextlib.suppress(EngineError):  # whoever waits for the outputs is told
                    stream.synchronize()
            with self._device.active():
                if self._kernels is not None:
                    self._kernels.keep()
                for execution in self._executions:
                    execution.free()
                self._executions.clear()
                self._by_stream.clear()
                self._kernels = None
                self._engine = None
                self._runtime = None


class TensorRtExecution:
    """One execution context: one inference at a time, on any stream.

    Args:
        device: where.
        engine: TensorRT's.
        context: TensorRT's, of the engine.
        owner: the engine that it belongs to.

    Attributes:
        largest: shape of every input and output at the largest that the engine was compiled for.
    """

    def __init__(self, device: Device, engine: Any, context: Any, owner: TensorRtEngine) -> None:
        inputs, outputs = owner.inputs, owner.outputs
        self._device, self._outputs, self._reason = device, outputs, owner.reason
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._context = context
        with device.active():
            for name, spec in inputs.items():
                is_open = -1 in spec.shape
                self._set_shape(
                    name, tuple(engine.get_tensor_profile_shape(name, 0)[2]) if is_open else spec.shape
                )
            self.largest = {name: self._shape(name) for name in (*inputs, *outputs)}
        for name, shape in self.largest.items():
            if -1 in shape:
                raise EngineError(
                    f"output {name!r} has shape {list(outputs[name].shape)}, which depends on the data and "
                    "not on the batch alone: its room cannot be known beforehand. Export the model without "
                    "the step that selects (such as NMS), or padded to a fixed size"
                )

    def enqueue(
        self, feeds: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray], stream: DeviceStream
    ) -> None:
        """Queue an inference; the caller has seen to it that `stream` may read the feeds.

        Args:
            feeds: by input name.
            outputs: by output name: where the results go, of the shapes that follow from the feeds'.
            stream: where.

        Raises:
            EngineError: a shape does not fit, or TensorRT refuses.
        """
        with self._device.active():
            for name, array in feeds.items():
                self._set_shape(name, array.shape)
                self._set_address(name, array.pointer)
            for name, array in outputs.items():
                if array.shape != self._shape(name):
                    raise EngineError(f"output {name!r} has shape {self._shape(name)}, not {array.shape}")
                self._set_address(name, array.pointer)
            if not self._context.execute_async_v3(stream.handle):
                raise EngineError(f"TensorRT could not start the inference: {self._reason()}")

    def output_shapes(self, feeds: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Shapes of the outputs for inputs of these shapes."""
        with self._device.active():
            for name, shape in feeds.items():
                self._set_shape(name, shape)
            return {name: self._shape(name) for name in self._outputs}

    def free(self) -> None:
        """Drop the context; calling it again does nothing."""
        with self._device.active():
            self._context = None

    def _set_shape(self, name: str, shape: tuple[int, ...]) -> None:
        if self._shapes.get(name) == shape:
            return
        if not self._context.set_input_shape(name, shape):
            raise EngineError(f"the engine was not compiled for {name} {list(shape)}: {self._reason()}")
        self._shapes[name] = shape

    def _set_address(self, name: str, pointer: int) -> None:
        if self._addresses.get(name) == pointer:
            return
        if not self._context.set_tensor_address(name, pointer):
            raise EngineError(f"TensorRT does not take {name} at {pointer:#x}: {self._reason()}")
        self._addresses[name] = pointer

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._context.get_tensor_shape(name))


class HostSlot:
    """An execution with its stream, its device buffers and page-locked host buffers."""

    def __init__(self, engine: TensorRtEngine, device: Device) -> None:
        self._device = device
        self._outputs = engine.outputs
        self._execution = engine.execution()
        specs = {**engine.inputs, **engine.outputs}
        largest = self._execution.largest
        self._arena = Arena(device, {name: (largest[name], spec.dtype) for name, spec in specs.items()})
        self._host = {name: device.pinned(prod(largest[name]), spec.dtype) for name, spec in specs.items()}
        self._stream = device.stream()
        self._shapes: Mapping[str, tuple[int, ...]] = {}
        self._into: Mapping[str, Array] = NOWHERE

    def start(self, feeds: dict[str, Array], into: Mapping[str, Array]) -> None:
        """Queue copies in, the inference and copies out on the stream."""
        shapes = {name: array.shape for name, array in feeds.items()}
        self._shapes, self._into = self._execution.output_shapes(shapes), into
        arrays = {}
        for name, array in feeds.items():
            host = self._host[name][: array.size]
            host[:] = array.reshape(-1)
            arrays[name] = self._place(name, array.shape)
            self._device.upload(arrays[name].pointer, host, self._stream)
        outputs = {name: self._place(name, shape) for name, shape in self._shapes.items()}
        self._execution.enqueue(arrays, outputs, self._stream)
        for name, output in outputs.items():
            self._device.download(self._host[name][: prod(output.shape)], output.pointer, self._stream)

    def wait(self) -> dict[str, Array]:
        """Outputs by name, once the stream has drained."""
        self._stream.synchronize()
        found, into, self._into = {}, self._into, NOWHERE
        for name, shape in self._shapes.items():
            there = into.get(name)
            found[name] = np.empty(shape, self._host[name].dtype) if there is None else there
            found[name][...] = self._host[name][: prod(shape)].reshape(shape)
        return found

    def free(self) -> None:
        """Give the memory back."""
        with self._device.active():
            self._execution.free()
            self._arena.free()
            self._host.clear()

    def _place(self, name: str, shape: tuple[int, ...]) -> DeviceArray:
        whole = self._arena.arrays[name]
        return DeviceArray(whole.pointer, shape, whole.dtype, self._device, owner=self._arena)

"""Running a TensorRT or TensorRT-RTX engine: contexts, streams and device memory through PyCUDA."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gaitstream.engines.base import Array, BuildRequest, Built, Engine, Feeds, Pending
from gaitstream.engines.proof import Proof
from gaitstream.engines.tensorrt_build import make_logger, tensor_spec
from gaitstream.engines.turns import Turns
from gaitstream.errors import EngineError, MissingExtraError

SLOTS = 2
"""Inferences under way at once: one computes while the next one's inputs are copied."""


class TensorRtEngine(Engine):
    """An engine on GPU 0 with two slots, each its own context, stream and buffers of the largest batch."""

    def __init__(self, trt: Any, runtime: str, request: BuildRequest, built: Built) -> None:
        if built.blob is None:
            raise EngineError(f"{runtime} has no engine for {request.graph}")
        self.runtime = runtime
        self.precision = request.precision
        self.max_batch = request.batch.max
        self._built_proof = built.proof
        self._device = Device()
        with self._device.active():
            logger = make_logger(trt)
            # The engine needs its runtime as long as it lives.
            self._runtime = trt.Runtime(logger)
            self._engine = self._runtime.deserialize_cuda_engine(built.blob)
            if self._engine is None:
                reason = logger.last_error or "no reason given"
                raise EngineError(f"{runtime} cannot load the engine of {request.graph}: {reason}")
            specs = [
                (tensor_spec(trt, self._engine, name), self._engine.get_tensor_mode(name))
                for name in map(self._engine.get_tensor_name, range(self._engine.num_io_tensors))
            ]
            self.inputs = {spec.name: spec for spec, mode in specs if mode == trt.TensorIOMode.INPUT}
            self.outputs = {spec.name: spec for spec, mode in specs if mode == trt.TensorIOMode.OUTPUT}
            try:
                self._turns = Turns(
                    [
                        ContextSlot(self._device, self._engine, self.inputs, self.outputs, request.batch.max)
                        for _ in range(SLOTS)
                    ]
                )
            except self._device.cuda.Error as error:
                raise EngineError(
                    f"the GPU has no room for a batch of {request.batch.max} ({error}): "
                    "build with a smaller --batch"
                ) from error
        self.device = self._device.name

    def submit(self, feeds: Feeds) -> Pending:
        """Queue copies and the inference; when both slots are busy the older one is finished first."""
        return self._turns.submit(self.check(feeds))

    def proof(self) -> Proof:
        """The proof read when the engine was built."""
        return self._built_proof

    def close(self) -> None:
        """Finish what runs, then free contexts, buffers and the engine."""
        self._turns.close()
        with self._device.active():
            self._engine = None
            self._runtime = None


class Device:
    """GPU 0's primary context, which other CUDA libraries in this process share."""

    def __init__(self) -> None:
        try:
            import pycuda.driver as cuda
        except ImportError as error:
            raise MissingExtraError("pycuda", "gpu", "Running a TensorRT engine") from error
        cuda.init()
        device = cuda.Device(0)
        self.cuda = cuda
        self.name = str(device.name())
        self._context = device.retain_primary_context()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the context current in the calling thread."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    @contextmanager
    def calls(self) -> Iterator[None]:
        """The same, with CUDA's errors as `EngineError`."""
        with self.active():
            try:
                yield
            except self.cuda.Error as error:
                raise EngineError(f"CUDA failed: {error}") from error


class ContextSlot:
    """One execution context with its stream, its device buffers and page-locked host buffers."""

    def __init__(
        self, device: Device, engine: Any, inputs: dict[str, Any], outputs: dict[str, Any], batch: int
    ) -> None:
        cuda = device.cuda
        self._device, self._cuda = device, cuda
        self._context = engine.create_execution_context()
        if self._context is None:
            raise EngineError("TensorRT could not make an execution context: is the GPU out of memory?")
        self._stream = cuda.Stream()
        self._inputs, self._outputs = inputs, outputs
        self._host, self._memory = {}, {}
        for name, spec in {**inputs, **outputs}.items():
            shape = tuple(batch if size == -1 else size for size in spec.shape)
            host = cuda.pagelocked_empty(int(np.prod(shape)), np.dtype(spec.dtype))
            self._host[name] = host
            self._memory[name] = cuda.mem_alloc(max(host.nbytes, 1))
            self._context.set_tensor_address(name, int(self._memory[name]))

    def start(self, feeds: dict[str, Array]) -> None:
        """Queue copies in, the inference and copies out on the stream."""
        with self._device.calls():
            for name, array in feeds.items():
                if not self._context.set_input_shape(name, array.shape):
                    raise EngineError(f"the engine was not compiled for {name} {list(array.shape)}")
                host = self._host[name][: array.size]
                host[:] = array.reshape(-1)
                self._cuda.memcpy_htod_async(self._memory[name], host, self._stream)
            if not self._context.execute_async_v3(self._stream.handle):
                raise EngineError("TensorRT could not start the inference")
            for name in self._outputs:
                count = int(np.prod(self._shape(name)))
                self._cuda.memcpy_dtoh_async(self._host[name][:count], self._memory[name], self._stream)

    def wait(self) -> dict[str, Array]:
        """Outputs by name, once the stream has drained."""
        with self._device.calls():
            self._stream.synchronize()
            return {
                name: self._host[name][: int(np.prod(self._shape(name)))].reshape(self._shape(name)).copy()
                for name in self._outputs
            }

    def free(self) -> None:
        """Give the memory back."""
        with self._device.active():
            self._context = None
            for memory in self._memory.values():
                memory.free()
            self._memory.clear()
            self._host.clear()

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._context.get_tensor_shape(name))

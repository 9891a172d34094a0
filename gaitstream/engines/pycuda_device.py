"""A GPU through PyCUDA: primary context, streams, events, device and page-locked memory."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import EngineError, MissingExtraError, NoRoomError
from gaitstream.kernels.cuda import Launcher, launcher

_devices: dict[int, CudaDevice] = {}
_devices_lock = threading.Lock()


def cuda_device(index: int = 0) -> CudaDevice:
    """The one `CudaDevice` of a GPU in this process: engines that are to share arrays lie on the same.

    Raises:
        MissingExtraError: PyCUDA is not installed.
        EngineError: there is no such GPU.
    """
    with _devices_lock:
        if index not in _devices:
            _devices[index] = CudaDevice(index)
        return _devices[index]


def import_pycuda(purpose: str) -> Any:
    """PyCUDA's module of the driver.

    Args:
        purpose: what needs it, for the message.

    Raises:
        MissingExtraError: it is not installed.
        EngineError: it is, and does not load.
    """
    try:
        import pycuda.driver as cuda
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "pycuda", "cuda", purpose) from error
    except ImportError as error:
        raise EngineError(
            f"pycuda does not load ({error}): compile it against this machine's CUDA "
            "(pip install --force-reinstall --no-cache-dir --no-binary pycuda pycuda)"
        ) from error
    return cuda


class CudaDevice:
    """One GPU's primary context, which other CUDA libraries in this process share; see `cuda_device`.

    Args:
        index: number of the GPU.

    Raises:
        MissingExtraError: PyCUDA is not installed.
        EngineError: there is no such GPU.
    """

    def __init__(self, index: int = 0) -> None:
        self._cuda = cuda = import_pycuda("Running a TensorRT engine")
        try:
            cuda.init()
            count = cuda.Device.count()
            if index >= count:
                raise EngineError(f"there is no GPU {index}: this machine has {count}, counted from 0")
            device = cuda.Device(index)
            self._context = device.retain_primary_context()
        except cuda.Error as error:
            raise EngineError(f"CUDA failed: {error}") from error
        self.index = index
        self.name = str(device.name())

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the context current in the calling thread, and CUDA's errors `EngineError`s."""
        try:
            # Inside: after some failures the device refuses this, too.
            self._context.push()
            try:
                yield
            finally:
                self._context.pop()
        except self._cuda.MemoryError as error:
            raise NoRoomError(
                f"{self.name} has no room ({error}): build with a smaller --batch, or close what else uses it"
            ) from error
        except self._cuda.Error as error:
            raise EngineError(f"CUDA failed: {error}") from error

    def stream(self) -> CudaStream:
        """A new stream."""
        with self.active():
            return CudaStream(self, self._cuda)

    def event(self) -> CudaEvent:
        """A new event."""
        with self.active():
            return CudaEvent(self, self._cuda)

    def allocate(self, nbytes: int) -> CudaMemory:
        """New device memory."""
        with self.active():
            return CudaMemory(self, self._cuda.mem_alloc(nbytes), nbytes)

    def pinned(self, count: int, dtype: str) -> NDArray[Any]:
        """A page-locked host array, given back whoever holds it last and wherever that is."""
        with self.active():
            own = self._cuda.pagelocked_empty(count, np.dtype(dtype))
        # Over the same memory and not a view: it must not hold what has to be let go of in the context.
        memory = (ctypes.c_uint8 * own.nbytes).from_address(own.ctypes.data)
        array: NDArray[Any] = np.ndarray(count, own.dtype, memory)
        weakref.finalize(array, _drop, self, [own]).atexit = False
        return array

    def kernels(self) -> Launcher:
        """The kernels, loaded into this context once."""
        with self.active():
            return launcher()

    def upload(self, target: int, source: NDArray[Any], stream: Any) -> None:
        """Queue a copy to the device."""
        with self.active():
            self._cuda.memcpy_htod_async(target, source, stream.own)

    def download(self, target: NDArray[Any], source: int, stream: Any) -> None:
        """Queue a copy from the device."""
        with self.active():
            self._cuda.memcpy_dtoh_async(target, source, stream.own)


def _drop(device: CudaDevice, held: list[Any]) -> None:
    """Let go of something of PyCUDA's while the context is current: elsewhere it would never be freed."""
    with device.active():
        held.clear()


class CudaStream:
    """A stream of a `CudaDevice`."""

    def __init__(self, device: CudaDevice, cuda: Any) -> None:
        self._device = device
        self._held = [cuda.Stream()]
        self.handle = int(self.own.handle)
        weakref.finalize(self, _drop, device, self._held).atexit = False

    @property
    def own(self) -> Any:
        """PyCUDA's."""
        return self._held[0]

    def record(self, event: Any) -> None:
        """Set an event after everything queued so far."""
        with self._device.active():
            event.own.record(self.own)

    def wait(self, event: Any) -> None:
        """Have later work wait for an event."""
        with self._device.active():
            self.own.wait_for_event(event.own)

    def synchronize(self) -> None:
        """Wait until the stream is empty."""
        with self._device.active():
            self.own.synchronize()


class CudaEvent:
    """An event; the waiting thread sleeps instead of spinning."""

    def __init__(self, device: CudaDevice, cuda: Any) -> None:
        self._device = device
        flags = cuda.event_flags
        self._held = [cuda.Event(flags.DISABLE_TIMING | flags.BLOCKING_SYNC)]
        weakref.finalize(self, _drop, device, self._held).atexit = False

    @property
    def own(self) -> Any:
        """PyCUDA's."""
        return self._held[0]

    def synchronize(self) -> None:
        """Wait for it."""
        with self._device.active():
            self.own.synchronize()


class CudaMemory:
    """Memory of a `CudaDevice`."""

    def __init__(self, device: CudaDevice, own: Any, nbytes: int) -> None:
        self._device, self._own = device, own
        self.pointer, self.nbytes = int(own), nbytes

    def free(self) -> None:
        """Give it back."""
        with self._device.active():
            self._own.free()

"""Arrays that stay on the device: what an engine takes and gives without a round trip to the host.

A `Device` hands out memory, streams and page-locked host buffers; a `DeviceArray` is a piece of its memory
with the event after which it may be read. The real device is `pycuda_device.CudaDevice`;
`simulated.SimulatedDevice` does the same over host memory, for machines without a GPU.
"""

from __future__ import annotations

import weakref
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import EngineError, MissingExtraError
from gaitstream.kernels.host import Kernels

ALIGNMENT = 256
"""Bytes at whose multiples arrays of an arena begin; the kernels read 16 at a time."""


class DeviceEvent(Protocol):
    """A point in a stream's work."""

    def synchronize(self) -> None:
        """Wait, on the host, until the work before it is done.

        Raises:
            EngineError: the device failed.
        """
        ...


class DeviceStream(Protocol):
    """Work in order, beside that of other streams.

    Attributes:
        handle: what CUDA calls the stream, as a number.
    """

    handle: int

    def record(self, event: DeviceEvent) -> None:
        """Set an event after everything queued so far; who waits for an earlier setting goes on doing so."""
        ...

    def wait(self, event: DeviceEvent) -> None:
        """Have later work wait for an event of another stream; the host does not wait."""
        ...

    def synchronize(self) -> None:
        """Wait, on the host, until nothing is queued any more.

        Raises:
            EngineError: the device failed.
        """
        ...


class Memory(Protocol):
    """A piece of device memory.

    Attributes:
        pointer: device address.
        nbytes: its size.
    """

    pointer: int
    nbytes: int

    def free(self) -> None:
        """Give it back; nothing may use it any more."""
        ...


class Device(Protocol):
    """One GPU, or what stands for one.

    Attributes:
        index: its number.
        name: in words.
    """

    index: int
    name: str

    def active(self) -> AbstractContextManager[None]:
        """Make the device current in the calling thread, and the library's errors `EngineError`s."""
        ...

    def stream(self) -> DeviceStream:
        """A new stream."""
        ...

    def event(self) -> DeviceEvent:
        """A new event, to be recorded again and again; done until it is."""
        ...

    def allocate(self, nbytes: int) -> Memory:
        """New memory, aligned to `ALIGNMENT`.

        Raises:
            EngineError: the device has no room.
        """
        ...

    def pinned(self, count: int, dtype: str) -> NDArray[Any]:
        """A page-locked host array `[count]`, which copies can read or write while the host goes on."""
        ...

    def kernels(self) -> Kernels:
        """What launches our kernels here.

        Raises:
            KernelError: they cannot be compiled or loaded.
        """
        ...

    def upload(self, target: int, source: NDArray[Any], stream: DeviceStream) -> None:
        """Queue a copy of a page-locked array to a device address."""
        ...

    def download(self, target: NDArray[Any], source: int, stream: DeviceStream) -> None:
        """Queue a copy from a device address into a page-locked array."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceArray:
    """A C-contiguous array in device memory; torch, cupy and anything with DLPack take it without a copy.

    Attributes:
        pointer: device address of the first element.
        shape: its shape.
        dtype: numpy's name of the element type.
        device: where it lies.
        stream: where the work that writes it is queued; None when it is written.
        ready: after this event it may be read on another stream; None when it may at once.
        owner: keeps the memory alive.
    """

    pointer: int
    shape: tuple[int, ...]
    dtype: str
    device: Device
    stream: DeviceStream | None = None
    ready: DeviceEvent | None = None
    owner: object = field(default=None, repr=False)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    def rows(self, start: int, stop: int) -> DeviceArray:
        """Rows of the first dimension, without a copy."""
        row = self.nbytes // max(self.shape[0], 1)
        shape = (stop - start, *self.shape[1:])
        return DeviceArray(
            self.pointer + start * row, shape, self.dtype, self.device, self.stream, self.ready, self.owner
        )

    def to_host(self) -> NDArray[Any]:
        """A copy on the host; waits for it.

        Raises:
            EngineError: the device failed.
        """
        with self.device.active():
            stream = self.stream or self.device.stream()
            host = self.device.pinned(prod(self.shape), self.dtype)
            self.device.download(host, self.pointer, stream)
            stream.synchronize()
            return host.reshape(self.shape).copy()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """CUDA array interface, version 3: a consumer orders itself after `stream`."""
        return {
            "shape": self.shape,
            "typestr": np.dtype(self.dtype).str,
            "data": (self.pointer, False),
            "strides": None,
            "version": 3,
            "stream": self.stream.handle or 1 if self.stream else None,  # 0 is not allowed: ambiguous
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        """DLPack: CUDA memory of this device."""
        return 2, self.device.index

    def __dlpack__(self, *, stream: int | None = None, **kwargs: Any) -> object:
        """DLPack capsule of the memory, for work on `stream`.

        Raises:
            MissingExtraError: cuda-core, which makes the capsule, is not installed.
        """
        try:
            from cuda.core.utils import StridedMemoryView
        except ImportError as error:
            raise MissingExtraError("cuda-core", "gpu", "Sharing device arrays through DLPack") from error
        view = StridedMemoryView.from_cuda_array_interface(self, stream_ptr=stream or 1)
        return view.__dlpack__(stream=stream, **kwargs)


class Arena:
    """Device memory cut into arrays of fixed places, made once and used for every batch.

    Args:
        device: where.
        arrays: largest shape and dtype by name.

    The memory is given back by `free`, or when nothing holds the arena or its arrays any more.
    """

    def __init__(self, device: Device, arrays: dict[str, tuple[tuple[int, ...], str]]) -> None:
        offsets, total = {}, 0
        for name, (shape, dtype) in arrays.items():
            offsets[name] = total
            size = prod(shape) * np.dtype(dtype).itemsize
            total += -(-size // ALIGNMENT) * ALIGNMENT
        memory = device.allocate(max(total, 1))
        self._finalizer = weakref.finalize(self, memory.free)
        pointer = memory.pointer
        self._device, self._pointer = device, pointer
        self._places = {name: (offsets[name], *arrays[name]) for name in arrays}

    @property
    def arrays(self) -> dict[str, DeviceArray]:
        """By name, at their largest; each keeps the arena alive."""
        return {
            name: DeviceArray(self._pointer + offset, shape, dtype, self._device, owner=self)
            for name, (offset, shape, dtype) in self._places.items()
        }

    def take(self, name: str, rows: int) -> DeviceArray:
        """The first rows of an array."""
        offset, shape, dtype = self._places[name]
        return DeviceArray(self._pointer + offset, (rows, *shape[1:]), dtype, self._device, owner=self)

    def free(self) -> None:
        """Give the memory back; calling it again does nothing."""
        self._finalizer()


def number_of(device: str | None) -> int:
    """The GPU's number in `cuda` or `cuda:N`; None is the first.

    Raises:
        EngineError: it names no GPU.
    """
    kind, _, number = (device or "cuda").partition(":")
    if kind != "cuda" or not (number or "0").isdecimal():
        raise EngineError(f"{device!r} is no GPU: use 'cuda', or 'cuda:1' for the second")
    return int(number or 0)

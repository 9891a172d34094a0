"""Copies features from the GPU: few large asynchronous copies into page-locked memory that is used again.

nvinfer writes the outputs of one batch side by side, so what looks like one tensor per person is a handful of
stretches of memory. They are copied on a stream of our own: the encoders' streams do not wait for it.
"""

from __future__ import annotations

import ctypes
import functools
import threading
import weakref
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import EngineError

Bytes = NDArray[np.uint8]

SMALLEST_BLOCK = 2**20
"""Bytes; blocks of page-locked memory have sizes of powers of two from here on."""
MOST_IDLE = 8
"""Blocks of one size that are kept for later; each one more is freed."""

_DEVICE_TO_HOST = 2
_NON_BLOCKING = 1
_PORTABLE = 1


class Transfer(NamedTuple):
    """One stretch of device memory and where it goes on the host."""

    target: int
    source: int
    size: int
    """Bytes."""


class Copier(Protocol):
    """Memory of the host that the device can write to, and copies into it."""

    def allocate(self, size: int) -> Bytes:
        """Memory of `size` bytes; it is used again once nothing refers to it any more."""

    def copy(self, transfers: Sequence[Transfer]) -> None:
        """Copy from the device; everything has arrived when this returns.

        Raises:
            EngineError: the device reports an error.
        """


def merge(transfers: Iterable[Transfer]) -> list[Transfer]:
    """Join transfers that continue each other on both sides; the order of the sources is the result's."""
    merged: list[Transfer] = []
    for one in sorted(transfers, key=lambda transfer: transfer.source):
        last = merged[-1] if merged else None
        if last and last.source + last.size == one.source and last.target + last.size == one.target:
            merged[-1] = last._replace(size=last.size + one.size)
        else:
            merged.append(one)
    return merged


class CudaCopier:
    """Copies with the installed CUDA runtime, loaded with the first use.

    The runtime's API uses the device's primary context, as nvinfer does. Used by one thread at a time;
    memory comes back from any thread.

    Args:
        gpu: its number.
    """

    def __init__(self, gpu: int) -> None:
        self._gpu = gpu
        self._stream: ctypes.c_void_p | None = None
        self._idle: dict[int, list[int]] = defaultdict(list)
        # Memory comes back by a finalizer, which a garbage collection may run inside `allocate`.
        self._lock = threading.RLock()

    def allocate(self, size: int) -> Bytes:
        """Page-locked memory: a copy into ordinary memory would wait for the device piece by piece."""
        block = max(SMALLEST_BLOCK, 1 << (size - 1).bit_length())
        with self._lock:
            idle = self._idle[block]
            address = idle.pop() if idle else None
        if address is None:
            address = self._lock_pages(block)
        memory = (ctypes.c_uint8 * size).from_address(address)
        weakref.finalize(memory, self._give_back, block, address).atexit = False
        return np.frombuffer(memoryview(memory), np.uint8)

    def copy(self, transfers: Sequence[Transfer]) -> None:
        """Queue all copies, then wait once."""
        if not transfers:
            return
        runtime = self._select()
        if self._stream is None:
            stream = ctypes.c_void_p()
            _check(
                runtime.cudaStreamCreateWithFlags(ctypes.byref(stream), _NON_BLOCKING),
                "cudaStreamCreateWithFlags",
            )
            self._stream = stream
        error = 0
        for target, source, size in transfers:
            error = error or runtime.cudaMemcpyAsync(
                ctypes.c_void_p(target),
                ctypes.c_void_p(source),
                ctypes.c_size_t(size),
                _DEVICE_TO_HOST,
                self._stream,
            )
        # Waits also after an error: copies that were queued write into memory that is about to be given back.
        waited = runtime.cudaStreamSynchronize(self._stream)
        _check(error or waited, f"copying {sum(one.size for one in transfers)} bytes from the GPU")

    def _lock_pages(self, size: int) -> int:
        address = ctypes.c_void_p()
        runtime = self._select()
        _check(
            runtime.cudaHostAlloc(ctypes.byref(address), ctypes.c_size_t(size), _PORTABLE),
            f"cudaHostAlloc of {size} bytes",
        )
        return int(address.value or 0)

    def _give_back(self, block: int, address: int) -> None:
        with self._lock:
            if len(self._idle[block]) < MOST_IDLE:
                self._idle[block].append(address)
                return
        self._select().cudaFreeHost(ctypes.c_void_p(address))

    def _select(self) -> ctypes.CDLL:
        """The device is a property of the calling thread, and DeepStream's streaming threads come and go."""
        runtime = _runtime()
        _check(runtime.cudaSetDevice(self._gpu), f"cudaSetDevice({self._gpu})")
        return runtime


def _check(error: int, what: str) -> None:
    if error:
        raise EngineError(f"{what} failed with CUDA error {error}")


@functools.cache
def _runtime() -> ctypes.CDLL:
    for name in ("libcudart.so.13", "libcudart.so.12", "libcudart.so"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise EngineError("no CUDA runtime (libcudart.so.13 or .12) was found; use the image gaitstream:gpu")

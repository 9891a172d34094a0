"""A device without a GPU: host memory behind device handles, streams that run beside the host.

What is right on this device is right about order: every stream is a thread of its own that dawdles, by a
seeded random time, before each piece of work. So a result that is read before it was waited for, memory
that is used again too early, and a stream that does not wait for another, all show as wrong numbers. What
has not been written, and what a copy is about to overwrite, reads as NaN. Handles are no addresses: whoever
touches device memory from the host crashes. Copies and bytes are counted.
"""

from __future__ import annotations

import bisect
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.engines.device import ALIGNMENT
from gaitstream.errors import EngineError, NoRoomError
from gaitstream.kernels.host import HostKernels

FIRST_POINTER = 0x7F0000000000_00
"""Handles begin where no process of this machine has memory."""
UNWRITTEN = 0xFF
"""Every byte of memory nobody has written: NaN in every floating point type."""


@dataclass(slots=True)
class Traffic:
    """What went to the device and back.

    Attributes:
        uploads: copies to the device.
        upload_bytes: their bytes.
        downloads: copies from the device.
        download_bytes: their bytes.
        launches: pieces of work that are no copies.
        memory_bytes: allocated now.
    """

    uploads: int = 0
    upload_bytes: int = 0
    downloads: int = 0
    download_bytes: int = 0
    launches: int = 0
    memory_bytes: int = 0


class SimulatedDevice:
    """A `Device` over host memory.

    Args:
        seed: of the delays.
        delay_s: the longest a stream dawdles before a piece of work; 0 works at once.
        index: its number.
        room: bytes of memory it has; None has no end.

    Attributes:
        traffic: counters.
    """

    def __init__(self, seed: int = 0, delay_s: float = 0.0, index: int = 0, room: int | None = None) -> None:
        self._room = room
        self.index = index
        self.name = f"simulated device {index}"
        self.traffic = Traffic()
        self._random = random.Random(seed)
        self._delay_s = delay_s
        # Memory may be given back at any moment, by who collects garbage while the lock is held.
        self._lock = threading.RLock()
        self._pointers: list[int] = []
        self._buffers: dict[int, NDArray[np.uint8]] = {}
        self._next = FIRST_POINTER
        self._streams: list[SimulatedStream] = []

    @contextmanager
    def active(self) -> Iterator[None]:
        """Nothing to make current."""
        yield

    def stream(self) -> SimulatedStream:
        """A new stream, with a thread of its own."""
        with self._lock:
            seed = self._random.random()
            stream = SimulatedStream(len(self._streams) + 1, seed, self._delay_s)
            self._streams.append(stream)
        return stream

    def event(self) -> SimulatedEvent:
        """A new event."""
        return SimulatedEvent()

    def allocate(self, nbytes: int) -> SimulatedMemory:
        """New memory, unwritten."""
        with self._lock:
            if self._room is not None and self.traffic.memory_bytes + nbytes > self._room:
                raise NoRoomError(f"{self.name} has no room for {nbytes} bytes")
            pointer = self._next
            # Something unmapped between two pieces, so that an overrun is no piece's memory.
            self._next += -(-nbytes // ALIGNMENT) * ALIGNMENT + ALIGNMENT
            self._pointers.append(pointer)
            self._buffers[pointer] = np.full(nbytes, UNWRITTEN, np.uint8)
            self.traffic.memory_bytes += nbytes
        return SimulatedMemory(self, pointer, nbytes)

    def pinned(self, count: int, dtype: str) -> NDArray[Any]:
        """A host array, unwritten."""
        return np.full(count * np.dtype(dtype).itemsize, UNWRITTEN, np.uint8).view(dtype)

    def kernels(self) -> HostKernels:
        """The kernels' host build."""
        return HostKernels(self)

    def upload(self, target: int, source: NDArray[Any], stream: Any) -> None:
        """Queue a copy to the device; `source` is read when the stream comes to it."""
        self.traffic.uploads += 1
        self.traffic.upload_bytes += source.nbytes
        flat = source.reshape(-1).view(np.uint8)
        stream.queue(lambda: np.copyto(self.view(target, flat.nbytes), flat))

    def download(self, target: NDArray[Any], source: int, stream: Any) -> None:
        """Queue a copy from the device; until it is done `target` reads as unwritten."""
        self.traffic.downloads += 1
        self.traffic.download_bytes += target.nbytes
        flat = target.reshape(-1).view(np.uint8)
        flat[:] = UNWRITTEN
        stream.queue(lambda: np.copyto(flat, self.view(source, flat.nbytes)))

    def launch(self, handle: int, work: Callable[[], None]) -> None:
        """Queue work on a stream, given by its handle."""
        self.traffic.launches += 1
        self._streams[handle - 1].queue(work)

    def view(self, pointer: int, nbytes: int) -> NDArray[np.uint8]:
        """The bytes behind a handle; for work that runs on a stream.

        Raises:
            EngineError: there is no such memory, or not so much of it.
        """
        with self._lock:
            place = bisect.bisect_right(self._pointers, pointer) - 1
            start = self._pointers[place] if place >= 0 else 0
            buffer = self._buffers.get(start)
        if buffer is None or pointer - start + nbytes > len(buffer):
            raise EngineError(f"illegal access of {nbytes} bytes at {pointer:#x}")
        return buffer[pointer - start : pointer - start + nbytes]

    def release(self, pointer: int) -> None:
        """Take memory back, once all that is queued has run, as `cuMemFree` does."""
        for stream in self._streams:
            stream.drain()
        with self._lock:
            self.traffic.memory_bytes -= len(self._buffers.pop(pointer))
            self._pointers.remove(pointer)

    def close(self) -> None:
        """End the streams' threads."""
        for stream in self._streams:
            stream.end()


class SimulatedMemory:
    """Memory of a `SimulatedDevice`."""

    def __init__(self, device: SimulatedDevice, pointer: int, nbytes: int) -> None:
        self._device, self.pointer, self.nbytes = device, pointer, nbytes

    def free(self) -> None:
        """Give it back."""
        self._device.release(self.pointer)


class SimulatedEvent:
    """Done when the stream came to it; done until it is recorded."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.done.set()
        self.stream: SimulatedStream | None = None

    def synchronize(self) -> None:
        """Wait for it."""
        self.done.wait()
        if self.stream is not None:
            self.stream.check()


class SimulatedStream:
    """A thread that does one piece of work after another; after a failure it does nothing more."""

    def __init__(self, handle: int, seed: float, delay_s: float) -> None:
        self.handle = handle
        self._random, self._delay_s = random.Random(seed), delay_s
        self._work: deque[Callable[[], None] | None] = deque()
        self._wake = threading.Condition()
        self._busy = False
        self._error: EngineError | None = None
        self._thread = threading.Thread(target=self._run, name=f"simulated stream {handle}", daemon=True)
        self._thread.start()

    def queue(self, work: Callable[[], None] | None) -> None:
        """Add a piece of work; None ends the thread."""
        with self._wake:
            self._work.append(work)
            self._wake.notify_all()

    def record(self, event: Any) -> None:
        """Set an event after everything queued so far."""
        done = threading.Event()
        event.done, event.stream = done, self
        self.queue(done.set)

    def wait(self, event: Any) -> None:
        """Have later work wait for an event as it is set now."""
        done: threading.Event = event.done

        def wait() -> None:
            done.wait()

        self.queue(wait)

    def synchronize(self) -> None:
        """Wait until nothing is queued."""
        self.drain()
        self.check()

    def drain(self) -> None:
        """The same, whatever became of the work; from work of its own it returns at once."""
        if threading.current_thread() is self._thread:
            return
        with self._wake:
            self._wake.wait_for(lambda: not self._work and not self._busy)

    def check(self) -> None:
        """Raise what went wrong on the stream."""
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Finish what is queued, then end the thread."""
        self.queue(None)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._busy = False
                self._wake.notify_all()
                self._wake.wait_for(lambda: bool(self._work))
                work = self._work.popleft()
                self._busy = True
            if work is None:
                with self._wake:
                    self._busy = False
                    self._wake.notify_all()
                return
            if self._delay_s:
                time.sleep(self._random.random() * self._delay_s)
            self._do(work)
            del work  # it may be the last to hold memory

    def _do(self, work: Callable[[], None]) -> None:
        is_signal = getattr(work, "__func__", None) is threading.Event.set
        if self._error is not None and not is_signal:
            return
        try:
            work()
        except Exception as error:  # noqa: BLE001 - told to whoever waits, as CUDA does
            self._error = EngineError(f"the simulated device failed: {error}")

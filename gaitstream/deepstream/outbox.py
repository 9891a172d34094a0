"""Messages on their way from the probe to the parent process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from numpy.typing import NDArray

from gaitstream.deepstream.records import FrameRecord, Gone, pack

Counts = dict[str, dict[str, int]]
"""By camera and kind."""


class _Message(NamedTuple):
    frames: list[FrameRecord]
    gone: list[Gone]
    counters: Counts
    arrays: list[NDArray[Any]]
    plays: bool = False

    @property
    def size(self) -> int:
        return sum(array.nbytes for array in self.arrays)


class Outbox:
    """A bounded queue: the probe puts, one thread sends.

    When the parent is slow the oldest message of live cameras is dropped and counted; files wait. Cameras
    that left and counters are kept: they go with the next one.

    Args:
        send: takes the parts of a message; called from one thread.
        wait: let `put` wait for room instead of dropping: for files.
    """

    CAPACITY = 64
    """Messages."""
    CAPACITY_BYTES = 256 * 2**20
    """Of features: a crowd's buffers are a hundred times as large as those of an empty hall."""

    def __init__(self, send: Callable[[list[Any]], object], *, wait: bool = False) -> None:
        self._send = send
        self._wait = wait
        self._waiting: deque[_Message] = deque()
        self._bytes = 0
        self._ready = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def put(
        self, frames: list[FrameRecord], gone: list[Gone], counters: Counts, arrays: list[NDArray[Any]]
    ) -> None:
        """Queue a message; blocks for files alone."""
        message = _Message(frames, gone, counters, arrays)
        with self._ready:
            while self._wait and self._is_full(message.size):
                self._ready.wait()
            while self._is_full(message.size):
                message = self._drop_oldest(message)
            self._waiting.append(message)
            self._bytes += message.size
            self._ready.notify_all()

    def put_plays(self) -> None:
        """Queue the message that the pipeline plays: the first of all."""
        with self._ready:
            self._waiting.append(_Message([], [], {}, [], plays=True))
            self._ready.notify_all()

    def close(self, timeout_s: float) -> bool:
        """Send what waits, then end. Returns whether all was sent in time."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _is_full(self, more: int) -> bool:
        """A message that is larger than the queue goes into an empty one."""
        too_large = self._bytes + more > self.CAPACITY_BYTES
        return bool(self._waiting) and (too_large or len(self._waiting) >= self.CAPACITY)

    def _drop_oldest(self, message: _Message) -> _Message:
        """Make room; what must not be lost goes into the message after."""
        oldest = self._waiting.popleft()
        self._bytes -= oldest.size
        counters = oldest.counters
        for record in oldest.frames:
            counters = _added(counters, {record.camera: {"frames_dropped": 1}})
        following = self._waiting[0] if self._waiting else message
        following = following._replace(
            gone=[*oldest.gone, *following.gone], counters=_added(counters, following.counters)
        )
        if not self._waiting:
            return following
        self._waiting[0] = following
        return message

    def _run(self) -> None:
        while True:
            with self._ready:
                while not self._waiting and not self._closed:
                    self._ready.wait()
                if not self._waiting:
                    return
                message = self._waiting.popleft()
                self._bytes -= message.size
                self._ready.notify_all()
            self._send(pack(*message))


def _added(a: Counts, b: Counts) -> Counts:
    total = {camera: dict(counts) for camera, counts in a.items()}
    for camera, counts in b.items():
        own = total.setdefault(camera, {})
        for what, number in counts.items():
            own[what] = own.get(what, 0) + number
    return total

"""A few inferences under way at once: slots that take turns, for the runtimes with an asynchronous call."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from gaitstream.engines.base import Array, Pending
from gaitstream.errors import EngineError

NOWHERE: Mapping[str, Array] = MappingProxyType({})
"""No arrays of the caller's."""


class Slot(Protocol):
    """What one inference needs: a context or request with its buffers. One inference at a time."""

    def start(self, feeds: dict[str, Array], into: Mapping[str, Array]) -> None:
        """Begin.

        Args:
            feeds: checked and contiguous; unchanged and alive until `wait` has returned.
            into: the caller's arrays for outputs by name, in place of new ones.

        Raises:
            EngineError: the runtime refuses; the slot is free.
        """
        ...

    def wait(self) -> dict[str, Array]:
        """Outputs by name, in the caller's arrays or arrays of their own.

        Raises:
            EngineError: the runtime failed; the slot is free.
        """
        ...

    def free(self) -> None:
        """Give memory back; the slot is not used again."""
        ...


class SlotPool:
    """Hands out slots to callers from any thread."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._idle = list(slots)
        self._running: deque[_Running] = deque()
        self._closed = False
        self._lock = threading.Lock()

    def submit(self, feeds: dict[str, Array], into: Mapping[str, Array] = NOWHERE) -> Pending:
        """Start on an idle slot; when there is none, the oldest inference is finished first.

        Raises:
            EngineError: the engine is closed, or the runtime refuses.
        """
        with self._lock:
            if self._closed:
                raise EngineError("the engine is closed: open it again")
            if not self._idle:
                self._idle.append(self._running.popleft().finish())
            slot = self._idle[-1]
            slot.start(feeds, into)
            self._idle.pop()
            running = _Running(slot, feeds)
            self._running.append(running)
            return running

    def settle(self) -> None:
        """Finish what runs."""
        with self._lock:
            self._settle()

    def close(self) -> None:
        """Finish what runs, then free the slots; calling it again does nothing."""
        with self._lock:
            self._closed = True
            self._settle()
            while self._idle:
                self._idle.pop().free()

    def _settle(self) -> None:
        while self._running:
            self._idle.append(self._running.popleft().finish())


class _Running:
    """An inference under way: finished by whoever asks first, its caller or the next one in line."""

    def __init__(self, slot: Slot, feeds: dict[str, Array]) -> None:
        self._slot = slot
        self._feeds: dict[str, Array] | None = feeds  # the runtime may still read them
        self._outcome: dict[str, Array] | EngineError | None = None
        self._lock = threading.Lock()

    def result(self) -> dict[str, Array]:
        self.finish()
        if not isinstance(self._outcome, dict):
            raise self._outcome or EngineError("the inference gave nothing")
        return self._outcome

    def finish(self) -> Slot:
        """Wait, take the outputs out, and return the slot, which is free after this."""
        with self._lock:
            if self._feeds is not None:
                try:
                    self._outcome = self._slot.wait()
                except EngineError as error:
                    self._outcome = error
                self._feeds = None
            return self._slot

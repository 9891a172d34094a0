"""Events on their way to a journal that cannot take them for a while, as when the disk is full."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from gaitstream.errors import EventError, JournalWriteError

log = logging.getLogger(__name__)

Item = TypeVar("Item")

HELD = 10_000
"""Events held back at most, about a kilobyte each; beyond it the oldest are given up."""
RETRY_S = 1.0
"""Pause between attempts while the journal takes nothing."""


class EventBacklog(Generic[Item]):
    """Hands items on in their order; what cannot be handed on now waits, and later ones wait behind it.

    The run goes on meanwhile. Items are given up, and counted, when too many wait, when the journal refuses
    one for good, or when the run ends before there is room. Any thread may use it.

    Args:
        write: takes an item. JournalWriteError and OSError mean not now; EventError, and what says that it
            cannot be encoded, mean never.
        limit: most items that wait.
        clock: seconds, steady.

    Attributes:
        lost: items given up.
    """

    def __init__(
        self,
        write: Callable[[Item], object],
        limit: int = HELD,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lost = 0
        self._write = write
        self._limit = limit
        self._clock = clock
        self._waiting: deque[Item] = deque()
        self._blocked = False
        self._due_s = 0.0
        self._order = threading.Lock()

    @property
    def waiting(self) -> int:
        """Items held back."""
        return len(self._waiting)

    def put(self, item: Item) -> None:
        """Hand an item on, or hold it back."""
        with self._order:
            self._waiting.append(item)
            if len(self._waiting) > self._limit:
                self._waiting.popleft()
                self.lost += 1
            if not self._blocked or self._clock() >= self._due_s:
                self._hand_on()

    def retry(self) -> None:
        """Try again when something waits and the pause is over; call it about once a second."""
        with self._order:
            if self._waiting and self._clock() >= self._due_s:
                self._hand_on()

    def close(self) -> None:
        """Try a last time, and give up what still waits."""
        with self._order:
            self._hand_on()
            if self._waiting:
                log.error("%d events could not be written and are lost", len(self._waiting))
                self.lost += len(self._waiting)
                self._waiting.clear()

    def _hand_on(self) -> None:
        while self._waiting:
            try:
                self._write(self._waiting[0])
            except (JournalWriteError, OSError) as error:
                self._hold_back(error)
                return
            except (EventError, OverflowError, TypeError, ValueError) as error:  # it cannot be encoded
                log.error("an event is given up: %s", error)
                self.lost += 1
            self._waiting.popleft()
        if self._blocked:
            self._blocked = False
            log.warning("events are written again; %d are lost since the start", self.lost)

    def _hold_back(self, error: Exception) -> None:
        if not self._blocked:
            log.error("events cannot be written now (%s); the run goes on, holds them and tries again", error)
        self._blocked = True
        self._due_s = self._clock() + RETRY_S

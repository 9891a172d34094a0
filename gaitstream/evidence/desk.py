"""Where the pipeline leaves what is to be kept: bounded in number and bytes, never waited for."""

from __future__ import annotations

import queue
import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Desk(Generic[T]):
    """A queue between one thread that must not wait and one that may.

    Args:
        most_items: that may wait.
        most_bytes: of memory that they may hold together.
    """

    def __init__(self, most_items: int, most_bytes: int) -> None:
        self._most_items = most_items
        self._most_bytes = most_bytes
        self._items: queue.SimpleQueue[tuple[T, int]] = queue.SimpleQueue()
        self._bytes = 0
        self._guard = threading.Lock()

    def put(self, item: T, nbytes: int) -> bool:
        """Leave something; False when there is no room for it: then it is not taken."""
        with self._guard:
            if self._items.qsize() >= self._most_items or self._bytes + nbytes > self._most_bytes:
                return False
            self._bytes += nbytes
        self._items.put((item, nbytes))
        return True

    def take(self, timeout_s: float) -> T | None:
        """The oldest; None when nothing came in this time."""
        try:
            item, nbytes = self._items.get(timeout=timeout_s)
        except queue.Empty:
            return None
        with self._guard:
            self._bytes -= nbytes
        return item

"""Connections to a database that threads borrow: the console's threads come and go with its work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

MOST = 8
"""Connections of one database; further threads wait until one is given back."""


class Closable(Protocol):
    """What can be closed."""

    def close(self) -> None:
        """Let go of it."""


C = TypeVar("C", bound=Closable)


class ConnectionPool(Generic[C]):
    """Lends connections to threads; any thread.

    Args:
        connect: opens one.
        is_whole: whether one that is given back may be lent again.
    """

    def __init__(self, connect: Callable[[], C], is_whole: Callable[[C], bool]) -> None:
        self._connect = connect
        self._is_whole = is_whole
        self._free: list[C] = []
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(MOST)
        self._borrowed = threading.local()
        self._closed = False

    @contextmanager
    def borrow(self) -> Iterator[C]:
        """A connection for this thread alone until the block ends; blocks within get the same one."""
        mine: C | None = getattr(self._borrowed, "connection", None)
        if mine is not None:
            yield mine
            return
        with self._room:
            connection = self._take()
            self._borrowed.connection = connection
            try:
                yield connection
            finally:
                self._borrowed.connection = None
                self._give_back(connection)

    def close(self) -> None:
        """Close all; those that are lent, when they are given back."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
        for connection in free:
            connection.close()

    def _take(self) -> C:
        with self._lock:
            if self._free:
                return self._free.pop()
        return self._connect()

    def _give_back(self, connection: C) -> None:
        with self._lock:
            if not self._closed and self._is_whole(connection):
                self._free.append(connection)
                return
        connection.close()

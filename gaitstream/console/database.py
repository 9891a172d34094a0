"""A SQLite file that many threads read and one writes: the console's accounts and its history."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gaitstream.errors import ConsoleError

BUSY_S = 10.0
"""How long a writer waits for another."""


class Database:
    """One file with mode 0600 in WAL mode; each thread has a connection of its own.

    Args:
        path: the file; made when missing.
        tables: statements that make its tables, each `IF NOT EXISTS`.

    Raises:
        ConsoleError: the file cannot be opened, or is no database.
    """

    def __init__(self, path: Path, tables: str) -> None:
        self.path = path
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self.connection().executescript(tables)
        except (OSError, sqlite3.Error) as error:
            raise ConsoleError(
                f"{path} cannot be used by the console ({error}); give another folder with --state"
            ) from error

    def connection(self) -> sqlite3.Connection:
        """This thread's connection, which commits by itself outside of `writing`."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            found.executescript(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON; "
                "PRAGMA cache_size = -16000"
            )
            self._local.connection = found
            with self._lock:
                self._all.append(found)
        return found

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is kept at the end of the block, or none when it raises."""
        connection = self.connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for connection in self._all:
                connection.close()
            self._all.clear()

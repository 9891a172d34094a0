"""A SQLite file that many threads read and one writes: the console's accounts and its history."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gaitstream.console.pooling import ConnectionPool
from gaitstream.errors import ConsoleError

BUSY_S = 10.0
"""How long a writer waits for another."""


class Database:
    """One file with mode 0600 in WAL mode; any thread.

    Args:
        path: the file; made when missing.
        tables: statements that make its tables, each `IF NOT EXISTS`.

    Raises:
        ConsoleError: the file cannot be opened, or is no database.
    """

    def __init__(self, path: Path, tables: str) -> None:
        self.path = path
        self._pool = ConnectionPool(self._connect, lambda one: not one.in_transaction)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            with self._pool.borrow() as connection:
                connection.executescript(tables)
        except (OSError, sqlite3.Error) as error:
            raise ConsoleError(
                f"{path} cannot be used by the console ({error}); give another folder with --state"
            ) from error

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        """The rows of a statement; within `writing` it is part of this thread's transaction.

        Raises:
            ConsoleError: the file is locked, or its disk is full.
        """
        with self._told(), self._pool.borrow() as connection:
            return connection.execute(query, values).fetchall()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is kept at the end of the block, or none when it raises.

        Raises:
            ConsoleError: the file is locked, or its disk is full.
        """
        with self._told(), self._pool.borrow() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file."""
        self._pool.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise ConsoleError(
                f"{self.path} cannot be used now ({error}); see that its disk has room, and that no other "
                "process holds it"
            ) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON; "
            "PRAGMA cache_size = -16000"
        )
        return connection

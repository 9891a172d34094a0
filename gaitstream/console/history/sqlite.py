"""A history in one SQLite file: the usual one."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gaitstream.console.database import Database
from gaitstream.console.history import sql
from gaitstream.console.history.base import EventFilter, EventPage, Place, StoredEvent
from gaitstream.errors import ConsoleError
from gaitstream.events import Event

TABLES = """
CREATE TABLE IF NOT EXISTS label (
    id INTEGER PRIMARY KEY AUTOINCREMENT, space TEXT NOT NULL, text TEXT NOT NULL, UNIQUE (space, text)
);
CREATE TABLE IF NOT EXISTS event (
    id INTEGER PRIMARY KEY, event_id BLOB NOT NULL UNIQUE, time_ns INTEGER NOT NULL, kind INTEGER NOT NULL,
    camera INTEGER, person INTEGER, status INTEGER, reason INTEGER, run INTEGER,
    track INTEGER NOT NULL, waits INTEGER NOT NULL, data BLOB NOT NULL
)
"""
PRUNE_AT_ONCE = 5000
"""Rows deleted in one transaction, so that nobody waits long."""


class SqliteHistory:
    """See `gaitstream.console.history.base.History`.

    Args:
        path: the file; made when missing.
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path, ";".join((TABLES, *sql.index_statements(""))))
        self._labels = sql.Labels(self._rows)

    def add(self, events: Sequence[Event]) -> list[StoredEvent]:
        """See `History`."""
        with self._writing():
            return sql.add(events, self._labels, self._rows)

    def page(self, wanted: EventFilter, limit: int, before: Place | None = None) -> EventPage:
        """See `History`."""
        return sql.page(wanted, limit, before, self._labels, self._rows)

    def event(self, event_id: str) -> StoredEvent | None:
        """See `History`."""
        return sql.one(uuid.UUID(event_id).bytes, self._labels, self._rows)

    def track(self, run: str, camera: str, track: int) -> list[StoredEvent]:
        """See `History`."""
        return sql.track(run, camera, track, self._labels, self._rows)

    def settle(self, event_id: str) -> None:
        """See `History`."""
        with self._writing():
            self._rows("UPDATE event SET waits = 0 WHERE event_id = ?", (uuid.UUID(event_id).bytes,))

    def forget(self, person: str) -> int:
        """See `History`."""
        with self._writing():
            count = sql.forget(person, self._labels, self._rows)
        self._rows("PRAGMA wal_checkpoint(TRUNCATE)", ())
        return count

    def prune(self, before_ns: int) -> int:
        """See `History`."""
        count = 0
        while True:
            with self._writing():
                gone = self._rows(
                    "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE time_ns < ? LIMIT ?) "
                    "RETURNING id",
                    (before_ns, PRUNE_AT_ONCE),
                )
            count += len(gone)
            if len(gone) < PRUNE_AT_ONCE:
                return count

    def close(self) -> None:
        """See `History`."""
        self.database.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self.database.writing():
                yield
        except BaseException:
            self._labels.clear()
            raise

    def _rows(self, query: str, values: Sequence[object]) -> list[Any]:
        try:
            return self.database.connection().execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise ConsoleError(f"the history {self.database.path}: {error}") from error

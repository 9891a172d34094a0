"""A history in one SQLite file: the usual one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gaitstream.console.database import Database
from gaitstream.console.history import sql
from gaitstream.console.history.base import LATEST_NS, HistoryPlace
from gaitstream.console.history.wanted import IndexParts
from gaitstream.errors import ConsoleError

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


class SqliteHistory(sql.SqlHistory):
    """See `gaitstream.console.history.base.History`.

    Args:
        path: the file; made when missing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.database = Database(path, ";".join((TABLES, *sql.index_statements(""))))

    def forget(self, person: str) -> int:
        """See `History`."""
        with self._changing():
            count = sql.forget(person, self._labels, self._rows)
        self._rows("PRAGMA wal_checkpoint(TRUNCATE)", ())
        return count

    def prune(self, before_ns: int, ahead_ns: int = LATEST_NS) -> int:
        """See `History`."""
        count, last = 0, sql.last_past(before_ns, self._rows)
        while True:
            with self._changing():
                gone = self._rows(
                    f"DELETE FROM event WHERE id IN (SELECT id FROM event WHERE {sql.PAST} LIMIT ?) "
                    "RETURNING id",
                    (before_ns, ahead_ns, last, PRUNE_AT_ONCE),
                )
            count += len(gone)
            if len(gone) < PRUNE_AT_ONCE:
                return count

    def close(self) -> None:
        """See `History`."""
        self.database.close()

    def _places(self, asked: IndexParts, limit: int) -> Iterable[HistoryPlace]:
        """A question for each part: to ask costs next to nothing in one's own process."""
        equal = "".join(f"{column} = ? AND " for column in asked.columns)
        query = sql.PLACES.format(where=equal + str(asked.further))
        for values in asked.parts:
            for time_ns, number in self._rows(query, (*values, *asked.further.values, limit)):
                yield HistoryPlace(time_ns, number)

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
            return self.database.rows(query, values)
        except sqlite3.Error as error:
            raise ConsoleError(f"the history {self.database.path}: {error}") from error

"""The statements of a history, as SQLite and PostgreSQL both understand them.

Texts that repeat (cameras, people, reasons, runs) stand once, in `label`, and events refer to them by number:
to forget a person is to delete one label. A page is read from one index, in its order. Which one is not left
to the planner: a unary plus hides from it the columns whose index would be the worse one. Where several
cameras or kinds are wanted, each is read from its own part of the index and the parts are merged.
"""

from __future__ import annotations

import heapq
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice, product
from typing import Any

from gaitstream.console.history.base import EventFilter, EventPage, HistoryPlace, StoredEvent
from gaitstream.console.history.rows import COLUMNS, from_row, is_kept, to_row
from gaitstream.events import Event

Rows = Callable[[str, Sequence[object]], list[Any]]
"""Runs a query and gives all its rows."""

INDEXES = {
    "event_by_time": "(time_ns, {id})",
    "event_by_camera": "(camera, time_ns, {id})",
    "event_by_kind": "(kind, time_ns, {id})",
    "event_by_camera_kind": "(camera, kind, time_ns, {id})",
    "event_by_status": "(status, time_ns, {id}) WHERE status IS NOT NULL",
    "event_by_camera_status": "(camera, status, time_ns, {id}) WHERE status IS NOT NULL",
    "event_by_reason": "(reason, time_ns, {id}) WHERE reason IS NOT NULL",
    "event_by_camera_reason": "(camera, reason, time_ns, {id}) WHERE reason IS NOT NULL",
    "event_by_person": "(person, time_ns, {id}, camera) WHERE person IS NOT NULL",
    "event_by_track": "(run, camera, track)",
    "event_waiting": "(time_ns, {id}) WHERE waits = 1",
}
_SELECT = f"SELECT id, {', '.join(COLUMNS)} FROM event "
INSERT = (
    f"INSERT INTO event ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "
    "ON CONFLICT (event_id) DO NOTHING RETURNING id"
)


def index_statements(id_column: str) -> list[str]:
    """Statements that make the indexes.

    Args:
        id_column: `, id` where an index does not end with the row's number by itself, else nothing.
    """
    return [
        f"CREATE INDEX IF NOT EXISTS {name} ON event {what.replace(', {id}', id_column)}"
        for name, what in INDEXES.items()
    ]


class Labels:
    """Texts and their numbers, remembered; any thread may read.

    Args:
        rows: runs a statement on the connection of whoever calls.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._numbers: dict[tuple[str, str], int] = {}
        self._texts: dict[int, str] = {}

    def make(self, space: str, text: str) -> int:
        """The number of a text; made when there is none."""
        known = self.find(space, text)
        if known is not None:
            return known
        # Where another console was quicker, the update that changes nothing gives its number.
        [(number,)] = self._rows(
            "INSERT INTO label (space, text) VALUES (?, ?) "
            "ON CONFLICT (space, text) DO UPDATE SET text = excluded.text RETURNING id",
            (space, text),
        )
        return self._remember(space, text, int(number))

    def find(self, space: str, text: str) -> int | None:
        """The number of a text."""
        known = self._numbers.get((space, text))
        if known is None:
            for (number,) in self._rows("SELECT id FROM label WHERE space = ? AND text = ?", (space, text)):
                known = self._remember(space, text, int(number))
        return known

    def text(self, number: int | None) -> str:
        """The text of a number; empty for None and for one that was forgotten."""
        if number is None:
            return ""
        if number not in self._texts:
            for space, text in self._rows("SELECT space, text FROM label WHERE id = ?", (number,)):
                self._remember(str(space), str(text), number)
        return self._texts.get(number, "")

    def clear(self) -> None:
        """Remember nothing: a transaction failed, or somebody was forgotten."""
        self._numbers.clear()
        self._texts.clear()

    def _remember(self, space: str, text: str, number: int) -> int:
        self._numbers[space, text] = number
        self._texts[number] = text
        return number


class SqlHistory(ABC):
    """What the histories in a database share; see `gaitstream.console.history.base.History`."""

    def __init__(self) -> None:
        self._labels = Labels(self._rows)

    def add(self, events: Sequence[Event]) -> list[StoredEvent]:
        """See `History`."""
        with self._writing():
            return add(events, self._labels, self._rows)

    def page(self, wanted: EventFilter, limit: int, before: HistoryPlace | None = None) -> EventPage:
        """See `History`."""
        return page(wanted, limit, before, self._labels, self._rows)

    def event(self, event_id: str) -> StoredEvent | None:
        """See `History`."""
        return one(uuid.UUID(event_id).bytes, self._labels, self._rows)

    def track(self, run: str, camera: str, track: int) -> list[StoredEvent]:
        """See `History`."""
        return find_track(run, camera, track, self._labels, self._rows)

    def settle(self, event_id: str) -> None:
        """See `History`."""
        with self._writing():
            self._rows("UPDATE event SET waits = 0 WHERE event_id = ?", (uuid.UUID(event_id).bytes,))

    @abstractmethod
    def _rows(self, query: str, values: Sequence[object]) -> list[Any]:
        """Run a statement with `?` for its values; its rows."""

    @abstractmethod
    def _writing(self) -> AbstractContextManager[None]:
        """A transaction of this thread."""


def add(events: Sequence[Event], labels: Labels, rows: Rows) -> list[StoredEvent]:
    """Insert events in a transaction; those that were new."""
    added = []
    for event in filter(is_kept, events):
        row = to_row(event, labels.make)
        for (number,) in rows(INSERT, row.values()):
            added.append(from_row(int(number), row.values(), labels.text))
    return added


def page(
    wanted: EventFilter, limit: int, before: HistoryPlace | None, labels: Labels, rows: Rows
) -> EventPage:
    """See `History.page`."""
    found = list(islice(_merged(wanted, limit + 1, before, labels, rows), limit + 1))
    events = [from_row(int(row[0]), row[1:], labels.text) for row in found[:limit]]
    return EventPage(events, events[-1].place if len(found) > limit else None)


def one(event_id: bytes, labels: Labels, rows: Rows) -> StoredEvent | None:
    """See `History.event`."""
    found = rows(f"{_SELECT} WHERE event_id = ?", (event_id,))
    return from_row(int(found[0][0]), found[0][1:], labels.text) if found else None


def find_track(run: str, camera: str, number: int, labels: Labels, rows: Rows) -> list[StoredEvent]:
    """See `History.track`."""
    keys = labels.find("run", run), labels.find("camera", camera)
    found = rows(
        f"{_SELECT} WHERE run = ? AND camera = ? AND track = ? ORDER BY time_ns, id", (*keys, number)
    )
    return [from_row(int(row[0]), row[1:], labels.text) for row in found]


def forget(person: str, labels: Labels, rows: Rows) -> int:
    """Take a person out in a transaction: of events, of lists of candidates, and the id itself."""
    number = labels.find("person", person)
    if number is None:
        return 0
    changed = rows("UPDATE event SET person = NULL, waits = 0 WHERE person = ? RETURNING id", (number,))
    rows("DELETE FROM label WHERE id = ? RETURNING id", (number,))
    labels.clear()
    return len(changed)


def _merged(
    wanted: EventFilter, limit: int, before: HistoryPlace | None, labels: Labels, rows: Rows
) -> Iterator[Any]:
    """Rows of all parts of the index that hold what is wanted, newest first."""
    numbers = _Numbers.of(wanted, labels)
    if numbers is None:
        return iter(())
    cameras: Iterable[int | None] = numbers.cameras if numbers.by_camera else (None,)
    parts = []
    for camera, kind in product(cameras, numbers.kinds or (None,)):
        query, values = _query(numbers, wanted, before, camera, kind)
        parts.append(rows(f"{query} ORDER BY time_ns DESC, id DESC LIMIT ?", (*values, limit)))
    return heapq.merge(*parts, key=lambda row: (row[2], row[0]), reverse=True)


class _Numbers:
    """A filter with numbers for texts."""

    def __init__(self, wanted: EventFilter, labels: Labels) -> None:
        self.person = labels.find("person", wanted.person) if wanted.person else None
        self.status = labels.find("status", wanted.status) if wanted.status else None
        self.reason = labels.find("reason", wanted.reason) if wanted.reason else None
        self.kinds = _known("kind", wanted.kinds, labels)
        self.cameras = _known("camera", sorted(wanted.cameras or ()), labels)
        self.by_camera = bool(self.cameras) and self.person is None and not wanted.waits

    @classmethod
    def of(cls, wanted: EventFilter, labels: Labels) -> _Numbers | None:
        """None where something is wanted that no event has."""
        found = cls(wanted, labels)
        pairs = (
            (wanted.person, found.person),
            (wanted.status, found.status),
            (wanted.reason, found.reason),
            (wanted.kinds, found.kinds),
            (wanted.cameras is not None, found.cameras),
        )
        return None if any(asked and not number for asked, number in pairs) else found


def _known(space: str, texts: Iterable[str], labels: Labels) -> list[int]:
    return [number for text in texts if (number := labels.find(space, text)) is not None]


def _query(
    numbers: _Numbers, wanted: EventFilter, before: HistoryPlace | None, camera: int | None, kind: int | None
) -> tuple[str, list[object]]:
    """One part's query without its order, and its values."""
    terms: list[str] = []
    values: list[object] = []

    def term(text: str, *given: object) -> None:
        terms.append(text)
        values.extend(given)

    leading = _leading(numbers, wanted, kind)
    columns = {"person": numbers.person, "reason": numbers.reason, "status": numbers.status, "kind": kind}
    for column, number in columns.items():
        if number is not None:
            term(f"{'' if column == leading else '+'}{column} = ?", number)
    if camera is not None:
        term("camera = ?", camera)
    elif numbers.cameras:
        term(f"+camera IN ({', '.join('?' * len(numbers.cameras))})", *numbers.cameras)
    if wanted.waits:
        term("waits = 1")
    if wanted.since_ns is not None:
        term("time_ns >= ?", wanted.since_ns)
    if wanted.until_ns is not None:
        term("time_ns < ?", wanted.until_ns)
    if before is not None:
        term("(time_ns, id) < (?, ?)", *before)
    return _SELECT + ("WHERE " + " AND ".join(terms) if terms else ""), values


def _leading(numbers: _Numbers, wanted: EventFilter, kind: int | None) -> str:
    """The column whose index is read: of those asked for, the one with the fewest rows of a value."""
    if wanted.waits:
        return "waits"
    columns = {"person": numbers.person, "reason": numbers.reason, "status": numbers.status, "kind": kind}
    return next((column for column, number in columns.items() if number is not None), "time_ns")

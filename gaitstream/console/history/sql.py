"""The statements of a history, as SQLite and PostgreSQL both understand them.

Texts that repeat (cameras, people, reasons, runs) stand once, in `label`, and events refer to them by number:
to forget a person is to delete one label. A page is read from one index: the newest places of each of its
parts that hold what is wanted (see `wanted`), and then the rows of the newest among them. What is counted is
counted in an index alone.
"""

from __future__ import annotations

import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from gaitstream.console.history.base import EventCount, EventFilter, EventPage, HistoryPlace, StoredEvent
from gaitstream.console.history.labels import Labels, Rows, fitting
from gaitstream.console.history.rows import COLUMNS, from_row, is_kept, to_row
from gaitstream.console.history.wanted import IndexParts, WantedNumbers, conditions, index_parts
from gaitstream.events import Event

INDEXES = {
    "event_by_time": "(time_ns, {id})",
    "event_by_camera": "(camera, time_ns, {id})",
    "event_by_kind": "(kind, time_ns, {id}, camera, status, reason)",
    "event_by_camera_kind": "(camera, kind, time_ns, {id})",
    "event_by_status": "(status, kind, time_ns, {id}) WHERE status IS NOT NULL",
    "event_by_camera_status": "(camera, status, kind, time_ns, {id}) WHERE status IS NOT NULL",
    "event_by_reason": "(reason, status, kind, time_ns, {id}) WHERE reason IS NOT NULL",
    "event_by_camera_reason": "(camera, reason, status, kind, time_ns, {id}) WHERE reason IS NOT NULL",
    "event_by_person": (
        "(person, time_ns, {id}, camera, kind, status, reason, waits) WHERE person IS NOT NULL"
    ),
    "event_by_track": "(run, camera, track)",
    "event_waiting": "(time_ns, {id}) WHERE waits = 1",
    "event_waiting_by_camera": "(camera, time_ns, {id}) WHERE waits = 1",
}
_MERGED = "merged:"
"""With the number after it, the space of a label that was a person's who is part of another now."""
_ALL_MERGED = f"{_MERGED}%"
_SELECT = f"SELECT id, {', '.join(COLUMNS)} FROM event"
PLACES = "SELECT time_ns, id FROM event WHERE {where} ORDER BY time_ns DESC, id DESC LIMIT ?"
"""Where the newest rows are, found in an index alone."""
PAST = "time_ns < ? OR (time_ns > ? AND id < ?)"
"""What is past its time: older than one, or of the future and kept before what is older (`last_past`)."""
INSERT = (
    f"INSERT INTO event ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "
    "ON CONFLICT (event_id) DO NOTHING RETURNING id"
)


def last_past(before_ns: int, rows: Rows) -> int:
    """Number of the row that was kept last of those older than a time; 0 for none."""
    [(number,)] = rows("SELECT max(id) FROM event WHERE time_ns < ?", (before_ns,))
    return number or 0


def index_statements(id_column: str) -> list[str]:
    """Statements that make the indexes.

    Args:
        id_column: `, id` where an index does not end with the row's number by itself, else nothing.
    """
    return [
        f"CREATE INDEX IF NOT EXISTS {name} ON event {what.replace(', {id}', id_column)}"
        for name, what in INDEXES.items()
    ]


class SqlHistory(ABC):
    """What the histories in a database share; see `gaitstream.console.history.base.History`."""

    def __init__(self) -> None:
        self._labels = Labels(self._rows)
        self._changes = 0
        self._counting = threading.Lock()

    @property
    def changes(self) -> int:
        """See `History`."""
        return self._changes

    def add(self, events: Sequence[Event]) -> list[StoredEvent]:
        """See `History`."""
        with self._changing():
            return add(events, self._labels, self._rows)

    def page(self, wanted: EventFilter, limit: int, before: HistoryPlace | None = None) -> EventPage:
        """See `History`."""
        asked = index_parts(wanted, before, self._labels)
        places = sorted(self._places(asked, limit + 1), reverse=True) if asked is not None else []
        events = rows_of(places[:limit], self._labels, self._rows)
        return EventPage(events, places[limit - 1] if len(places) > limit else None)

    def newest_of(self, people: Sequence[str], wanted: EventFilter) -> dict[str, StoredEvent]:
        """See `History`."""
        return newest_of(people, wanted, self._labels, self._rows)

    def count(self, wanted: EventFilter, kind: str) -> list[EventCount]:
        """See `History`."""
        return count(wanted, kind, self._labels, self._rows)

    def event(self, event_id: str) -> StoredEvent | None:
        """See `History`."""
        return one(uuid.UUID(event_id).bytes, self._labels, self._rows)

    def track(self, run: str, camera: str, track: int) -> list[StoredEvent]:
        """See `History`."""
        return find_track(run, camera, track, self._labels, self._rows)

    def settle(self, event_id: str) -> None:
        """See `History`."""
        with self._changing():
            self._rows("UPDATE event SET waits = 0 WHERE event_id = ?", (uuid.UUID(event_id).bytes,))

    def merge(self, gone: str, kept: str) -> int:
        """See `History`."""
        with self._changing():
            return merge(gone, kept, self._labels, self._rows)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """A transaction after which the history is another."""
        with self._writing():
            yield
        with self._counting:
            self._changes += 1

    @abstractmethod
    def _places(self, asked: IndexParts, limit: int) -> Iterable[HistoryPlace]:
        """The newest places of parts of an index, at least `limit` of all where there are so many."""

    @abstractmethod
    def _rows(self, query: str, values: Sequence[object]) -> list[Any]:
        """Run a statement with `?` for its values; its rows."""

    @abstractmethod
    def _writing(self) -> AbstractContextManager[None]:
        """A transaction of this thread."""


def add(events: Sequence[Event], labels: Labels, rows: Rows) -> list[StoredEvent]:
    """Insert events in a transaction; those that are there now."""
    kept = {}
    for event in filter(is_kept, events):
        row = to_row(event, labels.make)
        new = rows(INSERT, row.values())
        found = (
            from_row(int(new[0][0]), row.values(), labels.text) if new else one(row.event_id, labels, rows)
        )
        if found is not None:
            kept[found.number] = found
    return list(kept.values())


def rows_of(places: Sequence[HistoryPlace], labels: Labels, rows: Rows) -> list[StoredEvent]:
    """The events at some places, in their order; without those that left meanwhile."""
    if not places:
        return []
    found = rows(f"{_SELECT} WHERE id IN ({', '.join('?' * len(places))})", [number for _, number in places])
    by_number = {int(row[0]): row for row in found}
    kept = [by_number[number] for _, number in places if number in by_number]
    return [from_row(int(row[0]), row[1:], labels.text) for row in kept]


def count(wanted: EventFilter, kind: str, labels: Labels, rows: Rows) -> list[EventCount]:
    """See `History.count`."""
    numbers = WantedNumbers.of(replace(wanted, kinds=(kind,)), labels)
    if numbers is None:
        return []
    column = "person" if wanted.person else "kind"
    where = conditions(wanted, numbers, {column})
    where.add(f"{column} = ?", *numbers.of_column[column])
    found = rows(
        f"SELECT camera, status, COUNT(*) FROM event WHERE {where} GROUP BY camera, status", where.values
    )
    return [EventCount(labels.text(camera), labels.text(status), events) for camera, status, events in found]


def newest_of(
    people: Sequence[str], wanted: EventFilter, labels: Labels, rows: Rows
) -> dict[str, StoredEvent]:
    """See `History.newest_of`: the end of each person's part of one index."""
    numbers = WantedNumbers.of(wanted, labels)
    if numbers is None or not people:
        return {}
    where = conditions(wanted, numbers, set())
    newest = rows(
        f"SELECT (SELECT id FROM event WHERE person = label.id AND {where} "
        "ORDER BY time_ns DESC, id DESC LIMIT 1) "
        f"FROM label WHERE space = 'person' AND text IN ({', '.join('?' * len(people))})",
        (*where.values, *map(fitting, people)),
    )
    places = [number for (number,) in newest if number is not None]
    if not places:
        return {}
    found = rows(f"{_SELECT} WHERE id IN ({', '.join('?' * len(places))})", places)
    events = [from_row(int(row[0]), row[1:], labels.text) for row in found]
    return {event.person: event for event in events}


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


def merge(gone: str, kept: str, labels: Labels, rows: Rows) -> int:
    """Give a person's events to another in a transaction.

    Lists of candidates keep the number of whoever is gone; its label says from now on who was kept.
    """
    gone, kept = fitting(gone), fitting(kept)
    labels.clear()  # another console may have done it
    number = labels.find("person", gone)
    if number is None or gone == kept:
        return 0
    into = labels.make("person", kept)
    changed = rows("UPDATE event SET person = ? WHERE person = ? RETURNING id", (into, number))
    earlier = kept, gone, _ALL_MERGED
    rows("UPDATE label SET text = ? WHERE text = ? AND space LIKE ? RETURNING id", earlier)
    values = f"{_MERGED}{number}", kept, number
    rows("UPDATE label SET space = ?, text = ? WHERE id = ? RETURNING id", values)
    labels.clear()
    return len(changed)


def forget(person: str, labels: Labels, rows: Rows) -> int:
    """Take a person out in a transaction: of events, of lists of candidates, and the id itself."""
    person = fitting(person)
    number = labels.find("person", person)
    if number is None:
        return 0
    changed = rows("UPDATE event SET person = NULL, waits = 0 WHERE person = ? RETURNING id", (number,))
    rows("DELETE FROM label WHERE id = ? RETURNING id", (number,))
    rows("DELETE FROM label WHERE text = ? AND space LIKE ? RETURNING id", (person, _ALL_MERGED))
    labels.clear()
    return len(changed)

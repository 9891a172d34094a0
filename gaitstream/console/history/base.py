"""What a history is: events in, pages of events out, newest first.

No name is kept in it. Events say by ids who was seen; whoever shows them asks the gallery for the names, and
whoever is forgotten there is forgotten here by `forget`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from gaitstream.errors import ConsoleError
from gaitstream.events import Event

LATEST_NS = 2**63 - 1
MOST_ROWS = 500
"""Longest page."""
_CURSOR = re.compile(r"([0-9]{1,19})-([0-9]{1,19})")


class HistoryPlace(NamedTuple):
    """A place in the order of a history.

    Attributes:
        time_ns: of an event, UTC nanoseconds.
        number: of its row.
    """

    time_ns: int
    number: int

    def __str__(self) -> str:
        return f"{self.time_ns}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> HistoryPlace:
        """From a cursor.

        Raises:
            ConsoleError: it is none.
        """
        match = _CURSOR.fullmatch(text)
        if match is None or max(map(int, match.groups())) >= 1 << 63:
            raise ConsoleError(f"{text!r} is no cursor; give what a page before called 'next'")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True)
class EventFilter:
    """Which events are wanted; what is None is not asked for.

    Attributes:
        cameras: ids; None also wants events of no camera, of runs and of the gallery.
        person: id in the gallery.
        status: such as `known`.
        reason: such as `truncated`.
        kinds: types of events, such as `identity.final`.
        since_ns: nothing before, UTC nanoseconds of capture.
        until_ns: nothing at or after.
        waits: only matches that nobody has decided on yet.
    """

    cameras: frozenset[str] | None = None
    person: str | None = None
    status: str | None = None
    reason: str | None = None
    kinds: tuple[str, ...] = ()
    since_ns: int | None = None
    until_ns: int | None = None
    waits: bool = False


@dataclass(frozen=True)
class StoredEvent:
    """One event as it is kept.

    Attributes:
        number: of its row.
        event_id: as it was published.
        type: such as `identity.final`.
        time_ns: UTC nanoseconds of capture.
        camera: id; empty where the event belongs to none.
        person: id in the gallery; empty where there is none, or was and is forgotten.
        status: of an identity, or the outcome of a track; empty elsewhere.
        reason: why there is no identity; empty where there is one.
        run: that it belongs to.
        track: id, unique per camera and run; 0 where there is none.
        waits: a match that waits for people to decide on it.
        candidates: ids, empty where forgotten, and distances of the nearest, best first.
        data: all other fields of the event, by name.
    """

    number: int
    event_id: str
    type: str
    time_ns: int
    camera: str = ""
    person: str = ""
    status: str = ""
    reason: str = ""
    run: str = ""
    track: int = 0
    waits: bool = False
    candidates: tuple[tuple[str, float], ...] = ()
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> HistoryPlace:
        """Where it stands in the order."""
        return HistoryPlace(self.time_ns, self.number)


@dataclass(frozen=True)
class EventPage:
    """Some events, newest first, and where the next page begins; None at the end."""

    events: list[StoredEvent]
    next: HistoryPlace | None


class EventCount(NamedTuple):
    """How many events there were.

    Attributes:
        camera: id; empty where they belong to none.
        status: of them; empty where they have none.
        events: how many.
    """

    camera: str
    status: str
    events: int


class History(Protocol):
    """One index of events; any thread.

    Every method raises `ConsoleError` when the store cannot be reached, and may be called again.
    """

    @property
    def changes(self) -> int:
        """How often this process has changed it; rises when a change can be seen."""

    def add(self, events: Sequence[Event]) -> list[StoredEvent]:
        """Keep events, all or none; returns them as they are kept, also those that were there already.

        Where several consoles feed one history, each tells its browsers what another was first to keep.
        """

    def page(self, wanted: EventFilter, limit: int, before: HistoryPlace | None = None) -> EventPage:
        """The newest events that are wanted, at most `limit`, older than a place."""

    def newest_of(self, people: Sequence[str], wanted: EventFilter) -> dict[str, StoredEvent]:
        """The newest event that is wanted of each of some people; of those who have one."""

    def count(self, wanted: EventFilter, kind: str) -> list[EventCount]:
        """How many events of one kind are wanted of each camera and status."""

    def event(self, event_id: str) -> StoredEvent | None:
        """The event of an id."""

    def track(self, run: str, camera: str, track: int) -> list[StoredEvent]:
        """What was said of a track, oldest first."""

    def settle(self, event_id: str) -> None:
        """A match waits no more: it was confirmed or rejected."""

    def merge(self, gone: str, kept: str) -> int:
        """Give all events of one person to another, who stands in lists of candidates, too; how many events.

        What is there already stays so: it may be done again, and in any process.
        """

    def forget(self, person: str) -> int:
        """Take a person out of all events and overwrite the id; returns how many events were theirs."""

    def prune(self, before_ns: int, ahead_ns: int = LATEST_NS) -> int:
        """Delete events older than a time; returns how many.

        Args:
            before_ns: the time.
            ahead_ns: events of later times than this are of the future, as of a recording with a wrong date;
                they go with those that were kept after them.
        """

    def close(self) -> None:
        """Let go of it."""

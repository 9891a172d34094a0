"""Exactly once, in order: what a subscriber has had of one publisher, what it may have next, what is missing.

No I/O and no clock: the subscriber feeds in what its sockets receive and asks what to request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import repeat
from typing import NamedTuple

from gaitstream.events.reading import wanted
from gaitstream.events.wire import MAX_PREFIXES, EventBatch, Reply, Request

MAX_HELD = 10_000
"""Events kept while those before them are on their way; more are dropped and come by replay."""
MAX_HELD_BYTES = 32 * 1024 * 1024
"""And so much of them."""
MAX_PREFIX_CHARACTERS = 4096
"""Of all prefixes of a request together; of more, all topics are asked for and sorted out here."""
MAX_EPOCHS = 64
"""Epochs of a publisher that are remembered: openings of its journal in which events came."""
MAX_JOURNALS = 64
"""Journals remembered that answered before the one that answers now."""


class Ready(NamedTuple):
    """One event that may be delivered.

    Attributes:
        time_ns: when it was published; 0 where it came live.
    """

    topic: str
    seq: int
    payload: bytes
    epoch: str
    time_ns: int


class Told(NamedTuple):
    """Something a user should know.

    Attributes:
        kind: `lost`: events the journal no longer keeps, or cannot read. `rewound`: events that were
            delivered and that the journal does not know any more, as after a restore. `epoch`: the publisher
            was started anew. `journal`: another journal answers; all of it is news.
        events: how many.
    """

    kind: str
    events: int


class Ordering:
    """Numbers of one publisher, as one subscriber sees them.

    Attributes:
        publisher: id of its journal; empty before the first contact.
        cursor: the last number that was released, by epoch, newest last.
        left: cursors of journals that answered before this one.
        again: what the last request is answered with does not count; it is to be sent anew.
        told: what happened; the caller takes entries away.

    Args:
        prefixes: topics wanted: those that start with one of these.
        publisher: the journal, where it is known which one answers.
        cursor: where to resume; empty to begin at `since`.
        saved: in place of `cursor`, where to resume each of several journals, one of which answers.
        since: `now`, `beginning`, or UTC nanoseconds of publishing.
        max_held: events kept while those before them are on their way.
    """

    def __init__(
        self,
        prefixes: Iterable[str] = ("",),
        *,
        publisher: str = "",
        cursor: Mapping[str, int] | None = None,
        saved: Mapping[str, Mapping[str, int]] | None = None,
        since: str | int = "now",
        max_held: int = MAX_HELD,
    ) -> None:
        self.prefixes = tuple(prefixes)
        self.publisher = publisher
        self.cursor: dict[str, int] = dict(cursor or {})
        self.left: dict[str, dict[str, int]] = {}
        self.again = False
        self.told: list[Told] = []
        self._saved = saved or {}
        if len(self._saved) == 1:
            self.cursor = dict(next(iter(self._saved.values())))
        self._since = since
        self._all = any(not prefix for prefix in self.prefixes)
        short = sum(map(len, self.prefixes)) <= MAX_PREFIX_CHARACTERS
        self._asked = list(self.prefixes) if short and len(self.prefixes) <= MAX_PREFIXES else []
        self._max_held = max_held
        self._live = ""
        self._last = 0
        self._head = 0
        self._greeted = False
        self._behind = True
        self._held: dict[int, tuple[EventBatch, list[bytes]]] = {}
        self._held_events = self._held_bytes = 0

    @property
    def greeted(self) -> bool:
        """Whether the publisher has answered; before that nothing is delivered."""
        return self._greeted

    @property
    def behind(self) -> bool:
        """Whether a request is due: events are missing, or the publisher's numbers are not known."""
        return self._behind

    def request(self, identifier: int, credit: int) -> Request:
        """What to ask for."""
        self.again = False
        prefixes = self._asked
        if self._is_to_be_met:
            return Request(id=identifier, prefixes=prefixes)
        if self.cursor:
            return Request(id=identifier, cursor=self.cursor, prefixes=prefixes, credit=credit, joined=True)
        return Request(id=identifier, since=self._since, prefixes=prefixes, credit=credit, joined=True)

    def live(self, batch: EventBatch, payloads: list[bytes]) -> list[Ready]:
        """Take events as they are published; returns those that may be delivered now."""
        count = len(payloads)
        if not count:
            return []
        if not self._greeted or batch.epoch != self._live or self._behind:
            self._behind = True
            self._hold(batch, payloads)
            return []
        skip = self._last + 1 - batch.first
        if skip < 0:
            self._behind = True
            self._hold(batch, payloads)
            return []
        if skip >= count:
            return []
        return self._release(batch, payloads, skip)

    def heads(self, publisher: str, epoch: str, seq: int) -> None:
        """Take the periodic numbers."""
        if self._greeted and (publisher != self.publisher or epoch != self._live or seq > self._last):
            self._behind = True

    def replayed(self, reply: Reply, payloads: list[bytes]) -> list[Ready]:
        """Take one answer; returns what may be delivered now."""
        if self.again or self._meets(reply.publisher):
            return []
        self._take_numbers(reply)
        if reply.lost:
            self.told.append(Told("lost", reply.lost))
        if reply.rewound:
            self.told.append(Told("rewound", reply.rewound))
        rows = zip(reply.topics, reply.seqs, payloads, repeat(reply.epoch), reply.times, strict=False)
        last, prefixes = self._last, self.prefixes
        chosen = (row for row in rows if row[1] > last and row[0].startswith(prefixes))
        ready = list(map(Ready._make, chosen))
        self._advance(reply.epoch, max(self._last, reply.to))
        if reply.done:
            self._behind = False
            ready += self._release_held()
        return ready

    @property
    def _is_to_be_met(self) -> bool:
        """Whether the numbers alone are asked for, as it is not known whose cursor to send."""
        return not self.publisher and len(self._saved) > 1

    def _meets(self, publisher: str) -> bool:
        """Whether it is known only now who answers, and thus where to resume."""
        place = self.left.get(publisher) or self._saved.get(publisher, {})
        if publisher == self.publisher or not (self._is_to_be_met or (self.publisher and place)):
            return False
        if self.publisher:
            self._leave()
        if not place:
            self.told.append(Told("journal", 0))
        self.publisher, self.cursor = publisher, dict(place)
        self.again = self._behind = True
        return True

    def _take_numbers(self, reply: Reply) -> None:
        if self.publisher and reply.publisher != self.publisher:
            self.told.append(Told("journal", 0))
            self._leave()
            self.cursor = {}
        elif not reply.known:
            self.told.append(Told("journal", 0))
            if self._saved and reply.publisher not in self._saved:
                self.cursor.clear()  # it is another journal's
        elif self._greeted and reply.live != self._live:
            self.told.append(Told("epoch", 0))
        if reply.after is not None:  # numbers may have gone back, in an epoch of their own
            self._last = reply.after
        self.publisher = reply.publisher
        self._live = reply.live
        self._greeted = True

    def _leave(self) -> None:
        """Keep the place in the journal that answered until now; the one that was left longest ago goes."""
        self.left.pop(self.publisher, None)
        while len(self.left) >= MAX_JOURNALS:
            del self.left[next(iter(self.left))]
        self.left[self.publisher] = self.cursor

    def _advance(self, epoch: str, seq: int) -> None:
        self._last = seq
        if next(reversed(self.cursor), None) != epoch:
            self.cursor.pop(epoch, None)  # it becomes the newest
            while len(self.cursor) >= MAX_EPOCHS:
                del self.cursor[next(iter(self.cursor))]
        self.cursor[epoch] = seq
        if epoch:
            self.cursor.pop("", None)

    def _hold(self, batch: EventBatch, payloads: list[bytes]) -> None:
        events, size = self._held_events + len(payloads), self._held_bytes + sum(map(len, payloads))
        if events <= self._max_held and size <= MAX_HELD_BYTES and batch.first not in self._held:
            self._held[batch.first] = batch, payloads
            self._held_events, self._held_bytes = events, size

    def _release(self, batch: EventBatch, payloads: list[bytes], skip: int) -> list[Ready]:
        last = batch.first + len(payloads) - 1
        rows = zip(
            batch.topics[skip:], range(batch.first + skip, last + 1), payloads[skip:],
            repeat(batch.epoch), repeat(0), strict=False,
        )  # fmt: skip
        chosen = rows if self._all else (row for row in rows if wanted(row[0], self.prefixes))
        ready = list(map(Ready._make, chosen))
        self._advance(batch.epoch, last)
        return ready

    def _release_held(self) -> list[Ready]:
        """After a replay: what came live meanwhile and follows it."""
        held, self._held = self._held, {}
        self._held_events = self._held_bytes = 0
        ready: list[Ready] = []
        for first in sorted(held):
            if held[first][0].epoch == self._live:
                ready += self.live(*held[first])
        return ready

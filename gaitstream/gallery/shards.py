"""A gallery in parts: people shared out over processes, searched as one.

A shard keeps some of the people of a gallery in memory, told by a hash of their ids. A batch of probes goes
to all shards; each lists its nearest people with bounds, and a floor for all others of its own. The lists
together, and the least of the floors, say what a search of the whole gallery would say; the exact distances
that decide are then asked of the shards that have the people. So the ranking is that of one machine, to the
last bit.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import numpy as np

from gaitstream.gallery.feed import LimitsLine, Line, ModelLine, PersonLine, StateLine
from gaitstream.gallery.merged import parts_of, survivor
from gaitstream.gallery.people import LISTED, Nearest, News, People, merged
from gaitstream.gallery.quantise import Floats
from gaitstream.gallery.shards_server import ShardMatches, ShardNews, shard_of

POLL_S = 0.5
"""Between looks at what has changed in the shards."""


class Answer(Protocol):
    """What a shard will have answered."""

    def get(self) -> Any:
        """Wait for it.

        Raises:
            GalleryError: no replica of the shard answers.
        """

    def ready(self) -> bool:
        """Whether `get` would not wait."""


class Shard(Protocol):
    """The replicas of one shard."""

    def ask(self, method: str, *arguments: Any) -> Answer:
        """Call a method of a `ShardServer`."""


@dataclass
class ShardedPeople(People):
    """A gallery in parts, as one process sees it; one thread at a time.

    Attributes:
        shards: all of them, by number.
    """

    shards: Sequence[Shard] = ()
    _index: dict[str, int] = field(default_factory=dict)
    _next: int = 0
    _told: list[tuple[str, int]] = field(default_factory=list)
    _asked: list[Answer] = field(default_factory=list)
    _due_s: float = 0.0
    _problems: dict[int, str] = field(default_factory=dict)
    _problem: str = ""
    _changed: set[int] = field(default_factory=set)
    """What was taken over and not told yet: a shard that answers nothing ends a poll half way."""
    _limited: bool = False

    @classmethod
    def over(cls, shards: Sequence[Shard]) -> ShardedPeople:
        """Everybody in some shards.

        Raises:
            GalleryError: one does not answer.
        """
        people = cls(shards=shards, _told=[("", 0)] * len(shards))
        people.poll()
        return people

    @property
    def has_news(self) -> bool:
        """Whether the shards have answered what has changed; asks them, every `POLL_S`."""
        if not self._asked and time.monotonic() >= self._due_s:
            self._ask_news()
        return bool(self._asked) and all(answer.ready() for answer in self._asked)

    def poll(self) -> News:
        """Take over what has changed.

        Raises:
            GalleryError: a shard does not answer; what the others told comes with the next news.
        """
        if not self._asked:
            self._ask_news()
        answers, self._asked = self._asked, []
        told: dict[int, ShardNews] = {}
        try:
            for number, answer in enumerate(answers):
                told[number] = answer.get()
        finally:
            self._take_over(told)
        problem = next(filter(None, self._problems.values()), "")
        news = News(frozenset(self._changed), self._limited, problem if problem != self._problem else None)
        self._changed, self._limited, self._problem = set(), False, problem
        return news

    def search(self, model: str, probes: Sequence[Floats], listed: int = LISTED) -> list[Nearest]:
        """The people nearest to each of a batch of probes; see `People.search`."""
        if not probes:
            return []
        asked = [shard.ask("search", model, np.stack(probes), listed) for shard in self.shards]
        found: list[list[ShardMatches]] = [answer.get() for answer in asked]
        return [merged([self._nearest_of(one) for one in each], listed) for each in zip(*found, strict=True)]

    def exact(self, model: str, probe: Floats, persons: Sequence[int]) -> Floats:
        """Distance to the nearest template of each of some people; see `People.exact`."""
        out = np.full(len(persons), np.inf, np.float32)
        columns: dict[int, list[int]] = {}
        for column, person in enumerate(persons):
            if person in self.uids:
                columns.setdefault(shard_of(self.uids[person], len(self.shards)), []).append(column)
        asked = {
            number: self.shards[number].ask("exact", model, probe, [self.uids[persons[one]] for one in own])
            for number, own in columns.items()
        }
        for number, answer in asked.items():
            out[columns[number]] = answer.get()
        return out

    def _ask_news(self) -> None:
        self._due_s = time.monotonic() + POLL_S
        self._asked = [shard.ask("news", *told) for shard, told in zip(self.shards, self._told, strict=True)]

    def _take_over(self, told: dict[int, ShardNews]) -> None:
        """Take over what shards told, by their numbers; first who is gone by all of it together."""
        persons = [line for news in told.values() for line in news.lines if isinstance(line, PersonLine)]
        there = {line.uid for line in persons if line.name is not None}
        erased = {line.uid for line in persons if line.name is None}
        anew = {number for number, news in told.items() if news.whole}
        gone = {uid for uid in self._index.keys() - there if shard_of(uid, len(self.shards)) in anew}
        known = (self._index.keys() | there) - gone - erased
        merges = {uid: into for number in anew for uid, into in told[number].merged}
        for uid in gone:
            into = survivor(merges, uid)
            parts = () if into in known else tuple(sorted(parts_of(merges, uid)))
            parting = PersonLine(0, uid, None, into=into if into in known else "", parts=parts)
            self._changed.add(self._take_person(parting))
        for number, news in told.items():
            self._told[number] = (news.token, news.told)
            for line in news.lines:
                self._take(number, line)

    def _take(self, number: int, line: Line) -> None:
        """Take over a line of a shard."""
        match line:
            case PersonLine():
                self._changed.add(self._take_person(line))
            case ModelLine():
                self.fingerprints[line.model] = line.fingerprint
                self.upstream[line.model] = line.upstream
            case LimitsLine():
                before = self.limits.get(line.model), self.camera_limits.get(line.model)
                self.limits[line.model] = (line.threshold, line.margin)
                self.camera_limits[line.model] = line.cameras
                self._limited |= before != (self.limits[line.model], line.cameras)
            case StateLine():
                self._problems[number] = line.problem

    def _take_person(self, line: PersonLine) -> int:
        """Take over one person; the index they have, or had, here."""
        index = self._index.get(line.uid)
        if index is None:
            index = self._index[line.uid] = self._next
            self._next += 1
        self._set(msgspec.structs.replace(line, index=index))
        if line.name is None:
            del self._index[line.uid]
        return index

    def _nearest_of(self, found: ShardMatches) -> Nearest:
        """By the indices of this process, without those whom it does not know yet, or no more."""
        kept = [at for at, uid in enumerate(found.uids) if uid in self._index]
        persons = np.array([self._index[found.uids[at]] for at in kept], np.int64)
        return Nearest(persons, found.low[kept], found.high[kept], found.floor)

"""A gallery in parts: people shared out over processes, searched as one.

A shard keeps some of the people of a gallery in memory, told by a hash of their ids. A batch of probes goes
to all shards; each lists its nearest people with bounds, and a floor for all others of its own. The lists
together, and the least of the floors, say what a search of the whole gallery would say; the exact distances
that decide are then asked of the shards that have the people. So the ranking is that of one machine, to the
last bit.
"""

from __future__ import annotations

import time
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gaitstream.gallery.feed import LimitsLine, Line, ModelLine, PersonLine, StateLine
from gaitstream.gallery.keeper import Keeper
from gaitstream.gallery.people import LISTED, Nearest, News, People, merged
from gaitstream.gallery.quantise import Floats
from gaitstream.gallery.retention import RetentionRules

POLL_S = 0.5
"""Between looks at what has changed in the shards."""


def shard_of(uid: str, shards: int) -> int:
    """Which of so many shards has somebody."""
    return zlib.crc32(uid.encode()) % shards


@dataclass(frozen=True)
class ShardPlace:
    """One part of a gallery.

    Attributes:
        where: the gallery's file or URL.
        key: where its key comes from.
        models: names of the models that are asked for; None for all.
        number: of the shard, from 0.
        shards: how many there are.
        rules: what it erases in time; None erases nothing.
    """

    where: str | Path
    key: str | None
    models: tuple[str, ...] | None
    number: int
    shards: int
    rules: RetentionRules | None = None


@dataclass(frozen=True)
class Found:
    """The nearest people of one shard to one probe; see `Nearest`."""

    uids: list[str]
    low: Floats
    high: Floats
    floor: float


@dataclass(frozen=True)
class ShardNews:
    """What has changed in a shard.

    Attributes:
        token: of the shard's process: another one knows nothing of what this one told.
        told: how many lines it has told so far.
        lines: those that are new; all that hold when `whole`.
        whole: whatever else was known of this shard holds no more.
    """

    token: str
    told: int
    lines: list[Line]
    whole: bool


class ShardServer:
    """Keeps one shard; one thread at a time.

    Args:
        place: which part of which gallery.

    Raises:
        GalleryError: the gallery cannot be opened, or a template is damaged.
    """

    def __init__(self, place: ShardPlace) -> None:
        self._keeper = Keeper(
            place.where,
            place.models,
            place.key,
            place.rules,
            holds=lambda uid: shard_of(uid, place.shards) == place.number,
        )
        self._keeper.start()
        self._people = self._keeper.people()
        self._feed = self._keeper.feed.reader()
        self._token = uuid.uuid4().hex
        self._lines: list[Line] = []
        self._holding: dict[tuple[str, str], Line] = {}
        self._index: dict[str, int] = {}

    def search(self, model: str, probes: NDArray[np.float32], listed: int) -> list[Found]:
        """The nearest people to each probe `[k, parts, dim]`; see `People.search`."""
        self._follow()
        return [
            Found(
                [self._people.uids.get(one, "") for one in near.persons.tolist()],
                near.low,
                near.high,
                near.floor,
            )
            for near in self._people.search(model, list(probes), listed)
        ]

    def exact(self, model: str, probe: Floats, uids: Sequence[str]) -> Floats:
        """Distances to some people; see `People.exact`."""
        self._follow()
        return self._people.exact(model, probe, [self._index.get(uid, -2) for uid in uids])

    def news(self, token: str, told: int) -> ShardNews:
        """What was told since a caller last asked.

        Args:
            token: that it was given then; empty the first time.
            told: how many lines it has.
        """
        self._follow()
        if token != self._token:
            return ShardNews(self._token, len(self._lines), list(self._holding.values()), whole=True)
        return ShardNews(token, len(self._lines), self._lines[told:], whole=False)

    def _follow(self) -> None:
        if self._people.has_news:
            self._people.poll()
        for line in self._feed.news():
            if isinstance(line, PersonLine):
                self._index[line.uid] = line.index
            # Tables are of this machine's memory, and indices of this process.
            told = ModelLine(line.model, line.fingerprint) if isinstance(line, ModelLine) else line
            self._lines.append(told)
            match told:
                case PersonLine(uid=uid, name=None):
                    self._holding.pop(("person", uid), None)
                    self._index.pop(uid, None)
                case PersonLine(uid=uid):
                    self._holding["person", uid] = told
                case ModelLine(model=model):
                    self._holding["model", model] = told
                case LimitsLine(model=model):
                    self._holding["limits", model] = told
                case StateLine():
                    self._holding["state", ""] = told


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
        """Take over what has changed."""
        if not self._asked:
            self._ask_news()
        persons: set[int] = set()
        limits, problem = False, None
        answers, self._asked = self._asked, []
        for number, answer in enumerate(answers):
            news: ShardNews = answer.get()
            if news.whole:
                persons |= self._reset(number, news)
            self._told[number] = (news.token, news.told)
            for line in news.lines:
                match line:
                    case PersonLine():
                        persons.add(self._take(line))
                    case ModelLine():
                        self.fingerprints[line.model] = line.fingerprint
                    case LimitsLine():
                        limits |= self.limits.get(line.model) != (line.threshold, line.margin)
                        self.limits[line.model] = (line.threshold, line.margin)
                    case StateLine():
                        problem = line.problem
        return News(frozenset(persons), limits, problem)

    def search(self, model: str, probes: Sequence[Floats], listed: int = LISTED) -> list[Nearest]:
        """The people nearest to each of a batch of probes; see `People.search`."""
        if not probes:
            return []
        asked = [shard.ask("search", model, np.stack(probes), listed) for shard in self.shards]
        found: list[list[Found]] = [answer.get() for answer in asked]
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

    def _reset(self, number: int, news: ShardNews) -> set[int]:
        """Forget those of a shard who are not there any more."""
        there = {line.uid for line in news.lines if isinstance(line, PersonLine)}
        gone = [uid for uid in self._index if uid not in there and shard_of(uid, len(self.shards)) == number]
        return {self._take(PersonLine(0, uid, None)) for uid in gone}

    def _take(self, line: PersonLine) -> int:
        """Take over one person; the index they have, or had, here."""
        index = self._index.get(line.uid)
        if index is None:
            index = self._index[line.uid] = self._next
            self._next += 1
        self._set(PersonLine(index, line.uid, line.name, line.models))
        if line.name is None:
            del self._index[line.uid]
        return index

    def _nearest_of(self, found: Found) -> Nearest:
        """By the indices of this process, without those whom it does not know yet, or no more."""
        kept = [at for at, uid in enumerate(found.uids) if uid in self._index]
        persons = np.array([self._index[found.uids[at]] for at in kept], np.int64)
        return Nearest(persons, found.low[kept], found.high[kept], found.floor)

"""One part of a gallery, as the process that holds it answers for it; see `gaitstream.gallery.shards`."""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream.gallery.feed import LimitsLine, Line, ModelLine, PersonLine, StateLine
from gaitstream.gallery.keeper import Keeper
from gaitstream.gallery.quantise import Floats
from gaitstream.gallery.retention import RetentionRules


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
class ShardMatches:
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
        merged: when `whole`, who was ever merged and into whom: nothing else tells that of who is not there.
            A server of an older release tells none.
    """

    token: str
    told: int
    lines: list[Line]
    whole: bool
    merged: tuple[tuple[str, str], ...] = ()


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
        self._lines: list[Line | None] = []
        """What was told; a line that does not hold any more is None, so that no name outlives its person."""
        self._places: dict[tuple[str, str], int] = {}
        self._index: dict[str, int] = {}

    def adjust(self, rules: RetentionRules | None) -> None:
        """Erase by the rules of a run that began later."""
        self._keeper.adjust(rules)

    def search(self, model: str, probes: NDArray[np.float32], listed: int) -> list[ShardMatches]:
        """The nearest people to each probe `[k, parts, dim]`; see `People.search`."""
        self._follow()
        return [
            ShardMatches(
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
        whole = token != self._token
        lines = [line for line in self._lines[0 if whole else told :] if line is not None]
        if not whole:
            return ShardNews(token, len(self._lines), lines, whole=False)
        there = [line for line in lines if not (isinstance(line, PersonLine) and line.name is None)]
        merges = tuple(self._keeper.merged.items())
        return ShardNews(self._token, len(self._lines), there, whole=True, merged=merges)

    def _follow(self) -> None:
        if self._people.has_news:
            self._people.poll()
        for line in self._feed.news():
            if isinstance(line, PersonLine):
                self._index[line.uid] = line.index
                if line.name is None:
                    del self._index[line.uid]
            # Tables are of this machine's memory, and indices of this process.
            told = msgspec.structs.replace(line, table=None) if isinstance(line, ModelLine) else line
            before = self._places.get(_subject(told))
            if before is not None:
                self._lines[before] = None
            self._places[_subject(told)] = len(self._lines)
            self._lines.append(told)


def _subject(line: Line) -> tuple[str, str]:
    """What a line is about: the next one about it takes its place."""
    match line:
        case PersonLine():
            return "person", line.uid
        case ModelLine():
            return "model", line.model
        case LimitsLine():
            return "limits", line.model
        case StateLine():
            return "state", ""

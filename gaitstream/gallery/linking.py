"""Which visitor a walk belongs to: online clustering by the mean distance between windows.

A visitor is a cluster of walks. A walk joins the nearest visitor when the mean distance of its windows to the
visitor's is at most the linking distance, and founds a new one otherwise (average linkage, as in Sokal and
Michener 1958, one walk at a time). Nobody walks in two places of one picture, and what somebody has said is
apart stays apart. No clock, no store: windows come in, places go out.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gaitstream.gallery.records import visitor_number
from gaitstream.gallery.searches import Floats
from gaitstream.gallery.settling import SeenWalks, same_strangers
from gaitstream.gallery.sightings import Sighting, TrackRef
from gaitstream.gallery.stack import WindowStack

Windows = Mapping[str, Floats]
"""float32 `[n, parts, dim]` by model."""
MOST_WALKS = 12
"""Walks of a visitor that are compared: a new one takes the place of an old one of the camera with most."""

MOST_SETTLED = 2000
"""Walks that are looked at together, those of the visitors seen last: some seconds of one core."""
TrackKey = tuple[str, str, int]
"""See `TrackRef.key`."""


@dataclass(frozen=True, slots=True)
class LinkRule:
    """When a walk is a visitor's.

    Attributes:
        distances: the linking distance by model; a model without one takes no part.
        weights: of the models; 1 where none is given.
    """

    distances: Mapping[str, float]
    weights: Mapping[str, float] = field(default_factory=dict)

    def score(self, means: Mapping[str, float]) -> float:
        """Mean distances by model in units of the linking distance: 1 is at it; infinite without any."""
        shares = {model: self.weights.get(model, 1.0) for model in means if model in self.distances}
        total = sum(shares.values())
        if not total:
            return float("inf")
        return sum(shares[model] * means[model] / self.distances[model] for model in shares) / total


@dataclass(frozen=True, slots=True)
class ObservedWalk:
    """One walk: where and when.

    Attributes:
        track: which one.
        first_ns: capture time of its first frame, UTC nanoseconds; `track.time_ns` is that of its last.
        number: names it among all walks of an index; 0 before.
    """

    track: TrackRef
    first_ns: int
    number: int = 0

    @property
    def camera(self) -> str:
        """Which saw it."""
        return self.track.camera

    def beside(self, other: ObservedWalk) -> bool:
        """Whether both were in one picture at a time."""
        same = self.camera == other.camera and self.track.run == other.track.run
        begin, end = max(self.first_ns, other.first_ns), min(self.track.time_ns, other.track.time_ns)
        return same and begin <= end


@dataclass(frozen=True, slots=True)
class Move:
    """Walks that turn out to be another visitor's.

    Attributes:
        source: uid of the visitor who had them.
        target: uid of the one who gets them; a number stands for a new one.
        tracks: of these walks; None for all that are left then.
    """

    source: str
    target: str | int
    tracks: frozenset[TrackKey] | None


@dataclass(slots=True)
class Cluster:
    """A visitor, as it is linked.

    Attributes:
        name: such as `visitor-17`.
        number: names it among all that an index ever had.
        apart: uids of visitors and people who are somebody else.
        competes: it has templates, beside those of a person it is not.
        walks: those that are compared.
        count: how many walks it has in all.
    """

    name: str
    number: int = 0
    apart: frozenset[str] = frozenset()
    competes: bool = False
    walks: list[ObservedWalk] = field(default_factory=list)
    count: int = 0

    @property
    def told(self) -> bool:
        """Whether somebody has said who it is not: then it keeps its walks, and others may join it."""
        return self.competes or bool(self.apart)


class VisitorIndex:
    """All visitors of a gallery in memory.

    Args:
        models: fingerprints of the bundles whose windows are compared, by name.

    Attributes:
        clusters: by uid.
        tracks: uid of whose each noted track was, by `TrackRef.key`.
    """

    def __init__(self, models: Mapping[str, str]) -> None:
        self.clusters: dict[str, Cluster] = {}
        self.tracks: dict[TrackKey, str] = {}
        self._models = dict(models)
        self._stacks = {model: WindowStack() for model in models}
        self._number = 0

    def put(self, uid: str, cluster: Cluster, sightings: Iterable[Sighting] = ()) -> None:
        """Enter a visitor with all that was seen, or bring one up to date."""
        self.drop(uid)
        cluster.number = self._next()
        self.clusters[uid] = cluster
        for sighting in sightings:
            self.add(uid, sighting)

    def add(self, uid: str, sighting: Sighting) -> None:
        """Give a visitor one more walk."""
        cluster, walk = self.clusters[uid], ObservedWalk(sighting.track, sighting.first_ns, self._next())
        for model, windows in sighting.opened(self._models).items():
            self._stacks[model].add(cluster.number, walk.number, windows)
        cluster.walks.append(walk)
        cluster.count += 1
        self.tracks[sighting.track.key] = uid
        if len(cluster.walks) > MOST_WALKS:
            cameras = [one.camera for one in cluster.walks]
            oldest = cluster.walks.pop(cameras.index(max(dict.fromkeys(cameras), key=cameras.count)))
            for stack in self._stacks.values():
                stack.drop_walk(oldest.number)

    def drop(self, uid: str) -> None:
        """Forget a visitor."""
        cluster = self.clusters.pop(uid, None)
        if cluster is not None:
            for stack in self._stacks.values():
                stack.drop(cluster.number)
            self.tracks = {key: owner for key, owner in self.tracks.items() if owner != uid}

    def windows(self, uid: str) -> dict[str, Floats]:
        """Those that a visitor is compared by."""
        number = self.clusters[uid].number
        return {model: stack.of(number) for model, stack in self._stacks.items()}

    def nearest(self, sighting: Sighting, rule: LinkRule) -> tuple[str, float] | None:
        """The visitor whose walks are nearest, and how near in units of the linking distance.

        Visitors who were in the same picture at the time are left out.
        """
        walk, means = (
            ObservedWalk(sighting.track, sighting.first_ns),
            self._means(sighting.opened(self._models)),
        )
        scores = [
            (rule.score(means.get(cluster.number, {})), uid)
            for uid, cluster in self.clusters.items()
            if not any(walk.beside(other) for other in cluster.walks)
        ]
        score, uid = min(scores, default=(float("inf"), ""))
        return (uid, score) if np.isfinite(score) else None

    def regroup(self, rule: LinkRule) -> list[Move]:
        """What changes when all walks are seen together: who gets which of whose; see `settling`."""
        uids = self._latest()
        owners = [uid for uid in uids for _ in self.clusters[uid].walks]
        walks = [walk for uid in uids for walk in self.clusters[uid].walks]
        told: dict[str, list[int]] = defaultdict(list)
        for place, uid in enumerate(owners):
            if self.clusters[uid].told:
                told[uid].append(place)
        apart = [*_beside(walks), *_across(told.values())]
        windows = [self._windows_of(walk.number) for walk in walks]
        seen = SeenWalks(windows, [walk.camera for walk in walks], told.values(), apart)
        groups = same_strangers(seen, rule.distances, rule.weights)
        return self._moves(
            [Counter(owners[place] for place in group) for group in groups], groups, walks, owners
        )

    def _latest(self) -> list[str]:
        """Uids of the visitors seen last, as many as are looked at together, by number."""
        found, count = list[str](), 0
        for uid in sorted(self.clusters, key=lambda uid: -self.clusters[uid].walks[-1].track.time_ns):
            count += len(self.clusters[uid].walks)
            if count > MOST_SETTLED:
                break
            found.append(uid)
        return sorted(found, key=self._age)

    def _age(self, uid: str) -> int:
        return visitor_number(self.clusters[uid].name)

    def _moves(
        self,
        shares: Sequence[Counter[str]],
        groups: Sequence[Sequence[int]],
        walks: Sequence[ObservedWalk],
        owners: Sequence[str],
    ) -> list[Move]:
        """From groups to moves: each keeps the name of the visitor who had most of it."""
        names = self._names(shares)
        taken = set(names.values())
        moves, rest = list[Move](), dict[str, tuple[int, str | int]]()
        for number, (group, share) in enumerate(zip(groups, shares, strict=True)):
            target = names.get(number, number)
            for source, count in share.items():
                if source == target:
                    continue
                tracks = frozenset(walks[place].track.key for place in group if owners[place] == source)
                moves.append(Move(source, target, tracks))
                if source not in taken and count > rest.get(source, (0, ""))[0]:
                    rest[source] = count, target
        return moves + [Move(source, target, None) for source, (_, target) in rest.items()]

    def _names(self, shares: Sequence[Counter[str]]) -> dict[int, str]:
        """Which visitor each group is: whose walks it has most of; the told ones have the first choice."""
        claims = sorted(
            (not self.clusters[uid].told, -count, self._age(uid), number, uid)
            for number, share in enumerate(shares)
            for uid, count in share.items()
        )
        names: dict[int, str] = {}
        for *_, number, uid in claims:
            if number not in names and uid not in names.values():
                names[number] = uid
        return names

    def _windows_of(self, walk: int) -> dict[str, Floats]:
        """Those of one walk."""
        return {model: stack.of_walk(walk) for model, stack in self._stacks.items()}

    def _means(self, windows: Windows) -> dict[int, dict[str, float]]:
        """Mean distances by cluster and model."""
        found: dict[int, dict[str, float]] = {}
        for model, probes in windows.items():
            for number, mean in self._stacks[model].mean_distances(probes).items():
                found.setdefault(number, {})[model] = mean
        return found

    def _next(self) -> int:
        self._number += 1
        return self._number


def _beside(walks: Sequence[ObservedWalk]) -> Iterator[tuple[int, int]]:
    """Places of walks that were in one picture at a time."""
    order = sorted(range(len(walks)), key=lambda place: walks[place].first_ns)
    going: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place in order:
        walk = walks[place]
        seen = going[walk.track.run, walk.camera]
        seen[:] = [other for other in seen if walks[other].track.time_ns >= walk.first_ns]
        yield from ((other, place) for other in seen)
        seen.append(place)


def _across(groups: Collection[Sequence[int]]) -> Iterator[tuple[int, int]]:
    """All pairs of places of two groups."""
    for one, other in itertools.combinations(groups, 2):
        yield from itertools.product(one, other)

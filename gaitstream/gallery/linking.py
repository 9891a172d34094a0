"""Which visitor a walk belongs to: online clustering by the mean distance between windows.

A visitor is a cluster of walks. A walk joins the nearest visitor when the mean distance of its windows to the
visitor's is at most the linking distance, and founds a new one otherwise (average linkage, as in Sokal and
Michener 1958, one walk at a time). Nobody walks in two places of one picture, and what somebody has said is
apart stays apart. No clock, no store: windows come in, places go out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from gaitstream.gallery.records import visitor_number
from gaitstream.gallery.searches import Floats
from gaitstream.gallery.settling import same_strangers
from gaitstream.gallery.sightings import Sighting
from gaitstream.gallery.stack import WindowStack

Windows = Mapping[str, Floats]
"""float32 `[n, parts, dim]` by model."""
MOST_WALKS = 12
"""Walks of a visitor that are compared: a new one takes the place of an old one of the camera with most."""

MOST_SETTLED = 400
"""Visitors that are looked at together, the latest seen ones: some seconds of one core."""


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
        number: names it among all walks of an index; 0 before.
    """

    camera: str
    run: str
    first_ns: int
    last_ns: int
    number: int = 0

    @classmethod
    def of(cls, sighting: Sighting, number: int = 0) -> ObservedWalk:
        """That of a sighting."""
        track = sighting.track
        return cls(track.camera, track.run, sighting.first_ns, track.time_ns, number)

    def beside(self, other: ObservedWalk) -> bool:
        """Whether both were in one picture at a time."""
        same = self.camera == other.camera and self.run == other.run
        return same and max(self.first_ns, other.first_ns) <= min(self.last_ns, other.last_ns)


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

    def not_with(self, uid: str, other: Cluster, other_uid: str) -> bool:
        """Whether another visitor is somebody else: somebody said so, or both were in one picture."""
        if other_uid in self.apart or uid in other.apart:
            return True
        return any(one.beside(two) for one in self.walks for two in other.walks)


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
        self.tracks: dict[tuple[str, str, int], str] = {}
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
        cluster, walk = self.clusters[uid], ObservedWalk.of(sighting, self._next())
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
        walk, means = ObservedWalk.of(sighting), self._means(sighting.opened(self._models))
        scores = [
            (rule.score(means.get(cluster.number, {})), uid)
            for uid, cluster in self.clusters.items()
            if not any(walk.beside(other) for other in cluster.walks)
        ]
        score, uid = min(scores, default=(float("inf"), ""))
        return (uid, score) if np.isfinite(score) else None

    def same_strangers(self, rule: LinkRule) -> list[list[str]]:
        """Uids of visitors who are one stranger each, the oldest first; those apart stay apart."""
        recent = sorted(self.clusters, key=lambda uid: self.clusters[uid].walks[-1].last_ns)[-MOST_SETTLED:]
        uids = sorted(recent, key=lambda uid: visitor_number(self.clusters[uid].name))
        clusters = [self.clusters[uid] for uid in uids]
        apart = [
            (one, other)
            for one, other in itertools.combinations(range(len(uids)), 2)
            if clusters[one].not_with(uids[one], clusters[other], uids[other])
        ]
        groups = same_strangers([self.windows(uid) for uid in uids], rule.weights, apart)
        return [[uids[place] for place in sorted(group)] for group in groups]

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

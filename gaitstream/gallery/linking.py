"""Which visitor a walk belongs to: online clustering by the mean distance between windows.

A visitor is a cluster of walks. A walk joins the nearest visitor when the mean distance of its windows to the
visitor's is at most the linking distance, and founds a new one otherwise (average linkage, as in Sokal and
Michener 1958, one walk at a time). Nobody walks in two places of one picture, and what somebody has said is
apart stays apart. No clock, no store: windows come in, places go out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gaitstream.gallery.searches import part_distances
from gaitstream.gallery.sightings import Sighting, TrackRef

Floats = NDArray[np.float32]
Windows = Mapping[str, Floats]
"""float32 `[n, parts, dim]` by model."""
MOST_WALKS = 12
"""Walks of a visitor that are compared, the latest of each camera first to stay."""


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


@dataclass(slots=True)
class Walk:
    """One walk of a visitor."""

    camera: str
    run: str
    first_ns: int
    last_ns: int
    windows: dict[str, Floats]

    @classmethod
    def of(cls, sighting: Sighting, models: Mapping[str, str]) -> Walk:
        """What a sighting is compared by."""
        track = sighting.track
        return cls(track.camera, track.run, sighting.first_ns, track.time_ns, sighting.opened(models))

    def with_(self, other: Walk) -> bool:
        """Whether both were in one picture at a time."""
        same = self.camera == other.camera and self.run == other.run
        return same and max(self.first_ns, other.first_ns) <= min(self.last_ns, other.last_ns)


@dataclass(slots=True)
class Cluster:
    """A visitor, as it is linked.

    Attributes:
        name: such as `visitor-17`.
        apart: uids of visitors and people whom it is not.
        competes: it has templates, beside those of a person it is not.
        walks: the latest, `MOST_WALKS` at most.
        count: how many walks it has in all.
    """

    name: str
    apart: frozenset[str] = frozenset()
    competes: bool = False
    walks: list[Walk] = field(default_factory=list)
    count: int = 0

    def add(self, walk: Walk) -> None:
        """Take a walk in; of too many, the oldest of the camera that has most is let go."""
        self.walks.append(walk)
        self.count += 1
        if len(self.walks) > MOST_WALKS:
            cameras = [one.camera for one in self.walks]
            fullest = max(dict.fromkeys(cameras), key=cameras.count)
            del self.walks[cameras.index(fullest)]


class VisitorIndex:
    """All visitors of a gallery in memory.

    Attributes:
        clusters: by uid.
        tracks: uid of whose each noted track was, by `TrackRef.key`.
    """

    def __init__(self) -> None:
        self.clusters: dict[str, Cluster] = {}
        self.tracks: dict[tuple[str, str, int], str] = {}

    def put(self, uid: str, cluster: Cluster, tracks: Iterable[TrackRef]) -> None:
        """Enter a visitor, or bring one up to date."""
        self.drop(uid)
        self.clusters[uid] = cluster
        self.tracks |= {track.key: uid for track in tracks}

    def drop(self, uid: str) -> None:
        """Forget a visitor."""
        if self.clusters.pop(uid, None) is not None:
            self.tracks = {key: owner for key, owner in self.tracks.items() if owner != uid}

    def nearest(self, walk: Walk, rule: LinkRule, apart: Iterable[str] = ()) -> tuple[str, float] | None:
        """The visitor whose walks are nearest, and how near in units of the linking distance.

        Visitors who were in the same picture, and those named in `apart`, are left out.
        """
        out = set(apart)
        free = {
            uid: cluster
            for uid, cluster in self.clusters.items()
            if uid not in out and not any(walk.with_(other) for other in cluster.walks)
        }
        means = mean_distances(walk.windows, [cluster.walks for cluster in free.values()])
        scores = [rule.score(one) for one in means]
        best = min(range(len(scores)), key=scores.__getitem__, default=None)
        return None if best is None else (list(free)[best], scores[best])


def mean_distances(windows: Windows, others: Sequence[Sequence[Walk]]) -> list[dict[str, float]]:
    """Mean distance of a walk's windows to those of each visitor, by model."""
    found: list[dict[str, float]] = [{} for _ in others]
    for model, probes in windows.items():
        owned = [
            (index, walk.windows[model])
            for index, walks in enumerate(others)
            for walk in walks
            if model in walk.windows
        ]
        if not owned:
            continue
        owners = np.repeat([index for index, _ in owned], [len(held) for _, held in owned])
        each = part_distances(probes, np.concatenate([held for _, held in owned])).mean(axis=0)
        totals = np.bincount(owners, each, len(others))
        counts = np.bincount(owners, minlength=len(others))
        for index in np.flatnonzero(counts).tolist():
            found[index][model] = float(totals[index] / counts[index])
    return found

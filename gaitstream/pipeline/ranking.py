"""The people nearest to a track, from bounds on each of its windows and exact distances of those who matter.

A track's distance to a person is the mean over its windows, per model, and the weighted mean over the
models, as a full comparison would compute it. Each window comes with bounds on its nearest people and a
floor for everybody else (`gaitstream.gallery.people.Nearest`). Whoever may be among the nearest by these
bounds is compared exactly, in the order of the bounds, until nobody who is left can be; where the windows'
lists do not reach that far they are made longer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from gaitstream.data import Embedding, Floats
from gaitstream.gallery.people import LISTED, Nearest, People

_AT_ONCE = 8
"""People compared exactly at a time, after as many as were asked for."""
_WIDEN = 1e-5
"""Relative rounding of the means of bounds, beside the float32 means of exact distances."""


@dataclass(frozen=True, slots=True)
class ScoreScale:
    """How one model's distances enter the fused distance.

    Attributes:
        weight: its share; shares of the models that have evidence are normalised to sum to one.
        unit: its distances are divided by this first; its calibrated threshold makes models comparable.
    """

    weight: float = 1.0
    unit: float = 1.0


@dataclass(slots=True)
class ComparedWindow:
    """One window of a track.

    Attributes:
        parts: its embedding, `[parts, dim]`.
        nearest: whom it was found near to; None before the search.
        exact: distances that were computed, by person.
        first_ns: capture time of its first frame.
        last_ns: of its last.
        frames: how many it has.
    """

    parts: Floats
    nearest: Nearest | None = None
    exact: dict[int, np.float32] = field(default_factory=dict)
    first_ns: int = 0
    last_ns: int = 0
    frames: int = 0

    @classmethod
    def of(cls, embedding: Embedding) -> ComparedWindow:
        """The window of an embedding, not searched for yet."""
        tracklet = embedding.tracklet
        return cls(
            embedding.parts,
            first_ns=tracklet.first_ns,
            last_ns=tracklet.last_ns,
            frames=tracklet.frames,
        )


Windows = Mapping[str, Sequence[ComparedWindow]]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The nearest people of a track, nearest first.

    Attributes:
        persons: their indices.
        distances: fused, float32.
        everybody: nobody else has a distance.
    """

    persons: tuple[int, ...] = ()
    distances: tuple[np.float32, ...] = ()
    everybody: bool = True


def rank(
    people: People,
    scales: Mapping[str, ScoreScale],
    windows: Windows,
    *,
    count: int,
    threshold: float | None = None,
    most: int = 0,
) -> Ranking:
    """The nearest people of a track.

    Args:
        people: who is known.
        scales: of the models that are compared.
        windows: of the track, by model.
        count: how many to find, if there are as many.
        threshold: find all within this distance, too,
        most: but no more than so many.

    Returns:
        At least those asked for; ties in the order of names.
    """
    compared = {
        model: held for model, held in windows.items() if held and model in scales and people.has.get(model)
    }
    if not compared:
        return Ranking()
    listed = LISTED
    while True:
        for model, held in compared.items():
            _search(people, model, held, listed)
        found = _resolve(people, scales, compared, count, threshold, most)
        if found is not None:
            return found
        listed *= 4
        for held in compared.values():
            for window in held:
                window.nearest = None


def _search(people: People, model: str, held: Sequence[ComparedWindow], listed: int) -> None:
    missing = [window for window in held if window.nearest is None]
    for window, nearest in zip(
        missing, people.search(model, [one.parts for one in missing], listed), strict=True
    ):
        window.nearest = nearest


def _resolve(
    people: People,
    scales: Mapping[str, ScoreScale],
    windows: Windows,
    count: int,
    threshold: float | None,
    most: int,
) -> Ranking | None:
    """The ranking, or None when the windows' lists do not reach far enough to be sure."""
    bounds, floor = _bounds(people, scales, windows)
    ranked: list[tuple[np.float32, str, int]] = []
    limit = np.inf
    at = 0
    while at < len(bounds) and bounds[at][0] <= limit:
        block = [person for _, person in bounds[at : at + (_AT_ONCE if at else max(1, count))]]
        at += len(block)
        fused = _exact(people, scales, windows, block)
        ranked += [
            (distance, people.names.get(person, ""), person)
            for distance, person in zip(fused, block, strict=True)
            if np.isfinite(distance)
        ]
        ranked.sort()
        limit = _reach(ranked, count, threshold, most)
    if floor <= limit and np.isfinite(floor):
        return None
    kept = [entry for entry in ranked if entry[0] <= limit]
    everybody = at >= len(bounds) and not np.isfinite(floor) and len(kept) == len(ranked)
    return Ranking(tuple(one[2] for one in kept), tuple(one[0] for one in kept), everybody)


def _reach(
    ranked: Sequence[tuple[np.float32, str, int]], count: int, threshold: float | None, most: int
) -> float:
    """How far one has to look: nobody further away is asked for."""
    if len(ranked) < count:
        return np.inf
    reach = float(ranked[count - 1][0])
    if threshold is None or reach > threshold:
        return reach
    if len(ranked) >= most:
        return min(threshold, float(ranked[most - 1][0])) if most >= count else reach
    return threshold


def _bounds(
    people: People, scales: Mapping[str, ScoreScale], windows: Windows
) -> tuple[list[tuple[float, int]], float]:
    """Lower bounds of everybody whom a window lists, nearest first, and the bound of everybody else."""
    bounds = {model: _ModelBounds.of(held) for model, held in windows.items()}
    found = []
    for person in {person for one in bounds.values() for person in one.above}:
        total = weights = 0.0
        for model, one in bounds.items():
            if person in people.has[model]:
                total += scales[model].weight * one.mean(person) / scales[model].unit
                weights += scales[model].weight
        found.append((total / weights * (1 - _WIDEN) if weights else np.inf, person))
    found.sort()
    # Somebody else may have templates of any of the models.
    return found, min(one.floor / scales[model].unit for model, one in bounds.items()) * (1 - _WIDEN)


@dataclass(slots=True)
class _ModelBounds:
    """Lower bounds of one model's windows: plain numbers, which are faster than arrays for some dozens.

    Attributes:
        windows: how many.
        base: the sum of all floors but the infinite ones.
        above: how far a person's bounds are above the floors of the windows that list them, by person.
        whole: windows with an infinite floor: nobody else has a template.
        listed: how many of these list a person, by person.
    """

    windows: int
    base: float = 0.0
    above: dict[int, float] = field(default_factory=dict)
    whole: int = 0
    listed: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, held: Sequence[ComparedWindow]) -> Self:
        """From windows that were searched."""
        bounds = cls(len(held))
        for window in held:
            nearest = window.nearest
            assert nearest is not None  # noqa: S101 - searched before
            whole = math.isinf(nearest.floor)
            floor = 0.0 if whole else nearest.floor
            bounds.whole += whole
            bounds.base += floor
            for person, low in zip(nearest.persons.tolist(), nearest.low.tolist(), strict=True):
                bounds.above[person] = bounds.above.get(person, 0.0) + low - floor
                bounds.listed[person] = bounds.listed.get(person, 0) + whole
        return bounds

    @property
    def floor(self) -> float:
        """Mean bound of everybody whom no window lists."""
        return math.inf if self.whole else self.base / self.windows

    def mean(self, person: int) -> float:
        """Mean bound of a person over the windows."""
        if self.listed.get(person, 0) < self.whole:
            return math.inf
        return (self.base + self.above.get(person, 0.0)) / self.windows


def _exact(
    people: People, scales: Mapping[str, ScoreScale], windows: Windows, persons: Sequence[int]
) -> Floats:
    """Fused distances to some people, float32; infinite for those without templates of any model."""
    each = {}
    for model, held in windows.items():
        for window in held:
            missing = [person for person in persons if person not in window.exact]
            if missing:
                distances = people.exact(model, window.parts, missing)
                window.exact.update(zip(missing, distances, strict=True))
        each[model] = np.array([[window.exact[person] for person in persons] for window in held], np.float32)
    return fuse(each, scales)


def fuse(each: Mapping[str, Floats], scales: Mapping[str, ScoreScale]) -> Floats:
    """Fused distances of a track to some people, float32 `[n]`; infinite for those without templates.

    Args:
        each: distances by model, float32 `[windows, n]`; not finite where somebody has no template.
        scales: of these models.
    """
    rows = []
    for model, distances in each.items():
        rows.append(np.mean(distances, axis=0, dtype=np.float32) / scales[model].unit)
    stacked = np.stack(rows)
    weights = np.array([scales[model].weight for model in each], np.float32)[:, None]
    known = np.isfinite(stacked)
    total = (weights * known).sum(axis=0)
    fused = (np.where(known, stacked, 0) * weights).sum(axis=0)
    out: Floats = np.full_like(fused, np.inf)
    np.divide(fused, total, out=out, where=total > 0)
    return out

"""The people nearest to a track, from bounds on each of its windows and exact distances of those who matter.

A track's distance to a person is the mean over its windows, per model, and the weighted mean over the
models, as a full comparison would compute it. Each window comes with bounds on its nearest people and a
floor for everybody else (`gaitstream.gallery.people.Nearest`). Whoever may be among the nearest by these
bounds is compared exactly, in the order of the bounds, until nobody who is left can be; where the windows'
lists do not reach that far they are made longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Embedding, Floats
from gaitstream.gallery.people import LISTED, Nearest, People

_AT_ONCE = 8
"""People compared exactly at a time."""
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
    persons, bounds, floor = _bounds(people, scales, windows)
    ranked: list[tuple[np.float32, str, int]] = []
    limit = np.inf
    at = 0
    while at < len(persons) and bounds[at] <= limit:
        block = persons[at : at + _AT_ONCE]
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
    everybody = at >= len(persons) and not np.isfinite(floor) and len(kept) == len(ranked)
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
) -> tuple[list[int], NDArray[np.float64], float]:
    """Whoever is listed in a window by their lower bounds, these bounds, and the one of everybody else."""
    listed = [_found(window).persons for held in windows.values() for window in held]
    persons = np.unique(np.concatenate(listed))
    total = np.zeros(len(persons))
    weights = np.zeros(len(persons))
    floors: list[float] = []
    for model, held in windows.items():
        scale = scales[model]
        low = np.empty((len(held), len(persons)))
        for row, window in zip(low, held, strict=True):
            nearest = _found(window)
            row[:] = nearest.floor
            row[np.searchsorted(persons, nearest.persons)] = nearest.low
        floors.append(float(np.mean([_found(window).floor for window in held])) / scale.unit)
        members = people.has[model]
        present = np.array([person in members for person in persons.tolist()], bool)
        mean = np.where(present, low.mean(axis=0), 0.0)
        total += scale.weight * mean / scale.unit
        weights += scale.weight * present
    with np.errstate(invalid="ignore", divide="ignore"):
        fused = np.where(weights > 0, total / weights, np.inf) * (1 - _WIDEN)
    order = np.argsort(fused, kind="stable")
    # Somebody else may have templates of any of the models.
    return persons[order].tolist(), fused[order], min(floors) * (1 - _WIDEN)


def _exact(
    people: People, scales: Mapping[str, ScoreScale], windows: Windows, persons: Sequence[int]
) -> Floats:
    """Fused distances to some people, float32; infinite for those without templates of any model."""
    each = {}
    for model, held in windows.items():
        for window in held:
            missing = [person for person in persons if person not in window.exact]
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
        known = np.where(np.isfinite(distances), distances, np.float32(np.nan))
        rows.append(np.mean(known, axis=0, dtype=np.float32) / scales[model].unit)
    stacked = np.stack(rows)
    weights = np.array([scales[model].weight for model in each], np.float32)[:, None]
    present = weights * ~np.isnan(stacked)
    total = present.sum(axis=0)
    fused = np.nansum(stacked * weights, axis=0) / np.where(total > 0, total, np.nan)
    return np.asarray(np.where(np.isnan(fused), np.inf, fused), np.float32)


def _found(window: ComparedWindow) -> Nearest:
    assert window.nearest is not None  # noqa: S101 - searched before
    return window.nearest

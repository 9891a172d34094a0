"""How long people take from one camera to another, learned from those who were recognised at both.

Of each camera it is kept where people were seen next, and after how long: a histogram for each ordered pair,
over asinh(t / 1 s), which is fine near zero and as coarse as t itself far from it, and which has room for
negative times: where two cameras see the same place, or where their clocks differ, that is what is learned.
Each transit fades the earlier ones of its camera a little, so that ways that change are followed.

What a sighting is worth as evidence that somebody is the person who left camera `a` is a ratio: how likely
this person is to be seen at `b` now, over how likely anybody of whom nothing is known is. A person may also
have passed a camera without being recognised; the longer they should have been seen again, the likelier that
is, and the less their last place says.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

Histogram = NDArray[np.float64]

REMEMBERED = 120
"""Transits from a camera after which one has faded to a third."""
_STEP = 0.15
"""Width of a bin of asinh(t): 15% of the time, and 0.15 s near zero."""
_HALF = 56
"""Bins on each side of zero: 37 minutes."""
_KERNEL = np.array([0.06, 0.24, 0.40, 0.24, 0.06])
"""How a transit is spread over bins: people walk at their own pace."""
_PRIOR = 3.0
"""Transits' worth of not knowing how long a way takes."""
_EXITS = 2.0
"""Transits' worth of not knowing where people go."""
_BACKWARD = 0.05
"""Share of the prior before time zero: clocks that differ, cameras that see the same place."""
_MISSED = 0.05
"""How often somebody passes a camera and is not recognised."""
_MISSED_BACKWARD = 0.02
_ENOUGH = 5.0
"""Transits from which on a median means something."""
_TOGETHER = 0.3
"""Share of matches seen at two cameras at once from which on the two see the same place."""


class TransitState(msgspec.Struct):
    """What was learned, to be kept: no names, no people.

    Attributes:
        moves: from, to, and transits by bin.
        together: two cameras, matches, and how many of them were seen at both at once.
        heard_ns: when the last event taken in was published, UTC nanoseconds; 0 where that is not known.
    """

    moves: list[tuple[str, str, dict[int, float]]] = []
    together: list[tuple[str, str, float, float]] = []
    heard_ns: int = 0


@dataclass(slots=True)
class _Joint:
    """Matches between two cameras in either direction, fading."""

    matches: float = 0.0
    at_once: float = 0.0


class TransitTimes:
    """The ways of a site.

    Args:
        horizon_s: after which a last place says nothing.
        state: of an earlier run.
    """

    def __init__(self, horizon_s: float = 600.0, state: TransitState | None = None) -> None:
        self.horizon_s = horizon_s
        self._cameras: set[str] = set()
        self._moves: dict[str, dict[str, Histogram]] = defaultdict(dict)
        self._joint: dict[tuple[str, str], _Joint] = defaultdict(_Joint)
        if state is not None:
            self._restore(state)

    def see(self, camera: str) -> None:
        """Note that there is a camera."""
        self._cameras.add(camera)

    def learn(self, origin: str, camera: str, transit_s: float, *, at_once: bool = False) -> None:
        """Take in a confirmed match.

        Args:
            origin: the camera somebody left.
            camera: where they were seen next.
            transit_s: from the last frame there to the first frame here, by the cameras' clocks.
            at_once: the two tracks went on at the same time.
        """
        self.see(origin)
        self.see(camera)
        row = self._moves[origin]
        for histogram in row.values():
            histogram *= 1 - 1 / REMEMBERED
        histogram = row.setdefault(camera, np.zeros(2 * _HALF + 1))
        place = _bin(transit_s)
        for offset, share in enumerate(_KERNEL, -2):
            histogram[min(max(place + offset, 0), 2 * _HALF)] += share
        joint = self._joint[_pair(origin, camera)]
        joint.matches = joint.matches * (1 - 1 / REMEMBERED) + 1
        joint.at_once = joint.at_once * (1 - 1 / REMEMBERED) + at_once

    def log_ratio(self, origin: str, camera: str, transit_s: float) -> float:
        """Evidence that who is first seen now is the person who left `origin` so long ago; 0 says nothing."""
        if transit_s >= self.horizon_s:
            return 0.0
        row = self._moves.get(origin, {})
        left = sum(float(histogram.sum()) for histogram in row.values())
        here = row.get(camera)
        count = 0.0 if here is None else float(here.sum())
        known = len(self._cameras | {origin, camera})
        leads_here = (count + _EXITS / known) / (left + _EXITS)
        learned = 0.0 if here is None else float(here[_bin(transit_s)]) * _per_second(transit_s)
        density = (learned + _PRIOR * self._prior(transit_s)) / (count + _PRIOR)
        awaited = self._awaited(row, left, transit_s)
        lost = _MISSED if transit_s >= 0 else _MISSED_BACKWARD
        missed = lost / (lost + (1 - lost) * awaited)
        expected = leads_here * density / awaited * known * self.horizon_s
        return math.log((1 - missed) * expected + missed)

    def see_together(self, one: str, other: str) -> bool:
        """Whether two cameras see the same place, as far as has been learned."""
        joint = self._joint.get(_pair(one, other))
        return joint is not None and joint.matches >= _ENOUGH and joint.at_once >= _TOGETHER * joint.matches

    def expected_s(self, origin: str, camera: str) -> float | None:
        """Median of the transits; None while there are too few."""
        histogram = self._moves.get(origin, {}).get(camera)
        if histogram is None or histogram.sum() < _ENOUGH:
            return None
        middle = int(np.searchsorted(np.cumsum(histogram), histogram.sum() / 2))
        return round(math.sinh((middle - _HALF) * _STEP), 2)

    def state(self) -> TransitState:
        """What to keep for the next run."""
        moves = [
            (origin, camera, {int(at): float(histogram[at]) for at in np.flatnonzero(histogram > 1e-3)})
            for origin, row in self._moves.items()
            for camera, histogram in row.items()
        ]
        joint = [(*pair, found.matches, found.at_once) for pair, found in self._joint.items()]
        return TransitState(moves, joint)

    def _restore(self, state: TransitState) -> None:
        for origin, camera, bins in state.moves:
            histogram = np.zeros(2 * _HALF + 1)
            for at, count in bins.items():
                histogram[min(max(at, 0), 2 * _HALF)] += count
            self._moves[origin][camera] = histogram
            self._cameras |= {origin, camera}
        for one, other, matches, at_once in state.together:
            self._joint[one, other] = _Joint(matches, at_once)

    def _prior(self, transit_s: float) -> float:
        """Density of a transit of which nothing is known, per second."""
        if transit_s < -self.horizon_s:
            return _BACKWARD / self.horizon_s
        return (1 - _BACKWARD if transit_s >= 0 else _BACKWARD) / self.horizon_s

    def _awaited(self, row: dict[str, Histogram], left: float, transit_s: float) -> float:
        """Share of those who left whom one would not have seen again by now."""
        place = _bin(transit_s)
        later = sum(float(histogram[place:].sum()) for histogram in row.values())
        unknown = 1.0 if transit_s <= 0 else 1 - transit_s / self.horizon_s
        return max(1e-6, (later + _PRIOR * unknown) / (left + _PRIOR))


def _bin(transit_s: float) -> int:
    place = round(math.asinh(transit_s) / _STEP)
    return min(max(place, -_HALF), _HALF) + _HALF


def _per_second(transit_s: float) -> float:
    """Of one transit in a bin, the density there."""
    return 1 / (_STEP * math.hypot(transit_s, 1.0))


def _pair(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one <= other else (other, one)

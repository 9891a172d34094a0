"""What a gait distance is worth as evidence, on the scale of the site's own recognised people."""

from __future__ import annotations

import math
from dataclasses import dataclass

_BEGIN = 20.0
"""People's worth of the distances that are assumed before any were seen."""
_REMEMBERED = 500.0
_FAINTEST, _SHARPEST = 4.0, 20.0
MOST = 6.0
"""Log odds beyond which a distance says no more: templates can be wrong in other ways."""
_CAUTION = 0.5
"""Distances are not normal: their tails are heavier than the evidence would be if they were."""


@dataclass(slots=True)
class _Distances:
    """Mean and variance of distances in units of the threshold, fading."""

    mean: float
    variance: float
    count: float = _BEGIN

    def add(self, value: float) -> None:
        self.count = min(self.count + 1, _REMEMBERED)
        off = value - self.mean
        self.mean += off / self.count
        self.variance += (off * (value - self.mean) - self.variance) / self.count


class GaitScale:
    """Log odds of a person, from a distance.

    A distance at the threshold is worth nothing either way. How quickly odds rise below it comes from how far
    the recognised people are from the second nearest.
    """

    def __init__(self) -> None:
        self._nearest = _Distances(0.65, 0.15**2)
        self._second = _Distances(1.2, 0.15**2)

    def learn(self, distance: float, second: float | None, threshold: float) -> None:
        """Take in somebody who was recognised beyond doubt, and the distance of the second nearest person."""
        self._nearest.add(distance / threshold)
        if second is not None:
            self._second.add(second / threshold)

    @property
    def slope(self) -> float:
        """Log odds for each threshold's worth of distance."""
        variance = (self._nearest.variance + self._second.variance) / 2
        slope = _CAUTION * (self._second.mean - self._nearest.mean) / max(variance, 1e-6)
        return min(max(slope, _FAINTEST), _SHARPEST)

    def log_odds(self, distance: float, threshold: float) -> float:
        """That it is this person, rather than nobody who is known."""
        return min(max(self.slope * (1 - distance / threshold), -MOST), MOST)


def probability(score: float, others: list[float]) -> float:
    """Of one explanation, by its log odds, beside all others."""
    highest = max([score, *others])
    total = sum(math.exp(one - highest) for one in (score, *others))
    return math.exp(score - highest) / total

"""Drawings of the pages as places in per cent, so that text keeps its size however wide a page is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

S_NS = 1_000_000_000
DAY_S = 86_400
HOUR_S = 3600
STEPS_S = (
    10, 30, 60, 120, 300, 600, 1800, HOUR_S, 2 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S, DAY_S, 2 * DAY_S, 7 * DAY_S,
)  # fmt: skip
MOST_MARKS = 7


@dataclass(frozen=True)
class Span:
    """A stretch of time, UTC nanoseconds."""

    since_ns: int
    until_ns: int

    @property
    def length_s(self) -> float:
        """How long it is; 0 where it ends before it begins."""
        return max(self.until_ns - self.since_ns, 0) / S_NS

    def step_s(self, most: int) -> int:
        """A round length, of which at most so many make up the stretch."""
        found = (step for step in STEPS_S if self.length_s <= step * most)
        return next(found, STEPS_S[-1] * ceil(self.length_s / STEPS_S[-1] / most))

    def parts(self, step_s: int) -> list[Span]:
        """The parts that it is made of, which begin at round times; the outer ones may reach beyond it."""
        step_ns = step_s * S_NS
        first = self.since_ns // step_ns * step_ns
        return [Span(since_ns, since_ns + step_ns) for since_ns in range(first, self.until_ns, step_ns)]

    def place(self, time_ns: int) -> float:
        """Where a time is, in per cent of the stretch."""
        share = (time_ns - self.since_ns) / max(self.until_ns - self.since_ns, 1)
        return round(100 * min(max(share, 0.0), 1.0), 3)


@dataclass(frozen=True)
class TimeMark:
    """A time below a drawing.

    Attributes:
        left: per cent.
        time_ns: UTC nanoseconds.
        form: `clock`, or `day` where marks are days apart.
    """

    left: float
    time_ns: int
    form: str


@dataclass(frozen=True)
class DistanceScale:
    """A line of distances from 0 on.

    Attributes:
        top: its end.
        ticks: numbers below it.
    """

    top: float
    ticks: Sequence[float]


def time_marks(span: Span) -> list[TimeMark]:
    """Round times of a stretch."""
    step_s = span.step_s(MOST_MARKS)
    step_ns, form = step_s * S_NS, "day" if step_s >= DAY_S else "clock"
    first = -(-span.since_ns // step_ns) * step_ns
    times = range(first, span.until_ns + 1, step_ns)
    return [TimeMark(span.place(time_ns), time_ns, form) for time_ns in times]


def scale(distances: Iterable[float | None]) -> DistanceScale:
    """A line that all of some distances fit on, with room at its end."""
    top = 1.1 * max((distance for distance in distances if distance), default=1.0)
    raw = top / 4
    magnitude = 10 ** floor(log10(raw))
    step = min((factor * magnitude for factor in (1, 2, 5, 10)), key=lambda one: abs(one - raw))
    return DistanceScale(top, [round(index * step, 6) for index in range(int(top / step) + 1)])

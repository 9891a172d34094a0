"""What is left undone: frames that would change no decision, and under load the least valuable work first.

A track whose identity is settled is encoded on some of its frames alone (`tracklets.settled_every`). Where an
objective of latency is set (`runtime.latency_ms`) and cameras are live, a controller gives up as much as it
takes to keep 95% of the frames within it: first the encoding of people whose identity is known, then of
those who were compared and have no name, then of those who have no window yet, last the detection on some of
the frames. Whatever is left undone is counted under its reason, `settled` or `overload`.
"""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gaitstream.data import Decision, Person, Reason
from gaitstream.pipeline.gather import Work

TURN_S = 0.25
"""Time between two decisions of the controller."""
TOO_LATE, EARLY = 0.8, 0.5
"""Shares of the objective above which more is given up, and under which some of it is taken up again."""
MORE, LESS = 0.15, 0.03
"""Steps of the pressure: up at once, down slowly, so that the latency does not swing."""
BETTER = 0.97
"""Latency in that of the turn before from which on it gets better: what waits is being worked off."""
MOST = 2.0
LEAST_DETECTION = 0.25
"""Share of the frames that are detected on whatever the load."""


class Urgency(enum.IntEnum):
    """What a frame of a track is worth, the most valuable first."""

    UNDECIDED = 0
    """There is no window to compare yet."""
    UNNAMED = 1
    """Compared, and nobody known."""
    NAMED = 2
    """Known."""
    SETTLED = 3
    """Known, and confirmed by several windows in a row."""


@dataclass
class LatencyControl:
    """How much is given up, by the latency of the frames of live cameras.

    Attributes:
        objective_ms: for 95% of the frames, from capture to analysed; None gives nothing up.
        pressure: 0 does everything; up to 1 less is encoded, from 1 to 2 less is detected, too.
    """

    objective_ms: float | None
    clock: Callable[[], float] = time.monotonic
    pressure: float = 0.0
    _delays_ms: list[float] = field(default_factory=list)
    _turned_s: float = 0.0
    _before_ms: float = 0.0

    def observe(self, delay_ms: float) -> None:
        """A frame of a live camera was analysed this long after its capture."""
        if self.objective_ms is None:
            self.pressure = 0.0
            return
        self._delays_ms.append(delay_ms)
        now_s = self.clock()
        if now_s - self._turned_s >= TURN_S:
            p95_ms = float(np.percentile(self._delays_ms, 95))
            self._turned_s = now_s
            self._delays_ms.clear()
            if p95_ms > TOO_LATE * self.objective_ms:
                if p95_ms >= BETTER * self._before_ms:
                    self.pressure = min(MOST, self.pressure + MORE)
            elif p95_ms < EARLY * self.objective_ms:
                self.pressure = max(0.0, self.pressure - LESS)
            self._before_ms = p95_ms

    @property
    def encoded(self) -> float:
        """Share of the people who are encoded."""
        return max(0.0, 1.0 - self.pressure)

    @property
    def detected(self) -> float:
        """Share of the frames that are detected on."""
        return 1.0 - (1.0 - LEAST_DETECTION) * max(0.0, self.pressure - 1.0)


@dataclass
class Share:
    """Spreads a share evenly over what comes one by one or in groups."""

    credit: float = 0.0

    def take(self, share: float, count: int) -> int:
        """How many of so many; what is left of one counts for the next."""
        if share >= 1.0:
            self.credit = 0.0
            return count
        self.credit += share * count
        taken = min(count, math.floor(self.credit + 1e-9))
        self.credit -= taken
        return taken


@dataclass(slots=True)
class _Course:
    """What is remembered of a track to value its next frame."""

    chosen: int = 0
    """Its frames that were encoded, as far as nothing rejected them later."""
    skipped: int = 0
    """Frames in a row left out because it is settled."""
    person: str | None = None
    since: int = 0
    """With how many windows this person was named first."""


class WorkSelector:
    """Chooses who of a batch is encoded.

    Args:
        labels: the latest decision by track, of a camera.
        settled_after: full windows in a row that name the same person and settle a track.
        settled_every: of a settled track every so-manieth frame is encoded.
    """

    def __init__(
        self,
        labels: Callable[[str], Mapping[int, Decision]],
        settled_after: int = 3,
        settled_every: int = 1,
    ) -> None:
        self._labels = labels
        self.settled_after = settled_after
        self.settled_every = settled_every
        self._share = Share()
        self._courses: dict[tuple[str, int], _Course] = {}

    def select(self, works: Sequence[Work], share: float = 1.0) -> list[Work]:
        """The same works; persons left out are rejected as `settled` or `overload`.

        Args:
            works: after the judgement by boxes.
            share: of the people who would be encoded that are.
        """
        if self.settled_every == 1 and share >= 1.0:
            return list(works)
        out: dict[int, Reason] = {}
        wanted: list[tuple[Urgency, int, Person, _Course]] = []
        for person in (one for work in works for one in work.persons if one.rejected is None):
            course = self._courses.setdefault((person.camera, person.track), _Course())
            urgency = self._urgency(person, course)
            if urgency is Urgency.SETTLED and self._waits(course):
                out[id(person)] = Reason.SETTLED
            else:
                wanted.append((urgency, -course.chosen, person, course))
        wanted.sort(key=lambda one: one[:2])  # of equals, who is nearest to a window is worth most
        kept = self._share.take(share, len(wanted))
        for _, _, _, course in wanted[:kept]:
            course.chosen += 1
        out |= {id(person): Reason.OVERLOAD for _, _, person, _ in wanted[kept:]}
        return [_without(work, out) for work in works] if out else list(works)

    def forget(self, camera: str, track: int) -> None:
        """A track ended."""
        self._courses.pop((camera, track), None)

    def _urgency(self, person: Person, course: _Course) -> Urgency:
        decision = self._labels(person.camera).get(person.track)
        if decision is None or decision.windows == 0:
            return Urgency.UNDECIDED
        if decision.person != course.person:
            course.person, course.since = decision.person, decision.windows
        if decision.person is None:
            return Urgency.UNNAMED
        confirmed = decision.windows - course.since + 1
        return Urgency.SETTLED if confirmed >= self.settled_after else Urgency.NAMED

    def _waits(self, course: _Course) -> bool:
        course.skipped = (course.skipped + 1) % self.settled_every
        return course.skipped != 0


def _without(work: Work, out: dict[int, Reason]) -> Work:
    persons = tuple(
        replace(person, rejected=out[id(person)]) if id(person) in out else person for person in work.persons
    )
    return replace(work, persons=persons)

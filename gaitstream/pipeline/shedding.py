"""What is left undone: frames that would change no decision, and under load the least valuable work first.

A track is encoded on some of its frames alone where `tracklets.every` says so, and on fewer once its
identity is settled (`tracklets.settled_every`). Where an objective of latency is set
(`runtime.latency_ms`) and cameras are live, `latency.LatencyControl` says what share of the people of
each urgency is encoded. Whoever is left out is counted under the reason: `spaced`, `settled` or
`overload`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace

from gaitstream.data import Decision, Person, Reason
from gaitstream.pipeline.gather import Work
from gaitstream.pipeline.latency import EVERYTHING, Urgency


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
    left_out: int = 0
    """Frames in a row that were not, because of the load."""
    skipped: int = 0
    """Frames in a row left out because of `every` or `settled_every`."""
    person: str | None = None
    since: int = 0
    """With how many windows this person was named first."""


class WorkSelector:
    """Chooses who of a batch is encoded.

    Args:
        labels: the latest decision by track, of a camera.
        settled_after: full windows in a row that name the same person and settle a track.
        settled_every: of a settled track every so-manieth frame is encoded.
        every: of all others. Tracks take turns, so that a frame of many people is not all or nothing.

    Attributes:
        wanted: people of the last batch who would be encoded without load, by urgency.
        patient: how many people of files were in it besides.
    """

    def __init__(
        self,
        labels: Callable[[str], Mapping[int, Decision]],
        settled_after: int = 3,
        settled_every: int = 1,
        every: int = 1,
    ) -> None:
        self._labels = labels
        self.settled_after = settled_after
        self.settled_every = settled_every
        self.every = every
        self.wanted: Counter[Urgency] = Counter()
        self.patient = 0
        self._shares = {urgency: Share() for urgency in Urgency}
        self._courses: dict[tuple[str, int], _Course] = {}

    def select(
        self,
        works: Sequence[Work],
        shares: Mapping[Urgency, float] = EVERYTHING.encoded,
        files: Container[str] = (),
    ) -> list[Work]:
        """The same works; persons left out are rejected as `spaced`, `settled` or `overload`.

        Args:
            works: after the judgement by boxes.
            shares: of the people of each urgency who would be encoded that are.
            files: cameras whose frames wait: of their people nobody is left out because of the load.
        """
        self.patient = 0
        out: dict[int, Reason] = {}
        wanted: dict[Urgency, list[tuple[Person, _Course]]] = {urgency: [] for urgency in Urgency}
        for person in (one for work in works for one in work.persons if one.rejected is None):
            course = self._course(person)
            urgency = self._urgency(person, course)
            waits = self._waits(course, urgency)
            if waits is not None:
                out[id(person)] = waits
            elif person.camera in files:
                self.patient += 1
                course.chosen += 1
            else:
                wanted[urgency].append((person, course))
        self.wanted = Counter({urgency: len(people) for urgency, people in wanted.items()})
        for urgency, people in wanted.items():
            kept = self._shares[urgency].take(shares[urgency], len(people))
            if kept < len(people):
                people.sort(key=lambda one: _rank(urgency, one[1]))
            for _, course in people[:kept]:
                course.chosen, course.left_out = course.chosen + 1, 0
            for person, course in people[kept:]:
                course.left_out += 1
                out[id(person)] = Reason.OVERLOAD
        return [_without(work, out) for work in works] if out else list(works)

    def forget(self, camera: str, track: int) -> None:
        """A track ended."""
        self._courses.pop((camera, track), None)

    def _course(self, person: Person) -> _Course:
        key = person.camera, person.track
        course = self._courses.get(key)
        if course is None:
            course = self._courses[key] = _Course(skipped=person.track % self.every)
        return course

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

    def _waits(self, course: _Course, urgency: Urgency) -> Reason | None:
        """Why this frame of a track is left out whatever the load."""
        settled = urgency is Urgency.SETTLED and self.settled_every > self.every
        course.skipped = (course.skipped + 1) % (self.settled_every if settled else self.every)
        if course.skipped == 0:
            return None
        return Reason.SETTLED if settled else Reason.SPACED


def _rank(urgency: Urgency, course: _Course) -> int:
    """Who goes first: of those without a window whoever is nearest to one, else whoever waited longest."""
    return -course.chosen if urgency is Urgency.UNDECIDED else -course.left_out


def _without(work: Work, out: dict[int, Reason]) -> Work:
    persons = tuple(
        replace(person, rejected=out[id(person)]) if id(person) in out else person for person in work.persons
    )
    return replace(work, persons=persons)

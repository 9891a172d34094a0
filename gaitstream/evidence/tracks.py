"""The evidence of a track while it is gathered, and as it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from gaitstream.data import Decision, Person
from gaitstream.evidence.records import BoxPx, KeptDecision, KeptWindow, Shot, TrackEvidence, TrackKey
from gaitstream.gallery.upstream import Upstream
from gaitstream.pipeline.basis import Basis
from gaitstream.pipeline.ranking import ComparedWindow

MOST_DECISIONS = 64
MOST_WINDOWS = 256
"""Kept of a track: the latest decisions, and the windows that these rest on."""


@dataclass(frozen=True)
class Origin:
    """What is the same for all tracks of a run, until the configuration changes.

    Attributes:
        gallery: id of the gallery.
        models: fingerprint by recognizer.
        config_hash: of the configuration in force.
        upstream: what finds the joints and masks that each recognizer is given.
    """

    gallery: str
    models: Mapping[str, str]
    config_hash: str
    upstream: Mapping[str, Upstream] = field(default_factory=dict)


@dataclass
class Strip:
    """Pictures of a track, spread over its life: every k-th; when they are too many every other one goes.

    Attributes:
        most: pictures held.
        every: k.
    """

    most: int
    every: int = 1
    seen: int = 0
    held: int = 0

    def is_due(self) -> bool:
        """Whether the next frame's picture is to be taken; counts the frame."""
        due = self.seen % self.every == 0
        self.seen += 1
        if due:
            self.held += 1
            if self.held > self.most:
                self.every *= 2
                self.held = (self.held + 1) // 2
        return due


@dataclass(frozen=True)
class TakenPicture:
    """One picture that was taken, in all its views."""

    person: Person
    views: Mapping[str, bytes]

    def shot(self, first: int) -> Shot:
        """What is written of it, its pictures numbered from `first`."""
        person = self.person
        numbers = {view: first + offset for offset, view in enumerate(self.views)}
        reason = person.rejected.value if person.rejected is not None else None
        return Shot(person.time_ns, person.frame_index, box_px(person), reason, numbers)


@dataclass
class GatheredTrack:
    """What is known of a track; one thread.

    Attributes:
        most: pictures of frames that were evidence, and of others.
        written: whether there is a file of it.
    """

    most: dict[bool, int]
    taken: dict[bool, list[TakenPicture]] = field(default_factory=lambda: {True: [], False: []})
    windows: dict[int, ComparedWindow] = field(default_factory=dict)
    models: dict[int, str] = field(default_factory=dict)
    decisions: list[KeptDecision] = field(default_factory=list)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    missed: Counter[str] = field(default_factory=Counter)
    complete: bool = False
    written: bool = False
    _numbers: dict[int, int] = field(default_factory=dict)
    _next: int = 0

    def add_picture(self, taken: TakenPicture) -> None:
        """Hold a picture; of too many every other one goes, as in `Strip`."""
        used = taken.person.rejected is None
        held = self.taken[used]
        held.append(taken)
        if len(held) > self.most[used]:
            self.taken[used] = held[::2]

    def add_decision(self, basis: Basis) -> None:
        """Hold a decision and the windows it rests on."""
        used = {
            model: [self._number(model, window) for window in held] for model, held in basis.windows.items()
        }
        self.fingerprints = basis.gallery_models
        self.decisions.append(keep_decision(basis, used))
        self._prune()

    def record(self, key: TrackKey, origin: Origin) -> TrackEvidence:
        """The record, in the order of `embeddings` and `pictures`."""
        shots, first = [], 0
        for taken in self._pictures_in_time():
            shots.append(taken.shot(first))
            first += len(taken.views)
        return TrackEvidence(
            key=key,
            gallery=origin.gallery,
            gallery_models=dict(self.fingerprints),
            models=dict(origin.models),
            upstream=dict(origin.upstream),
            config_hash=origin.config_hash,
            complete=self.complete,
            shots=tuple(shots),
            windows=tuple(self._kept_window(number) for number in sorted(self.windows)),
            decisions=tuple(self.decisions),
            missed=dict(self.missed),
        )

    def embeddings(self) -> list[bytes]:
        """Float32, little-endian, of each window in the record's order."""
        return [
            np.ascontiguousarray(self.windows[number].parts, "<f4").tobytes()
            for number in sorted(self.windows)
        ]

    def pictures(self) -> list[bytes]:
        """By the numbers in the record's shots."""
        return [data for taken in self._pictures_in_time() for data in taken.views.values()]

    def _pictures_in_time(self) -> list[TakenPicture]:
        both = [*self.taken[True], *self.taken[False]]
        return sorted(both, key=lambda taken: taken.person.frame_index)

    def _number(self, model: str, window: ComparedWindow) -> int:
        """Number of a window; it is the same object for as long as it is held."""
        number = self._numbers.get(id(window))
        if number is None:
            number, self._next = self._next, self._next + 1
            self._numbers[id(window)] = number
            self.windows[number], self.models[number] = window, model
        return number

    def _kept_window(self, number: int) -> KeptWindow:
        one = self.windows[number]
        parts, dim = one.parts.shape
        return KeptWindow(number, self.models[number], one.first_ns, one.last_ns, one.frames, (parts, dim))

    def _prune(self) -> None:
        """Forget the oldest decisions when there are too many, and the windows that no other rests on."""
        while len(self.decisions) > 1 and (
            len(self.decisions) > MOST_DECISIONS or len(self._used()) > MOST_WINDOWS
        ):
            del self.decisions[0]
            self.missed["decisions"] += 1
        used = self._used()
        for number in [number for number in self.windows if number not in used]:
            del self._numbers[id(self.windows.pop(number))]
            del self.models[number]

    def _used(self) -> set[int]:
        return {number for decision in self.decisions for number in decision.used}


def keep_decision(basis: Basis, used: Mapping[str, list[int]]) -> KeptDecision:
    """A decision as it is kept.

    Args:
        basis: of it.
        used: numbers of its windows, by model.
    """
    decision: Decision = basis.decision
    numbers = tuple(number for numbers in used.values() for number in numbers)
    far = np.full((1, len(basis.ranked)), np.inf, np.float32)
    columns = [basis.each.get(model, np.repeat(far, len(held), axis=0)) for model, held in used.items()]
    each = np.concatenate(columns).T.tolist() if columns else []
    return KeptDecision(
        time_ns=decision.time_ns,
        first_ns=decision.first_ns,
        status=decision.status.value,
        person_id=decision.person_id,
        reason=decision.reason.value if decision.reason else None,
        distance=decision.distance,
        margin=decision.margin,
        threshold=decision.threshold,
        least_margin=basis.limits.margin,
        frames=decision.frames,
        windows=decision.windows,
        provisional=decision.provisional,
        final=decision.final,
        nearest=tuple((person, float(distance)) for person, distance in basis.ranked),
        taken=basis.taken,
        visitors=basis.visitors,
        used=numbers,
        each=tuple(tuple(one if np.isfinite(one) else None for one in row) for row in each),
        scales={model: (scale.weight, scale.unit) for model, scale in basis.scales.items()},
        people=basis.people,
        rejections=dict(basis.seen.rejections),
        height_px=basis.seen.height_px,
        switched=basis.seen.switched,
    )


def box_px(person: Person) -> BoxPx:
    """A person's box with a decimal."""
    x1, y1, x2, y2 = (round(float(value), 1) for value in person.box)
    return x1, y1, x2, y2

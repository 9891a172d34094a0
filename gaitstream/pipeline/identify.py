"""Who a track is: windows fused per track, models fused by score, and one person in one place at a time.

No clock and no I/O: embeddings and capture times come in, decisions go out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Decision, Embedding, Person, Reason, Status
from gaitstream.gallery.matching import Matcher

Floats = NDArray[np.float32]
CANDIDATES = 5
"""Nearest persons listed in a decision."""
MAX_WINDOWS = 64
"""Windows remembered per track and model: 16 KB each; older ones are forgotten first."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a camera decides with.

    Attributes:
        threshold: largest fused distance at which a person is known; None knows nobody.
        margin: smallest lead over the second person.
    """

    threshold: float | None
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How one model's distances enter the fused distance.

    Attributes:
        weight: its share; shares of the models that have evidence are normalised to sum to one.
        unit: its distances are divided by this first; its calibrated threshold makes models comparable.
    """

    weight: float = 1.0
    unit: float = 1.0


@dataclass(frozen=True)
class Known:
    """A snapshot of who is known: each model's matcher over one common list of names.

    Attributes:
        names: everybody, in the order of all distance vectors.
        matchers: by model.
        scales: by model.
    """

    names: tuple[str, ...] = ()
    matchers: Mapping[str, Matcher] = field(default_factory=dict)
    scales: Mapping[str, Scale] = field(default_factory=dict)

    @classmethod
    def of(cls, matchers: Mapping[str, Matcher], scales: Mapping[str, Scale] | None = None) -> Known:
        """From the matchers of a gallery."""
        names = sorted({name for matcher in matchers.values() for name in matcher.names})
        return cls(tuple(names), matchers, scales or {})

    def distances(self, model: str, parts: Floats) -> Floats:
        """Distance to each of `names`, float32 `[n]`; NaN for those without templates of this model."""
        out = np.full(len(self.names), np.nan, np.float32)
        matcher = self.matchers.get(model)
        if matcher is not None and matcher.names:
            where = {name: index for index, name in enumerate(self.names)}
            out[[where[name] for name in matcher.names]] = matcher.distances(parts)
        return out


@dataclass(slots=True)
class _Evidence:
    """One model's windows of a track."""

    full: list[Floats] = field(default_factory=list)
    provisional: Floats | None = None
    distances: list[Floats] = field(default_factory=list)
    """To each name, of each window that counts."""

    @property
    def windows(self) -> list[Floats]:
        """The full ones, or the latest provisional one before there is any."""
        return self.full or ([self.provisional] if self.provisional is not None else [])

    def mean(self) -> Floats:
        """Mean over the windows, `[n]`."""
        mean: Floats = np.mean(self.distances, axis=0, dtype=np.float32)
        return mean


@dataclass(slots=True)
class TrackState:
    """What is known of one track.

    Attributes:
        first_ns: capture time of the first sighting.
        last_ns: of the latest.
        evidence_ns: of the first and the last frame behind the evidence.
        seen: frames the track was seen in.
        accepted: frames of those that were evidence.
        rejections: frames that were not, by reason.
        said: status, person and provisional flag of the last decision told, None before the first.
    """

    camera: str
    track: int
    first_ns: int
    last_ns: int
    box: Floats
    evidence_ns: tuple[int, int] = (0, 0)
    seen: int = 0
    accepted: int = 0
    windows: int = 0
    rejections: Counter[str] = field(default_factory=Counter)
    evidence: dict[str, _Evidence] = field(default_factory=dict)
    said: tuple[Status, str | None] | None = None
    fused: Floats | None = None
    """Distance to each known name over all models with evidence; None without evidence."""

    def overlaps(self, other: TrackState) -> bool:
        """Whether both were visible at one time."""
        return max(self.first_ns, other.first_ns) <= min(self.last_ns, other.last_ns)


class Identifier:
    """Decides for the tracks of one camera.

    Args:
        camera: its id.
        known: who is known.
        limits: threshold and margin.
    """

    def __init__(self, camera: str, known: Known, limits: Limits) -> None:
        self.camera = camera
        self.limits = limits
        self.tracks: dict[int, TrackState] = {}
        self._past: list[TrackState] = []
        self._known = known

    @property
    def known(self) -> Known:
        """The snapshot decisions are made with."""
        return self._known

    def use(self, known: Known) -> None:
        """Take a new snapshot: somebody was enrolled or removed; all evidence is compared again."""
        self._known = known
        for state in (*self.tracks.values(), *self._past):
            for model, evidence in state.evidence.items():
                evidence.distances = [known.distances(model, parts) for parts in evidence.windows]
            state.fused = self._fuse(state)

    def see(self, persons: Iterable[Person]) -> None:
        """Note the persons of a frame, accepted or rejected."""
        for person in persons:
            state = self.tracks.get(person.track)
            if state is None:
                state = TrackState(self.camera, person.track, person.time_ns, person.time_ns, person.box)
                self.tracks[person.track] = state
            state.last_ns, state.box = person.time_ns, person.box
            state.seen += 1
            if person.rejected is None:
                state.accepted += 1
            else:
                state.rejections[person.rejected.value] += 1

    def add(self, embedding: Embedding) -> None:
        """Take a window's embedding: a full one adds to the evidence, a provisional one replaces the last."""
        tracklet = embedding.tracklet
        state = self.tracks[tracklet.track]
        evidence = state.evidence.setdefault(tracklet.model, _Evidence())
        distances = self._known.distances(tracklet.model, embedding.parts)
        first_ns = state.evidence_ns[0] or tracklet.first_ns
        state.evidence_ns = (min(first_ns, tracklet.first_ns), max(state.evidence_ns[1], tracklet.last_ns))
        if tracklet.provisional:
            if not evidence.full:
                evidence.provisional, evidence.distances = embedding.parts, [distances]
                state.fused = self._fuse(state)
            return
        if not evidence.full:
            evidence.distances = []
        evidence.full = [*evidence.full, embedding.parts][-MAX_WINDOWS:]
        evidence.distances = [*evidence.distances, distances][-MAX_WINDOWS:]
        state.windows = max(state.windows, len(evidence.full))
        state.fused = self._fuse(state)

    def suspect(self, track: int) -> None:
        """An id switch is suspected: what was seen so far may have been somebody else."""
        state = self.tracks.get(track)
        if state is not None:
            state.evidence.clear()
            state.fused = None
            state.windows = 0
            state.evidence_ns = (0, 0)

    def decide(self, track: int, *, final: bool = False) -> Decision:
        """Say who a track is, given everybody else in the picture."""
        state = self.tracks[track]
        if state.fused is None:
            reason = _why_none(state)
            return self._decision(state, Status.INSUFFICIENT, None, reason, final=final)
        taken = self._taken_by_others(state)
        return self._judge(state, state.fused, taken, final=final)

    def end(self, track: int) -> tuple[TrackState, Decision]:
        """The last word on a track.

        Its claim to a person holds for as long as a track goes on that it was seen together with.
        """
        decision = self.decide(track, final=True)
        state = self.tracks.pop(track)
        if state.fused is not None:
            self._past.append(state)
        self._past = [past for past in self._past if any(map(past.overlaps, self.tracks.values()))]
        return state, decision

    def is_news(self, decision: Decision) -> bool:
        """Whether a decision differs from what was last told of the track; from now on it is told."""
        state = self.tracks[decision.track]
        if decision.status is Status.INSUFFICIENT and state.said is None:
            return False
        news = state.said != (decision.status, decision.person)
        state.said = (decision.status, decision.person)
        return news

    def _fuse(self, state: TrackState) -> Floats | None:
        """Distance to each name over all models with evidence, `[n]`; None without evidence."""
        ready = {model: evidence for model, evidence in state.evidence.items() if evidence.distances}
        if not ready:
            return None
        scales = {model: self._known.scales.get(model, Scale()) for model in ready}
        rows = np.stack([evidence.mean() / scales[model].unit for model, evidence in ready.items()])
        weights = np.array([scales[model].weight for model in ready], np.float32)[:, None]
        present = weights * ~np.isnan(rows)
        total = present.sum(axis=0)
        fused = np.nansum(rows * weights, axis=0) / np.where(total > 0, total, np.nan)
        return np.asarray(np.where(np.isnan(fused), np.inf, fused), np.float32)

    def _taken_by_others(self, state: TrackState) -> frozenset[int]:
        """Names claimed with a smaller distance by tracks visible at the same time.

        Claims are granted from the smallest distance upwards, so that the surest track keeps its person.
        """
        if self.limits.threshold is None:
            return frozenset()
        claims = []
        for other in (*self.tracks.values(), *self._past):
            fused = other.fused
            if fused is not None and (other is state or other.overlaps(state)):
                near = np.flatnonzero(fused <= self.limits.threshold)
                claims += [(float(fused[name]), other.track, int(name)) for name in near]
        granted: dict[int, int] = {}
        owners: set[int] = set()
        for _, track, name in sorted(claims):
            if track not in owners and name not in granted:
                granted[name] = track
                owners.add(track)
        return frozenset(name for name, track in granted.items() if track != state.track)

    def _judge(self, state: TrackState, fused: Floats, taken: frozenset[int], *, final: bool) -> Decision:
        if not len(fused):
            return self._decision(state, Status.UNKNOWN, None, Reason.NO_GALLERY, final=final)
        threshold = self.limits.threshold
        free = fused.copy()
        free[list(taken)] = np.inf
        best, mine = int(np.argmin(fused)), int(np.argmin(free))
        rivals = np.delete(free, mine)
        margin = float(rivals.min() - free[mine]) if np.isfinite(rivals).any() else None
        person: str | None = None
        if threshold is None or not fused[best] <= threshold:
            status, reason = Status.UNKNOWN, Reason.BELOW_THRESHOLD
        elif free[mine] > threshold or (margin is not None and margin < self.limits.margin):
            # The nearest person walks elsewhere in this picture, or a second one is as near.
            status, reason = Status.AMBIGUOUS, Reason.AMBIGUOUS
        else:
            status, reason, person = Status.KNOWN, None, self._known.names[mine]
        distance = float(fused[best if person is None else mine])
        return self._decision(
            state, status, person, reason, final=final, distance=distance, margin=margin, fused=fused
        )

    def _decision(
        self,
        state: TrackState,
        status: Status,
        person: str | None,
        reason: Reason | None,
        *,
        final: bool,
        distance: float | None = None,
        margin: float | None = None,
        fused: Floats | None = None,
    ) -> Decision:
        nearest: tuple[tuple[str, float], ...] = ()
        if fused is not None:
            order = [int(index) for index in np.argsort(fused)[:CANDIDATES] if np.isfinite(fused[index])]
            nearest = tuple((self._known.names[index], float(fused[index])) for index in order)
        return Decision(
            camera=state.camera,
            track=state.track,
            time_ns=state.evidence_ns[1] or state.last_ns,
            first_ns=state.evidence_ns[0] or state.first_ns,
            status=status,
            person=person,
            distance=distance if distance is not None and np.isfinite(distance) else None,
            margin=margin,
            threshold=self.limits.threshold,
            frames=state.accepted,
            windows=state.windows,
            provisional=state.windows == 0,
            final=final,
            reason=reason,
            box=state.box,
            rejections=dict(state.rejections),
            candidates=nearest,
        )


def _why_none(state: TrackState) -> Reason:
    """Why a track gave no window: the most frequent rejection, or too few frames."""
    if state.rejections:
        reason, count = state.rejections.most_common(1)[0]
        if count >= state.accepted:
            return Reason(reason)
    return Reason.TOO_SHORT

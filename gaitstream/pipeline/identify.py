"""Who a track is: windows fused per track, models fused by score, and one person in one place at a time.

No clock and no I/O: embeddings and capture times come in, decisions go out.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Decision, Embedding, Person, Reason, Status
from gaitstream.pipeline.known import DecisionLimits, GallerySnapshot, ScoreScale

Floats = NDArray[np.float32]
CANDIDATES = 5
"""Nearest persons listed in a decision."""
MAX_WINDOWS = 64
"""Windows remembered per track and model: 16 KB each; older ones are forgotten first."""
MAX_ENDED = 1024
"""Ended tracks of a camera whose claims are remembered, some hundred bytes each: the latest ones."""


@dataclass(slots=True)
class _TrackEmbeddings:
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
        embedded_ns: of the first and the last frame behind the embeddings.
        seen: frames the track was seen in.
        accepted: frames of those that were evidence.
        rejections: frames that were not, by reason.
        told: status, person and provisional flag of the last decision told, None before the first.
    """

    camera: str
    track: int
    first_ns: int
    last_ns: int
    box: Floats
    embedded_ns: tuple[int, int] = (0, 0)
    seen: int = 0
    accepted: int = 0
    windows: int = 0
    rejections: Counter[str] = field(default_factory=Counter)
    embeddings: dict[str, _TrackEmbeddings] = field(default_factory=dict)
    """Windows by model."""
    told: tuple[Status, str | None] | None = None
    fused: Floats | None = None
    """Distance to each known name over all models with embeddings; None without any."""


@dataclass(frozen=True, slots=True)
class _EndedTrack:
    """What an ended track still claims against those that were seen together with it."""

    track: int
    first_ns: int
    last_ns: int
    claims: tuple[tuple[float, int], ...]
    """Distance and index of the nearest names within the threshold, as of its end."""


class Identifier:
    """Decides for the tracks of one camera.

    Args:
        camera: its id.
        known: who is known.
        limits: threshold and margin.
    """

    def __init__(self, camera: str, known: GallerySnapshot, limits: DecisionLimits) -> None:
        self.camera = camera
        self.limits = limits
        self.tracks: dict[int, TrackState] = {}
        self._ended: deque[_EndedTrack] = deque(maxlen=MAX_ENDED)
        self._known = known

    @property
    def known(self) -> GallerySnapshot:
        """The snapshot decisions are made with."""
        return self._known

    def use(self, known: GallerySnapshot) -> None:
        """Take a new snapshot: somebody was enrolled or removed; all embeddings are compared again.

        Ended tracks keep their claims to those who are still known.
        """
        before, self._known = self._known, known
        for state in self.tracks.values():
            for model, held in state.embeddings.items():
                held.distances = list(known.distances(model, held.windows))
            state.fused = self._fuse(state)
        for _ in range(len(self._ended)):
            ended = self._ended.popleft()
            claims = [(distance, known.index(before.names[name])) for distance, name in ended.claims]
            still = tuple((distance, name) for distance, name in claims if name is not None)
            if still:
                self._ended.append(replace(ended, claims=still))

    def observe(self, persons: Iterable[Person]) -> None:
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

    def add(self, embedding: Embedding, distances: Floats) -> None:
        """Take a window's embedding: a full one adds to the track's, a provisional one replaces the last.

        Args:
            embedding: of a track that was seen.
            distances: to each name of the snapshot, as `GallerySnapshot.match` gives them, `[names]`.
        """
        tracklet = embedding.tracklet
        state = self.tracks[tracklet.track]
        held = state.embeddings.setdefault(tracklet.model, _TrackEmbeddings())
        first_ns = state.embedded_ns[0] or tracklet.first_ns
        state.embedded_ns = (min(first_ns, tracklet.first_ns), max(state.embedded_ns[1], tracklet.last_ns))
        if tracklet.provisional:
            if not held.full:
                held.provisional, held.distances = embedding.parts, [distances]
                state.fused = self._fuse(state)
            return
        if not held.full:
            held.distances = []
        held.full = [*held.full, embedding.parts][-MAX_WINDOWS:]
        held.distances = [*held.distances, distances][-MAX_WINDOWS:]
        state.windows = max(state.windows, len(held.full))
        state.fused = self._fuse(state)

    def suspect(self, track: int) -> None:
        """An id switch is suspected: what was seen so far may have been somebody else."""
        state = self.tracks.get(track)
        if state is not None:
            state.embeddings.clear()
            state.fused = None
            state.windows = 0
            state.embedded_ns = (0, 0)

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
        claims = sorted(self._claims(state))[:CANDIDATES]
        if claims:
            self._ended.append(_EndedTrack(track, state.first_ns, state.last_ns, tuple(claims)))
        oldest_ns = min((other.first_ns for other in self.tracks.values()), default=None)
        while self._ended and (oldest_ns is None or self._ended[0].last_ns < oldest_ns):
            self._ended.popleft()
        return state, decision

    def is_news(self, decision: Decision) -> bool:
        """Whether a decision differs from what was last told of the track; from now on it is told."""
        state = self.tracks[decision.track]
        if decision.status is Status.INSUFFICIENT and state.told is None:
            return False
        news = state.told != (decision.status, decision.person)
        state.told = (decision.status, decision.person)
        return news

    def _fuse(self, state: TrackState) -> Floats | None:
        """Distance to each name over all models with embeddings, `[n]`; None without any."""
        ready = {model: held for model, held in state.embeddings.items() if held.distances}
        if not ready:
            return None
        scales = {model: self._known.scales.get(model, ScoreScale()) for model in ready}
        rows = np.stack([held.mean() / scales[model].unit for model, held in ready.items()])
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
        claims = [
            (distance, other.track, name)
            for other in self.tracks.values()
            if other is state or _overlap(other, state)
            for distance, name in self._claims(other)
        ]
        claims += [
            (distance, ended.track, name)
            for ended in self._ended
            if _overlap(ended, state)
            for distance, name in ended.claims
            if distance <= self.limits.threshold
        ]
        granted: dict[int, int] = {}
        owners: set[int] = set()
        for _, track, name in sorted(claims):
            if track not in owners and name not in granted:
                granted[name] = track
                owners.add(track)
        return frozenset(name for name, track in granted.items() if track != state.track)

    def _claims(self, state: TrackState) -> list[tuple[float, int]]:
        """Distance and index of the names that a track is near enough to."""
        if state.fused is None or self.limits.threshold is None:
            return []
        near = np.flatnonzero(state.fused <= self.limits.threshold)
        return [(float(state.fused[name]), int(name)) for name in near]

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
            time_ns=state.embedded_ns[1] or state.last_ns,
            first_ns=state.embedded_ns[0] or state.first_ns,
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


def _overlap(one: TrackState | _EndedTrack, other: TrackState) -> bool:
    """Whether both were visible at one time."""
    return max(one.first_ns, other.first_ns) <= min(one.last_ns, other.last_ns)


def _why_none(state: TrackState) -> Reason:
    """Why a track gave no window: the most frequent rejection, or too few frames."""
    if state.rejections:
        reason, count = state.rejections.most_common(1)[0]
        if count >= state.accepted:
            return Reason(reason)
    return Reason.TOO_SHORT

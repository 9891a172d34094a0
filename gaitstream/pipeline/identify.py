"""Who a track is: windows fused per track, models fused by score, and one person in one place at a time.

No clock and no I/O: embeddings and capture times come in, decisions go out.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Decision, Embedding, Person, Reason, Status
from gaitstream.pipeline.basis import Basis, make_basis
from gaitstream.pipeline.known import DecisionLimits, KnownPeople
from gaitstream.pipeline.pieces import SAME, Pieces, unlikeness
from gaitstream.pipeline.ranking import ComparedWindow, Ranking, Windows
from gaitstream.pipeline.verdict import Sightings, Verdict, weigh, why_none

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

    full: list[ComparedWindow] = field(default_factory=list)
    provisional: ComparedWindow | None = None

    @property
    def windows(self) -> list[ComparedWindow]:
        """The full ones, or the latest provisional one before there is any."""
        return self.full or ([self.provisional] if self.provisional is not None else [])


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
    evidence: int = 0
    """Windows that share no frame, of the model that has the fewest."""
    earlier: Windows | None = None
    """Of a track that this one may go on with, until its own windows tell."""
    heights_px: float = 0.0
    """Sum of the box heights of the accepted frames."""
    switched: bool = False
    """What was known was given up because somebody else may walk here now."""
    told: tuple[Status, str | None, bool] | None = None
    ranking: Ranking | None = None
    """The nearest people; None when it has to be made again."""
    ranked: Sequence[tuple[np.float32, int]] = ()
    """Distances and people that the last decision was made with,"""
    taken: frozenset[int] = frozenset()
    """and who of them was taken by other tracks."""

    @property
    def sightings(self) -> Sightings:
        """What of the frames has a say in the reason."""
        height_px = self.heights_px / self.accepted if self.accepted else 0.0
        return Sightings(self.accepted, dict(self.rejections), height_px, self.switched)

    @property
    def compared(self) -> bool:
        """Whether there is a window to compare."""
        return any(held.windows for held in self.embeddings.values())


@dataclass(frozen=True, slots=True)
class _EndedTrack:
    """What an ended track still claims against those that were seen together with it."""

    track: int
    first_ns: int
    last_ns: int
    claims: tuple[tuple[float, str, int], ...]
    """Distance, uid and index of the nearest people within the threshold, as of its end."""
    evidence: int = 0
    """Windows that share no frame."""


class Identifier:
    """Decides for the tracks of one camera.

    Args:
        camera: its id.
        known: who is known.
        limits: threshold and margin.
        has_models: whether any recognizer looks at the tracks.
    """

    def __init__(
        self, camera: str, known: KnownPeople, limits: DecisionLimits, *, has_models: bool = True
    ) -> None:
        self.camera = camera
        self.limits = limits
        self.tracks: dict[int, TrackState] = {}
        self._ended: deque[_EndedTrack] = deque(maxlen=MAX_ENDED)
        self._pieces = Pieces()
        self._known = known
        self._has_models = has_models

    @property
    def known(self) -> KnownPeople:
        """Whom decisions are made with."""
        return self._known

    def use(self, known: KnownPeople) -> None:
        """Compare with other people, or on another scale: all embeddings are compared again."""
        self._known = known
        for state in self.tracks.values():
            state.ranking = None
            for held in state.embeddings.values():
                for window in held.windows:
                    window.nearest = None
                    window.exact.clear()
        self._keep_claims()

    def refresh(self, persons: Collection[int]) -> None:
        """Some people were added, changed or erased: all embeddings are compared with these again.

        Ended tracks keep their claims to those who are still known.
        """
        for state in self.tracks.values():
            state.ranking = None
            for model, held in state.embeddings.items():
                for window in held.windows:
                    self._known.compare_again(model, window, persons)
        self._keep_claims()

    def _keep_claims(self) -> None:
        index = {uid: number for number, uid in self._known.people.uids.items()}
        for _ in range(len(self._ended)):
            ended = self._ended.popleft()
            still = tuple((distance, uid, index[uid]) for distance, uid, _ in ended.claims if uid in index)
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
                state.heights_px += float(person.box[3] - person.box[1])
            else:
                state.rejections[person.rejected.value] += 1

    def add(self, embedding: Embedding, window: ComparedWindow) -> None:
        """Take a window's embedding: a full one adds to the track's, a provisional one replaces the last.

        Args:
            embedding: of a track that was seen.
            window: what `KnownPeople.match` gave for it.
        """
        tracklet = embedding.tracklet
        state = self.tracks[tracklet.track]
        self._take_over(state, tracklet.model, window, provisional=tracklet.provisional)
        held = state.embeddings.setdefault(tracklet.model, _TrackEmbeddings())
        first_ns = state.embedded_ns[0] or tracklet.first_ns
        state.embedded_ns = (min(first_ns, tracklet.first_ns), max(state.embedded_ns[1], tracklet.last_ns))
        if not tracklet.provisional:
            held.full = [*held.full, window][-MAX_WINDOWS:]
            state.windows = max(state.windows, len(held.full))
        elif not held.full:
            held.provisional = window
        else:
            return
        self._changed(state)

    def join(self, track: int, earlier: int) -> None:
        """A track may go on with one that ended: what that rests on counts again once the walks agree."""
        state = self.tracks.get(track)
        if state is not None:
            state.earlier = self._pieces.of(earlier)

    def _take_over(self, state: TrackState, model: str, window: ComparedWindow, *, provisional: bool) -> None:
        """Take in the windows of the track before, or give up the thought, by a window of this one."""
        if state.earlier is None:
            return
        unlike = unlikeness({model: [window]}, state.earlier, self._known.scales, self.limits)
        if unlike is not None and unlike <= SAME:
            for one, windows in state.earlier.items():
                held = state.embeddings.setdefault(one, _TrackEmbeddings())
                held.full = [*windows, *held.full][-MAX_WINDOWS:]
                state.windows = max(state.windows, len(held.full))
            state.earlier = None
        elif not provisional:
            state.earlier = None

    def suspect(self, track: int) -> None:
        """An id switch is suspected: what was seen so far may have been somebody else."""
        state = self.tracks.get(track)
        if state is not None:
            state.switched = state.switched or state.compared
            state.embeddings.clear()
            self._changed(state)
            state.windows = 0
            state.embedded_ns = (0, 0)

    def decide(self, track: int, *, final: bool = False) -> Decision:
        """Say who a track is, given everybody else in the picture."""
        state = self.tracks[track]
        if not state.compared:
            state.ranked, state.taken = (), frozenset()
            reason = why_none(state.sightings, has_models=self._has_models)
            verdict: Verdict[int] = Verdict(Status.INSUFFICIENT, reason)
            return self._decision(state, verdict, final=final)
        return self._judge(state, self._taken_by_others(state), final=final)

    def end(self, track: int) -> tuple[TrackState, Decision]:
        """The last word on a track.

        Its claim to a person holds for as long as a track goes on that it was seen together with.
        """
        decision = self.decide(track, final=True)
        state = self.tracks.pop(track)
        full = {model: held.full for model, held in state.embeddings.items()}
        self._pieces.keep(track, state.last_ns, full)
        claims = sorted(self._claims(state))[:CANDIDATES]
        if claims:
            self._ended.append(
                _EndedTrack(track, state.first_ns, state.last_ns, tuple(claims), state.evidence)
            )
        oldest_ns = min((other.first_ns for other in self.tracks.values()), default=None)
        while self._ended and (oldest_ns is None or self._ended[0].last_ns < oldest_ns):
            self._ended.popleft()
        return state, decision

    def is_news(self, decision: Decision) -> bool:
        """Whether a decision differs from what was last told of the track; from now on it is told.

        That it rests on a full window for the first time is news too.
        """
        state = self.tracks[decision.track]
        if decision.status is Status.INSUFFICIENT and state.told is None:
            return False
        told = (decision.status, decision.person, decision.provisional)
        news = state.told != told
        state.told = told
        return news

    @staticmethod
    def _changed(state: TrackState) -> None:
        """There are other windows than before."""
        state.ranking = None
        state.evidence = min((disjoint(held.full) for held in state.embeddings.values()), default=0)

    def _limits(self, track: TrackState | _EndedTrack) -> DecisionLimits:
        """What a track is held against."""
        return self.limits.after(track.evidence)

    def _rank(self, state: TrackState, more: int = 0) -> Ranking:
        """The nearest people of a track: candidates, and all it may claim.

        Of several tracks that are seen together each is given at most one person, so that none needs to look
        at more people than there are tracks, and two more for the margin.
        """
        if state.ranking is None or (more and not state.ranking.everybody):
            windows = {model: held.windows for model, held in state.embeddings.items()}
            most = len(self.tracks) + len(self._ended) + 2
            count = CANDIDATES + more
            reach = self._limits(state).threshold
            state.ranking = self._known.rank(windows, count=count, threshold=reach, most=most)
        return state.ranking

    def _taken_by_others(self, state: TrackState) -> frozenset[int]:
        """Names claimed with a smaller distance by tracks visible at the same time.

        Claims are granted from the smallest distance upwards, so that the surest track keeps its person.
        """
        if self.limits.threshold is None:
            return frozenset()
        claims = [
            (distance, other.track, person)
            for other in self.tracks.values()
            if other is state or _overlap(other, state)
            for distance, _, person in self._claims(other)
        ]
        claims += [
            (distance, ended.track, person)
            for ended in self._ended
            if _overlap(ended, state)
            for reach in [self._limits(ended).threshold or 0.0]
            for distance, _, person in ended.claims
            if distance <= reach
        ]
        granted: dict[int, int] = {}
        owners: set[int] = set()
        for _, track, person in sorted(claims):
            if track not in owners and person not in granted:
                granted[person] = track
                owners.add(track)
        return frozenset(person for person, track in granted.items() if track != state.track)

    def _claims(self, state: TrackState) -> list[tuple[float, str, int]]:
        """Distance, uid and index of the people that a track is near enough to."""
        threshold = self._limits(state).threshold
        if threshold is None or not state.compared:
            return []
        ranking = self._rank(state)
        uids = self._known.people.uids
        return [
            (float(distance), uids.get(person, ""), person)
            for distance, person in zip(ranking.distances, ranking.persons, strict=True)
            if distance <= threshold
        ]

    def _judge(self, state: TrackState, taken: frozenset[int], *, final: bool) -> Decision:
        state.ranked, state.taken = (), taken
        if self._known.people.names.keys() <= self._known.people.visitors:
            nobody: Verdict[int] = Verdict(Status.UNKNOWN, Reason.NO_GALLERY)
            return self._decision(state, nobody, final=final)
        ranking = self._rank(state)
        if len(ranking.persons) < len(taken) + 2:
            ranking = self._rank(state, more=len(taken))
        state.ranked = list(zip(ranking.distances, ranking.persons, strict=True))
        limits, visitors = self._limits(state), self._known.people.visitors
        verdict = weigh(state.ranked, taken, limits, state.sightings, visitors)
        return self._decision(state, verdict, final=final)

    def basis(self, state: TrackState, decision: Decision) -> Basis:
        """What the last decision on a track rests on."""
        windows = {model: held.windows for model, held in state.embeddings.items()}
        limits, seen = self._limits(state), state.sightings
        return make_basis(
            self._known, decision, windows, state.ranked, state.taken, limits, seen, least=CANDIDATES
        )

    def _decision(self, state: TrackState, verdict: Verdict[int], *, final: bool) -> Decision:
        person, ranked = verdict.person, state.ranked
        names, uids = self._known.people.names, self._known.people.uids
        return Decision(
            camera=state.camera,
            track=state.track,
            time_ns=state.embedded_ns[1] or state.last_ns,
            first_ns=state.embedded_ns[0] or state.first_ns,
            status=verdict.status,
            person=None if person is None else names.get(person),
            distance=verdict.distance,
            margin=verdict.margin,
            threshold=self._limits(state).threshold,
            frames=state.accepted,
            windows=state.windows,
            provisional=state.windows == 0,
            final=final,
            reason=verdict.reason,
            box=state.box,
            rejections=dict(state.rejections),
            candidates=tuple((names.get(one, ""), float(far)) for far, one in ranked[:CANDIDATES]),
            person_id=None if person is None else uids.get(person),
            candidate_ids=tuple(uids.get(one, "") for _, one in ranked[:CANDIDATES]),
        )


def disjoint(windows: Sequence[ComparedWindow]) -> int:
    """How many windows there are that share no frame, of one track in the order of time."""
    count, end_ns = 0, -1
    for window in windows:
        if window.first_ns > end_ns:
            count, end_ns = count + 1, window.last_ns
    return count


def _overlap(one: TrackState | _EndedTrack, other: TrackState) -> bool:
    """Whether both were visible at one time."""
    return max(one.first_ns, other.first_ns) <= min(one.last_ns, other.last_ns)

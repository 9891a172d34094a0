"""Who each track is, over all cameras at once: gait, transit, and one place for each person at a time.

Each candidate of a track has a score, its log odds by gait and by where the person was last. Tracks that go
on at once share out the people so that the scores come to the most (`gaitstream.assignment`);
nobody is worth 0. What a camera did not say itself needs more: the person must be expected here, and be
beyond doubt beside all other explanations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gaitstream.assignment import assign
from gaitstream.fleet.handoff_gait import probability
from gaitstream.fleet.site_tracks import SiteTrack

SURE = 0.9
"""Probability from which on a track is given a name that its camera did not say."""
EXPECTED = 0.5
"""Log odds by transit that such a name needs."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One candidate of a track, by log odds.

    Attributes:
        gait: by distance.
        transit: by where the person was last, and when.
    """

    gait: float
    transit: float

    @property
    def score(self) -> float:
        """Both together."""
        return self.gait + self.transit


Claims = Mapping[str, Claim]
Conflict = Callable[[SiteTrack, SiteTrack], bool]
Choice = tuple[str | None, float]


def related(start: Iterable[SiteTrack], tracks: Iterable[SiteTrack]) -> list[SiteTrack]:
    """Those whose candidates depend on each other, beginning with some."""
    by_person: dict[str, list[SiteTrack]] = {}
    for track in tracks:
        for person in track.gait:
            by_person.setdefault(person, []).append(track)
    found: dict[int, SiteTrack] = {}
    waiting = list(start)
    while waiting:
        track = waiting.pop()
        if id(track) not in found:
            found[id(track)] = track
            waiting += [other for person in track.gait for other in by_person.get(person, ())]
    return list(found.values())


def share_out(tracks: Sequence[SiteTrack], claims: Sequence[Claims], conflict: Conflict) -> list[Choice]:
    """A person or nobody for each track, with the probability of that.

    Args:
        tracks: that depend on each other.
        claims: of each, by person.
        conflict: whether two tracks cannot be the same person.
    """
    allowed = [dict(own) for own in claims]
    while True:
        sharing = _Sharing(tracks, claims, conflict, _assign(allowed))
        sharing.double(allowed)
        found = [sharing.weigh(at) for at in range(len(tracks))]
        doubtful = [
            at
            for at, (person, confidence) in enumerate(found)
            if person is not None
            and person != _own_word(tracks[at])
            and (claims[at][person].transit < EXPECTED or confidence < SURE)
        ]
        if not doubtful:
            return found
        for at in doubtful:
            del allowed[at][sharing.given[at] or ""]


class _Sharing:
    """Who has whom.

    Attributes:
        given: a person or nobody for each track.
    """

    def __init__(
        self,
        tracks: Sequence[SiteTrack],
        claims: Sequence[Claims],
        conflict: Conflict,
        given: list[str | None],
    ) -> None:
        self.given = given
        self._tracks = tracks
        self._claims = claims
        self._conflict = conflict
        self._holders: dict[str, set[int]] = {}
        for at, person in enumerate(given):
            if person is not None:
                self._holders.setdefault(person, set()).add(at)

    def double(self, allowed: Sequence[Claims]) -> None:
        """Let tracks that can be one person be it: two pieces of a track, two cameras that see one place."""
        for at, own in enumerate(allowed):
            now = self.given[at]
            best = max(own, key=lambda person: own[person].score, default=None)
            if best is None or best == now or own[best].score <= (own[now].score if now is not None else 0.0):
                continue
            if not self._is_held(best, at):
                self.given[at] = best
                self._holders.setdefault(best, set()).add(at)
                self._holders.get(now or "", set()).discard(at)

    def weigh(self, at: int) -> Choice:
        """What a track was given, and its probability beside whoever else it may be."""
        person, own = self.given[at], self._claims[at]
        others = [
            claim.score for other, claim in own.items() if other != person and not self._is_held(other, at)
        ]
        if person is None:
            return None, probability(0.0, others)
        return person, probability(own[person].score, [0.0, *others])

    def _is_held(self, person: str, at: int) -> bool:
        """Whether another track is this person, so that this one cannot be."""
        return any(
            self._conflict(self._tracks[at], self._tracks[other])
            for other in self._holders.get(person, ())
            if other != at
        )


def _own_word(track: SiteTrack) -> str | None:
    """Whom the camera names by itself."""
    return None if track.said is None else track.said.person_id or track.said.person


def _assign(claims: Sequence[Claims]) -> list[str | None]:
    """One person for each track at most, and one track for each person."""
    people = sorted({person for own in claims for person in own})
    column = {person: at for at, person in enumerate(people)}
    # Every track has a nobody of its own, at the end.
    cost = np.full((len(claims), len(people) + len(claims)), 1e6)
    for row, own in enumerate(claims):
        cost[row, len(people) + row] = 0.0
        for person, claim in own.items():
            cost[row, column[person]] = -claim.score
    _, columns = assign(cost)
    return [people[at] if at < len(people) else None for at in columns]

"""The tracks of all cameras of a site, and where each person was seen last.

Two kinds of time are kept apart. Capture times are the cameras' own, and cameras' clocks may differ; times of
arrival are one clock's, and say which tracks of different cameras went on at once.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection
from dataclasses import dataclass, field

from gaitstream.events import CameraOnline, TrackEnded, TrackStarted
from gaitstream.events.schema import Identity

TRAIL = 8
"""Sightings of a person that are remembered."""
Key = tuple[str, str, int]
"""Run, camera and track."""


@dataclass(slots=True, eq=False)
class SiteTrack:
    """One track of one camera.

    Attributes:
        key: run, camera and track.
        opened_ns: time of arrival of the first event.
        heard_ns: of the latest one.
        closed_ns: of the last one; None while it goes on.
        first_ns: capture time of the first frame.
        last_ns: of the last one that is known of.
        said: the camera's last word.
        gait: log odds of each candidate who may be it, by id, from their distances.
        chosen: id of the person it is, as the whole site says.
        confidence: probability of that.
        told: id of the person who was told last, by the camera or by a correction.
        handed: ids of the people whose coming was told.
    """

    key: Key
    opened_ns: int
    heard_ns: int
    first_ns: int
    last_ns: int
    closed_ns: int | None = None
    said: Identity | None = None
    gait: dict[str, float] = field(default_factory=dict)
    chosen: str | None = None
    confidence: float = 0.0
    told: str | None = None
    handed: set[str] = field(default_factory=set)

    @property
    def camera(self) -> str:
        """Where it is."""
        return self.key[1]

    @property
    def scores(self) -> dict[str, float]:
        """Distance to each candidate, by id."""
        return {person: distance for person, (_, distance) in self._candidates.items()}

    def name_of(self, person: str) -> str | None:
        """A candidate's name."""
        return self._candidates.get(person, (None, 0.0))[0]

    @property
    def _candidates(self) -> dict[str, tuple[str, float]]:
        """Name and distance by id, or by name where the gallery has no ids."""
        if self.said is None:
            return {}
        listed = self.said.candidates
        ids = self.said.candidate_ids or tuple(name for name, _ in listed)
        found = {one: candidate for one, candidate in zip(ids, listed, strict=False) if one}
        person = self.said.person
        if person is not None and self.said.distance is not None:
            # The one who is named may come after those who are taken by others in the picture.
            found.setdefault(self.said.person_id or person, (person, self.said.distance))
        return found

    def goes_on_with(self, other: SiteTrack, lost_ns: int, now_ns: int) -> bool:
        """Whether both were seen at one time, as far as is known now.

        Args:
            other: of any camera.
            lost_ns: how long a track waits for its person before it ends.
            now_ns: time of arrival of the latest event.
        """
        if self.camera == other.camera:
            return max(self.first_ns, other.first_ns) < min(self.last_ns, other.last_ns)
        earlier, later = sorted((self, other), key=lambda track: track.opened_ns)
        ended_ns = now_ns if earlier.closed_ns is None else earlier.closed_ns
        return ended_ns - lost_ns > later.opened_ns


@dataclass(slots=True)
class _Holder:
    """The run that has a camera.

    Attributes:
        run: its id.
        lease: the largest token it has spoken with; 0 where it is of no fleet.
        since_ns: when it was first heard of there.
    """

    run: str
    lease: int
    since_ns: int

    def is_later(self, lease: int, now_ns: int) -> bool:
        """Whether it has the camera since another run said something with this token, at this time."""
        if lease and self.lease:
            return self.lease > lease
        return self.since_ns > now_ns


class SiteTracks:
    """All tracks that go on.

    A camera is one run's at a time. What the run before it said comes late where its journal was away: such
    a track has ended, and ends none of the run that has the camera now.

    Attributes:
        open: by key.
    """

    def __init__(self) -> None:
        self.open: dict[Key, SiteTrack] = {}
        self._left: dict[Key, SiteTrack] = {}
        """Tracks that another run ended, of which more may come."""
        self._runs: dict[str, _Holder] = {}

    def take(self, event: Identity | TrackStarted | TrackEnded, now_ns: int) -> SiteTrack:
        """The track an event is of, brought up to date."""
        key = (event.run, event.camera, event.track)
        has_it = self.has_camera(event, now_ns)
        track = self.open.get(key) or self._left.get(key)
        if track is None:
            track = SiteTrack(key, now_ns, now_ns, _first_ns(event), event.time_ns)
            if has_it:
                self.open[key] = track
            else:
                track.closed_ns = self._runs[event.camera].since_ns
                self._left[key] = track
        track.heard_ns = max(track.heard_ns, now_ns)
        track.last_ns = max(track.last_ns, event.time_ns)
        if isinstance(event, Identity):
            track.said = event
            track.told = event.person_id or event.person
        elif isinstance(event, TrackEnded):
            track.first_ns = min(track.first_ns, event.first_ns)
            self._close(track, now_ns)
        return track

    def forget(self, persons: Collection[str]) -> None:
        """What cameras said of people who are gone from the gallery holds no more."""
        for track in (*self.open.values(), *self._left.values()):
            if not track.scores.keys().isdisjoint(persons):
                track.said = track.told = None
                track.gait = {}

    def has_camera(self, event: Identity | TrackStarted | TrackEnded | CameraOnline, now_ns: int) -> bool:
        """Whether the event's run has the camera; false of what an earlier one said, and comes late.

        The run before, which may have died without a word, has left it then: its tracks have ended.
        """
        known = self._runs.get(event.camera)
        if known is not None and known.run == event.run:
            known.lease = max(known.lease, event.lease)
            return True
        if known is not None and known.is_later(event.lease, now_ns):
            return False
        self._runs[event.camera] = _Holder(event.run, event.lease, now_ns)
        for track in [one for one in self.open.values() if one.camera == event.camera]:
            self._close(track, now_ns)
            self._left[track.key] = track
        return True

    def end_silent(self, before_ns: int) -> None:
        """Tracks of which nothing was heard since have ended, though nobody said so."""
        self._left = {key: one for key, one in self._left.items() if one.heard_ns >= before_ns}
        for track in [one for one in self.open.values() if one.heard_ns < before_ns]:
            self._close(track, track.heard_ns)

    def _close(self, track: SiteTrack, now_ns: int) -> None:
        track.closed_ns = now_ns if track.closed_ns is None else min(track.closed_ns, now_ns)
        self.open.pop(track.key, None)


class Trails:
    """Where each person was seen.

    Args:
        horizon_ns: how long that matters.
    """

    def __init__(self, horizon_ns: int) -> None:
        self._horizon_ns = horizon_ns
        self._trails: dict[str, deque[SiteTrack]] = defaultdict(lambda: deque(maxlen=TRAIL))

    def add(self, person: str, track: SiteTrack) -> None:
        """A track is this person."""
        if track not in self._trails[person]:
            self._trails[person].append(track)

    def remove(self, person: str, track: SiteTrack) -> None:
        """A track is not this person after all."""
        if track in self._trails.get(person, ()):
            self._trails[person].remove(track)

    def of(self, person: str, now_ns: int) -> list[SiteTrack]:
        """The tracks of a person, the latest first, as far back as it matters."""
        kept = [track for track in self._trails.get(person, ()) if self._matters(track, now_ns)]
        return sorted(kept, key=lambda track: -track.opened_ns)

    def forget(self, persons: Collection[str]) -> None:
        """Nothing is left of people who are gone from the gallery."""
        for person in persons:
            for track in self._trails.pop(person, ()):
                track.chosen = None

    def drop_old(self, now_ns: int) -> None:
        """Let go of people who have not been seen for long."""
        for person in [one for one in self._trails if not self.of(one, now_ns)]:
            del self._trails[person]

    def _matters(self, track: SiteTrack, now_ns: int) -> bool:
        return track.closed_ns is None or now_ns - track.closed_ns <= self._horizon_ns


def _first_ns(event: Identity | TrackStarted | TrackEnded) -> int:
    return event.time_ns if isinstance(event, TrackStarted) else event.first_ns or event.time_ns

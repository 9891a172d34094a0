"""One person in one place, across cameras: corrections to what each camera of a site says by itself.

No clock and no I/O: events come in with their time of arrival, corrections go out. What a camera says already
holds for its own picture; it is corrected only where the other cameras make a difference.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from gaitstream.events import (
    CameraOnline,
    Event,
    GalleryChanged,
    IdentityCorrected,
    IdentityFinal,
    TrackEnded,
    TrackStarted,
)
from gaitstream.events.schema import Identity
from gaitstream.fleet.handoff_events import correction, handed_over
from gaitstream.fleet.handoff_gait import GaitScale
from gaitstream.fleet.site_claims import Claim, Claims, related, share_out
from gaitstream.fleet.site_tracks import SiteTrack, SiteTracks, Trails
from gaitstream.fleet.transit import TransitTimes

S = 1_000_000_000
HANDED = 0.8
"""Probability from which on somebody's coming is told."""
_STRONG = 2.0
"""Log odds by gait alone from which on a match teaches transit times."""
_LEAD = 0.1
"""Least lead over the second nearest person that it needs, in units of the threshold."""
_MOST_TRANSIT = 5.0
_LEAST_TRANSIT = -6.0
"""Bounds of the log odds by transit: people also walk in groups, and take ways they never took."""
_PROVISIONAL = 0.5
"""What less than a full window says, of what a full one would."""
_BREAK_S = 5.0
"""Tracks break: who was lost by the same camera so shortly before is not less likely for that."""
_ELSEWHERE = 4.0
"""Log odds against somebody who was certainly seen elsewhere at the same time."""


@dataclass(frozen=True, slots=True)
class HandOffRules:
    """What hand-off goes by.

    Attributes:
        horizon_s: how long a last place is remembered, and a track goes on of which nothing is heard.
        lost_s: how long tracks wait for their person before they end; more than any camera's
            `tracking.lost_s`, three times that where it tracks by appearance.
    """

    horizon_s: float = 600.0
    lost_s: float = 3.5


class HandOff:
    """Follows the people of one site over its cameras.

    Args:
        rules: what to go by.
        transit: what is known of the ways; learned further.
    """

    def __init__(self, rules: HandOffRules | None = None, transit: TransitTimes | None = None) -> None:
        rules = rules or HandOffRules()
        self.transit = transit or TransitTimes(rules.horizon_s)
        self._lost_ns = round(rules.lost_s * S)
        self._horizon_ns = round(rules.horizon_s * S)
        self._gait = GaitScale()
        self._tracks = SiteTracks()
        self._seen = Trails(self._horizon_ns)
        self._sure = Trails(self._horizon_ns)
        """By what cameras said beyond doubt, whatever was corrected: transit times are learned from these."""
        self._due: list[tuple[int, int, SiteTrack]] = []
        self._number = 0
        self._now_ns = 0
        self._dropped_ns = 0

    def take(self, event: Event, now_ns: int) -> list[Event]:
        """Take an event in.

        Args:
            event: of any camera of the site, in the order of its publisher.
            now_ns: when it was published, UTC nanoseconds of one clock or of clocks that agree.

        Returns:
            Corrections and hand-offs that follow from it.
        """
        self._now_ns = max(self._now_ns, now_ns)  # a publisher that was away tells of earlier times
        changed = self._overdue(now_ns)
        match event:
            case IdentityCorrected():
                pass
            case Identity():
                changed.append(self._take_identity(event, now_ns))
            case TrackStarted() | TrackEnded():
                self.transit.see(self._tracks.take(event, now_ns).camera)
            case CameraOnline():
                self._tracks.has_camera(event, now_ns)
            case GalleryChanged():
                for known in (self._tracks, self._seen, self._sure):
                    known.forget(event.gone)
            case _:
                pass
        self._drop_old(now_ns)
        return self._decide(changed, now_ns)

    def _take_identity(self, event: Identity, now_ns: int) -> SiteTrack:
        track = self._tracks.take(event, now_ns)
        track.gait = self._gait_of(event, track)
        self.transit.see(track.camera)
        if self._is_beyond_doubt(event):
            self._learn(event, track, now_ns)
        # Whether a track of another camera goes on beside this one is known only when it would have ended.
        due_ns = track.opened_ns + self._lost_ns + 1
        if now_ns < due_ns:
            self._number += 1
            heapq.heappush(self._due, (due_ns, self._number, track))
        return track

    def _overdue(self, now_ns: int) -> list[SiteTrack]:
        """Tracks to look at again though nothing was said of them."""
        found = []
        while self._due and self._due[0][0] <= now_ns:
            found.append(heapq.heappop(self._due)[2])
        return found

    def _drop_old(self, now_ns: int) -> None:
        if now_ns - self._dropped_ns > self._horizon_ns // 10:
            self._dropped_ns = now_ns
            self._tracks.end_silent(now_ns - self._horizon_ns)
            self._seen.drop_old(now_ns)
            self._sure.drop_old(now_ns)

    def _decide(self, changed: Iterable[SiteTrack], now_ns: int) -> list[Event]:
        start = [track for track in changed if track.closed_ns is None]
        if not start:
            return []
        tracks = related(start, self._tracks.open.values())
        claims = [self._claims(track, now_ns) for track in tracks]
        out: list[Event] = []
        for track, (person, confidence) in zip(
            tracks, share_out(tracks, claims, self._conflict), strict=True
        ):
            self._choose(track, person, confidence)
            out += correction(track)
            out += self._hand_off(track, now_ns)
        return out

    def _choose(self, track: SiteTrack, person: str | None, confidence: float) -> None:
        if track.chosen is not None and track.chosen != person:
            self._seen.remove(track.chosen, track)
        if person is not None:
            self._seen.add(person, track)
        track.chosen, track.confidence = person, confidence

    def _claims(self, track: SiteTrack, now_ns: int) -> Claims:
        return {
            person: Claim(gait, self._expected(track, person, now_ns)) for person, gait in track.gait.items()
        }

    def _gait_of(self, event: Identity, track: SiteTrack) -> dict[str, float]:
        """Log odds of the candidates, without those whom no expectation would make likely."""
        if not event.threshold:
            return {}
        weight = _PROVISIONAL if event.provisional else 1.0
        odds = {
            person: weight * self._gait.log_odds(distance, event.threshold)
            for person, distance in track.scores.items()
        }
        return {person: one for person, one in odds.items() if one > -_MOST_TRANSIT}

    def _expected(self, track: SiteTrack, person: str, now_ns: int) -> float:
        """Log odds by where the person was last, and was at the same time."""
        others = [seen for seen in self._seen.of(person, now_ns) if seen is not track]
        # Those that go on are shared out between them; of those that have ended the word stands.
        elsewhere = max(
            (one.confidence for one in others if one.closed_ns is not None and self._conflict(track, one)),
            default=0.0,
        )
        before = self._before(track, others)
        expected = 0.0
        if before is not None:
            transit_s = (track.first_ns - before.last_ns) / S
            expected = self.transit.log_ratio(before.camera, track.camera, transit_s) * before.confidence
            if before.camera == track.camera and transit_s < _BREAK_S:
                expected = max(expected, 0.0)
        return min(max(expected - _ELSEWHERE * elsewhere, _LEAST_TRANSIT), _MOST_TRANSIT)

    def _before(self, track: SiteTrack, sightings: Iterable[SiteTrack]) -> SiteTrack | None:
        """The last of some sightings that can have led here."""
        for seen in sightings:
            if seen.opened_ns < track.opened_ns and not self._conflict(track, seen):
                return seen
        return None

    def _conflict(self, one: SiteTrack, other: SiteTrack) -> bool:
        """Whether two tracks cannot be the same person."""
        if not one.goes_on_with(other, self._lost_ns, self._now_ns):
            return False
        return one.camera == other.camera or not self.transit.see_together(one.camera, other.camera)

    def _is_beyond_doubt(self, event: Identity) -> bool:
        if event.person is None or event.distance is None or not event.threshold or event.provisional:
            return False
        lead = event.margin is None or event.margin >= _LEAD * event.threshold
        return lead and self._gait.log_odds(event.distance, event.threshold) >= _STRONG

    def _learn(self, event: Identity, track: SiteTrack, now_ns: int) -> None:
        """Learn from those whom their cameras recognised beyond doubt; from nothing that was corrected."""
        person = event.person_id or event.person or ""
        self._sure.add(person, track)
        if not isinstance(event, IdentityFinal):
            return
        second = event.candidates[1][1] if len(event.candidates) > 1 else None
        self._gait.learn(event.distance or 0.0, second, event.threshold or 1.0)
        before = next((one for one in self._sure.of(person, now_ns) if one.opened_ns < track.opened_ns), None)
        if before is not None:
            transit_s = (track.first_ns - before.last_ns) / S
            at_once = before.goes_on_with(track, self._lost_ns, now_ns)
            self.transit.learn(before.camera, track.camera, transit_s, at_once=at_once)

    def _hand_off(self, track: SiteTrack, now_ns: int) -> list[Event]:
        """Tell that somebody came from another camera, once, when it is sure enough."""
        person = track.chosen
        if person is None or track.said is None or track.said.provisional or person in track.handed:
            return []
        others = [seen for seen in self._seen.of(person, now_ns) if seen is not track]
        before = self._before(track, others)
        if before is None or before.camera == track.camera:
            return []
        if track.confidence * before.confidence < HANDED:
            return []
        track.handed.add(person)
        return [handed_over(track, track.said, before, self.transit.expected_s(before.camera, track.camera))]

"""What hand-off says of a track: corrections, and who came from where."""

from __future__ import annotations

from gaitstream.events import CameraHandoff, Event, IdentityCorrected
from gaitstream.events.schema import Identity
from gaitstream.fleet.site_tracks import SiteTrack

S = 1_000_000_000
_KEPT = (
    "time_ns", "run", "models", "camera", "track", "threshold", "first_ns", "frames", "windows",
    "provisional", "box", "rejections", "candidates", "candidate_ids",
)  # fmt: skip
"""Fields of the camera's word that a correction repeats."""


def correction(track: SiteTrack) -> list[Event]:
    """What to say of who a track is, where that differs from what was said last; it is told from then on."""
    said, person = track.said, track.chosen
    if said is None or person == track.told:
        return []
    track.told = person
    own = said.person_id or said.person
    if person == own:
        return [_corrected(track, said, "withdrawn", said.status, said.reason)]
    if person is None:
        return [_corrected(track, said, "elsewhere", "ambiguous", "ambiguous")]
    return [_corrected(track, said, "transit", "known", None)]


def handed_over(
    track: SiteTrack, said: Identity, before: SiteTrack, expected_s: float | None
) -> CameraHandoff:
    """`camera.handoff`.

    Args:
        track: where somebody is now.
        said: its camera's last word.
        before: where they were.
        expected_s: how long that usually takes.
    """
    person = track.chosen or ""
    return CameraHandoff(
        time_ns=said.time_ns,
        run=said.run,
        camera=said.camera,
        track=said.track,
        person=track.name_of(person),
        person_id=person,
        from_camera=before.camera,
        from_track=before.key[2],
        from_run=before.key[0],
        left_ns=before.last_ns,
        transit_s=round((track.first_ns - before.last_ns) / S, 3),
        expected_s=expected_s,
        confidence=round(track.confidence * before.confidence, 4),
    )


def _corrected(
    track: SiteTrack, said: Identity, cause: str, status: str, reason: str | None
) -> IdentityCorrected:
    person = track.chosen
    kept = {name: getattr(said, name) for name in _KEPT}
    return IdentityCorrected(
        **kept,
        status=status,
        person=None if person is None else track.name_of(person),
        person_id=person,
        distance=said.distance if person is None else track.scores[person],
        reason=reason,
        cause=cause,
        confidence=round(track.confidence, 4),
        was_id=said.person_id or said.person,
    )

"""Events as lines for people."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from gaitstream.events.schema import (
    CameraHandoff,
    CameraOffline,
    CameraOnline,
    Event,
    GalleryChanged,
    Identity,
    IdentityCorrected,
    IdentityFinal,
    PipelineStats,
    RunStarted,
    RunStopped,
    TrackEnded,
    TrackStarted,
    Unrecognised,
    VisitorJoined,
    VisitorNamed,
    VisitorSeen,
)

QUIET = (TrackStarted, TrackEnded, PipelineStats)
"""Shown on demand only."""


_EARLIEST_S, _LATEST_S = -62_135_510_400, 253_402_214_399
"""Years 1 to 9999, less a day for the time zone."""


@dataclass(frozen=True)
class ReadableFilter:
    """What is shown.

    Attributes:
        cameras: ids; none: all of them.
        persons: names or ids; none: everybody.
        everything: also provisional answers, tracks and statistics.
    """

    cameras: frozenset[str] = frozenset()
    persons: frozenset[str] = frozenset()
    everything: bool = False

    def takes(self, event: Event) -> bool:
        """Whether to show an event."""
        if self.cameras and getattr(event, "camera", None) not in self.cameras:
            return False
        if self.persons and not self.persons & {
            getattr(event, "person", None),
            getattr(event, "person_id", None),
        }:
            return False
        if self.everything:
            return True
        return not isinstance(event, QUIET) and not (isinstance(event, Identity) and event.provisional)


def readable(event: Event) -> str:
    """One line: local time, where, and what; control characters are written out."""
    stamp = datetime.datetime.fromtimestamp(min(max(event.time_ns / 1e9, _EARLIEST_S), _LATEST_S))
    where = str(getattr(event, "camera", "") or "-")
    return one_line(f"{stamp:%Y-%m-%d %H:%M:%S}  {where:<14} {_what(event)}")


def _what(event: Event) -> str:
    if isinstance(event, Identity):
        return _identity(event)
    if isinstance(event, TrackStarted):
        return f"#{event.track} is seen"
    if isinstance(event, TrackEnded):
        return f"#{event.track} is gone ({event.cause}): {event.accepted} of {event.seen} frames were of use"
    if isinstance(event, CameraHandoff):
        came = f"came from {event.from_camera} #{event.from_track} in {event.transit_s:.1f} s"
        return f"#{event.track} {event.person or event.person_id} {came}"
    if isinstance(event, CameraOnline):
        return f"online, {event.width}x{event.height} at {event.fps:g} frames/s"
    if isinstance(event, CameraOffline):
        return f"OFFLINE ({event.cause}) {event.detail}".rstrip()
    if isinstance(event, RunStarted):
        return f"run {event.run} started: gaitstream {event.version}, {len(event.cameras)} cameras"
    if isinstance(event, RunStopped):
        return f"run {event.run} stopped ({event.cause}): {event.tracks} tracks in {event.frames} frames"
    return _other(event)


def _identity(event: Identity) -> str:
    sure = "for good" if isinstance(event, IdentityFinal) else "provisional" if event.provisional else ""
    if isinstance(event, IdentityCorrected):
        sure = f"corrected: {event.cause}"
    name = event.person or event.status
    parts = [f"#{event.track}", name, _distance(event), f"({event.reason})" if event.reason else "", sure]
    return " ".join(part for part in parts if part)


def _distance(event: Identity) -> str:
    """Beside the threshold, with the digits it takes to see on which side of it."""
    if event.distance is None:
        return ""
    if event.threshold is None:
        return f"at {event.distance:.2f}"
    digits = 2 if f"{event.distance:.2f}" != f"{event.threshold:.2f}" else 4
    return f"at {event.distance:.{digits}f} of {event.threshold:.{digits}f}"


def _other(event: Event) -> str:
    if isinstance(event, VisitorSeen):
        who = f", who is {event.person}" if event.person else ""
        return f"#{event.track} was {event.visitor}{who}, seen {event.walks} times"
    if isinstance(event, VisitorJoined):
        who = f"{event.visitor} is" if not event.left else f"not {event.visitor} but"
        return f"{who} {event.into}: {len(event.tracks)} tracks changed hands"
    if isinstance(event, VisitorNamed):
        return f"{event.visitor} is {event.person or event.person_id}: {len(event.tracks)} tracks until now"
    if isinstance(event, GalleryChanged):
        merged = f", {len(event.merged)} merged" if event.merged else ""
        return f"gallery: {event.people} people, {len(event.added)} new, {len(event.removed)} gone{merged}"
    if isinstance(event, PipelineStats):
        frames = sum(camera.fps for camera in event.cameras.values())
        people = sum(camera.people for camera in event.cameras.values())
        memory = event.rss_bytes / 2**20
        return f"{len(event.cameras)} cameras, {people} people, {frames:.1f} frames/s, {memory:.0f} MiB"
    return event.kind if isinstance(event, Unrecognised) else event.type


def one_line(text: str) -> str:
    """A text of somebody else's as it can be shown: what ends a line or moves a cursor is spelt out."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)

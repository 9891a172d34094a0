"""An event as a line of a list: what `events_rows.html` and its like show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from gaitstream.console.showing import ShownEvent
from gaitstream.console.site import ConsoleSite

IDENTITY = ("identity.decided", "identity.revised", "identity.confirmed", "identity.final")
"""Kinds of events that say who a track is."""


@dataclass(frozen=True)
class EventLine:
    """One word on a track.

    Attributes:
        id: of the event.
        kind: such as `final`.
        time_ns: UTC nanoseconds of capture.
        camera: id.
        track: id, unique per camera and run.
        key: names the track among all.
        status: such as `known`.
        person: name; empty for nobody, and for the forgotten.
        person_id: in the gallery.
        reason: why there is no name; empty where there is one.
        distance: to the nearest person; None where there was nobody to compare with.
        threshold: at which somebody is known; None where it was not needed.
        frames: behind it.
        windows: behind it.
        provisional: no window was full yet.
        thumb: address of a small picture; empty where none are kept.
    """

    id: str
    kind: str
    time_ns: int
    camera: str
    track: int
    key: str
    status: str
    person: str
    person_id: str
    reason: str
    distance: float | None
    threshold: float | None
    frames: int
    windows: int
    provisional: bool
    thumb: str


def line(site: ConsoleSite, event: ShownEvent) -> EventLine:
    """An event as a line."""
    details = event.details
    return EventLine(
        id=event.event_id,
        kind=event.type.rpartition(".")[2],
        time_ns=event.time_ns,
        camera=event.camera,
        track=event.track,
        key=f"{event.run}/{event.camera}/{event.track}",
        status=event.status,
        person=event.person,
        person_id=event.person_id,
        reason=event.reason,
        distance=details.get("distance"),
        threshold=details.get("threshold"),
        frames=details.get("frames", 0),
        windows=details.get("windows", 0),
        provisional=details.get("provisional", False),
        thumb=thumb(site, event.camera, event.run, event.track),
    )


def newest_lines(site: ConsoleSite, events: Iterable[ShownEvent]) -> list[EventLine]:
    """The newest word on each track, in the order given."""
    found: dict[str, EventLine] = {}
    for event in events:
        one = line(site, event)
        found.setdefault(one.key, one)
    return list(found.values())


def thumb(site: ConsoleSite, camera: str, run: str, track: int) -> str:
    """Address of a track's small picture; empty where the site keeps none."""
    return track_address(camera, run, track) + "/thumb" if site.album.keeps else ""


def track_address(camera: str, run: str, track: int) -> str:
    """Where a track's pictures are."""
    return f"/pictures/{quote(camera, safe='')}/{quote(run, safe='')}/{track}"


def camera_address(camera: str) -> str:
    """Where a camera's page is."""
    return f"/live/{quote(camera, safe='')}"

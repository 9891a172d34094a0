"""What is erased of somebody beside the gallery: which tracks were theirs, and where pictures are kept."""

from __future__ import annotations

from collections.abc import Iterator

from gaitstream.console.history import EventFilter
from gaitstream.console.history.base import MOST_ROWS, HistoryPlace
from gaitstream.console.site import ConsoleSite
from gaitstream.evidence.forgetting import KeptEvidence, places_of
from gaitstream.gallery.sightings import TrackRef


def kept_evidence(site: ConsoleSite) -> tuple[KeptEvidence, ...]:
    """Where the site keeps pictures of tracks, if it does."""
    path = site.options.cameras
    return places_of(site.config(), path) if path is not None else ()


def tracks_of(site: ConsoleSite, person_id: str) -> Iterator[TrackRef]:
    """The tracks that the history ever gave to a person or a visitor."""
    before: HistoryPlace | None = None
    while True:
        found = site.history.page(EventFilter(person=person_id), MOST_ROWS, before)
        for event in found.events:
            if event.run and event.camera:
                yield TrackRef(event.run, event.camera, event.track)
        if found.next is None:
            return
        before = found.next

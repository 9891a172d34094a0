"""Events: pages of them, one of them, and all of a track."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, Field

from gaitstream.console.access import CurrentSite, EventReader, EvidenceExporter
from gaitstream.console.asking import (
    EventQuestion,
    EventsAnswer,
    ask_event,
    ask_events,
    ask_track,
    find_event,
)
from gaitstream.console.exporting import export_event
from gaitstream.console.showing import ShownEvent
from gaitstream.evidence.exporting import TemplatesOf
from gaitstream.evidence.records import Shot

router = APIRouter(tags=["events"])


class ShownShot(BaseModel):
    """A moment of a track, with the numbers of its pictures."""

    time_ns: int = Field(description="UTC nanoseconds of capture.")
    box: tuple[float, float, float, float] = Field(description="xyxy in pixels of the camera's picture.")
    rejected: str = Field(description="Why this frame was no evidence; empty where it was.")
    pictures: dict[str, int] = Field(description="Number by view: `crop`, and what models saw of it.")

    @classmethod
    def of(cls, shot: Shot) -> ShownShot:
        """As it is kept."""
        return cls(time_ns=shot.time_ns, box=shot.box, rejected=shot.rejected or "", pictures=shot.pictures)


@router.get("/events")
def list_events(
    site: CurrentSite, actor: EventReader, question: Annotated[EventQuestion, Depends()]
) -> EventsAnswer:
    """A page of events, newest first."""
    return ask_events(site, actor, question)


@router.get("/events/{event_id}")
def show_one(site: CurrentSite, actor: EventReader, event_id: str) -> ShownEvent:
    """One event."""
    return ask_event(site, actor, event_id)


@router.get("/events/{event_id}/track")
def list_track(site: CurrentSite, actor: EventReader, event_id: str) -> list[ShownEvent]:
    """Everything that was said of the track of an event, oldest first."""
    return ask_track(site, actor, find_event(site, actor, event_id))


@router.get("/events/{event_id}/pictures")
def list_pictures(site: CurrentSite, actor: EventReader, event_id: str) -> list[ShownShot]:
    """The pictures that are kept of the track of an event; none where nothing is."""
    event = find_event(site, actor, event_id)
    kept = site.album.track(actor, event.camera, event.run, event.track)
    return [] if kept is None else [ShownShot.of(shot) for shot in kept.shots]


@router.get("/events/{event_id}/pictures/{number}", response_class=Response)
def show_picture(
    site: CurrentSite, actor: EventReader, event_id: str, number: Annotated[int, Path(ge=0, lt=1 << 31)]
) -> Response:
    """One of them, by its number: JPEG, or PNG for what a model saw."""
    event = find_event(site, actor, event_id)
    found = site.album.picture(actor, event.camera, event.run, event.track, number)
    return Response(found.data, media_type=found.media_type)


@router.get("/events/{event_id}/evidence", response_class=Response)
def export(
    site: CurrentSite, actor: EvidenceExporter, event_id: str, templates: TemplatesOf = "person"
) -> Response:
    """The event's signed bundle, a zip file for `gaitstream evidence verify`; the audit log notes it."""
    return export_event(site, actor, event_id, templates).answer()

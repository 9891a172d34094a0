"""Events: pages of them, one of them, and all of a track."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

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

router = APIRouter(tags=["events"])


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


@router.get("/events/{event_id}/evidence", response_class=Response)
def export(
    site: CurrentSite, actor: EvidenceExporter, event_id: str, templates: TemplatesOf = "person"
) -> Response:
    """The event's signed bundle, a zip file for `gaitstream evidence verify`; the audit log notes it."""
    return export_event(site, actor, event_id, templates).answer()

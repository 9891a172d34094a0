"""The timeline: what was published, with filters; new events come by the stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from gaitstream.console.access import CurrentSite, EventReader
from gaitstream.console.asking import EventQuestion, ask_events
from gaitstream.console.rendering import render
from gaitstream.console.showing import ShownEvent

router = APIRouter()


@dataclass(frozen=True)
class EventsView:
    """What the page shows.

    Attributes:
        events: newest first.
        next: cursor of the next page; empty at the end.
        question: the filters as they were asked for.
    """

    events: list[ShownEvent]
    next: str
    question: EventQuestion


@router.get("/")
def first(_: EventReader) -> Response:
    """The first page there is."""
    return RedirectResponse("/events", status_code=303)


@router.get("/events")
def show(
    request: Request, site: CurrentSite, actor: EventReader, question: Annotated[EventQuestion, Depends()]
) -> Response:
    """One page of events."""
    found = ask_events(site, actor, question)
    return render(request, "events.html", view=EventsView(found.events, found.next, question))

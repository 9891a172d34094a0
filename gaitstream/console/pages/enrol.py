"""Enrolling somebody: from a track that was just seen, from an event, or from a clip."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from gaitstream.console.access import CurrentSite, PeopleWriter
from gaitstream.console.asking import EventQuestion, ask_events
from gaitstream.console.enrolling import enrol_track
from gaitstream.console.pages.drawing import S_NS
from gaitstream.console.pages.lines import IDENTITY, EventLine, newest_lines
from gaitstream.console.pages.moving import go_to
from gaitstream.console.pages.person import address_of
from gaitstream.console.pages.pictures import ShownStrip, strip_of
from gaitstream.console.people import LONGEST_NAME
from gaitstream.console.rendering import render

router = APIRouter()
JUST_NOW_S = 120
"""How long ago a walk is still offered."""
MOST_WALKS = 6


@dataclass(frozen=True)
class EnrolView:
    """What the page offers."""

    cameras: list[str]


@dataclass(frozen=True)
class OfferedWalk:
    """A track that can become templates."""

    event: EventLine
    strip: ShownStrip


@dataclass(frozen=True)
class WalksView:
    """Tracks that were just seen, newest first."""

    walks: list[OfferedWalk]
    person: str


@router.get("/enrol")
def show(request: Request, site: CurrentSite, actor: PeopleWriter) -> Response:
    """The page."""
    cameras = sorted(camera for camera in site.health.cameras if actor.sees(camera))
    return render(request, "enrol.html", EnrolView(cameras))


@router.get("/enrol/walks")
def show_walks(
    request: Request,
    site: CurrentSite,
    actor: PeopleWriter,
    person: Annotated[str, Query(max_length=LONGEST_NAME)] = "",
    camera: Annotated[str, Query(max_length=128)] = "",
) -> Response:
    """Who was just seen by a camera, with a full window."""
    since_ns = time.time_ns() - JUST_NOW_S * S_NS
    question = EventQuestion(camera=[camera], type=list(IDENTITY), since_ns=since_ns)
    lines = newest_lines(site, ask_events(site, actor, question).events)
    walks = []
    for one in [line for line in lines if line.windows][:MOST_WALKS]:
        run = one.key.partition("/")[0]
        strip = strip_of(site, actor, camera, run, one.track, time_ns=one.time_ns)
        walks.append(OfferedWalk(one, strip))
    return render(request, "enrol_walks.html", WalksView(walks, person))


@router.post("/events/{event_id}/enrol")
def enrol(
    request: Request,
    site: CurrentSite,
    actor: PeopleWriter,
    event_id: str,
    person: Annotated[str, Form(min_length=1, max_length=LONGEST_NAME)],
) -> Response:
    """Make templates of an event's track."""
    person_id, count = enrol_track(site, actor, event_id, person)
    return go_to(request, address_of(person_id), f"Enrolled {person} with {count} templates")

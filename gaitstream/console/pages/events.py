"""The timeline: who was where, with filters; new events come as they happen."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import RedirectResponse, Response

from gaitstream.console.access import CurrentSite, EventReader
from gaitstream.console.asking import EventQuestion, ask_events
from gaitstream.console.pages.drawing import S_NS, DistanceScale, Span, Timeline, scale, timeline
from gaitstream.console.pages.lines import IDENTITY, EventLine, newest_lines
from gaitstream.console.permissions import Actor, Permission
from gaitstream.console.rendering import render
from gaitstream.console.showing import ShownEvent
from gaitstream.console.site import ConsoleSite
from gaitstream.data import Reason, Status
from gaitstream.errors import ConsoleError

router = APIRouter()
LOOK_BACK_S = 3600
"""Stretch of the timeline where no beginning is asked for."""
MOST_BARS = 2000
"""Tracks drawn at most; of a longer time the newest."""
LAST_NS = 7_289_654_400 * S_NS
"""The year 2201; later ones do not fit into 64 bits for long."""
OVERLAP_NS = 60 * S_NS
"""Cameras are differently late: what is as much older as this may still be new."""


@dataclass(frozen=True)
class FilterForm:
    """What the form asks for; empty is not asked for.

    Attributes:
        camera: id.
        person: name, or id in the gallery.
        status: such as `known`.
        reason: such as `truncated`.
        since: RFC 3339.
        until: RFC 3339.
    """

    camera: Annotated[str, Query(max_length=128)] = ""
    person: Annotated[str, Query(max_length=200)] = ""
    status: Annotated[str, Query(max_length=64)] = ""
    reason: Annotated[str, Query(max_length=64)] = ""
    since: Annotated[str, Query(max_length=40)] = ""
    until: Annotated[str, Query(max_length=40)] = ""

    @property
    def query(self) -> str:
        """As part of an address."""
        return urlencode({name: value for name, value in vars(self).items() if value})

    def question(self, site: ConsoleSite) -> EventQuestion:
        """For the history.

        Raises:
            ConsoleError: nobody is called so, or a time is none.
        """
        return EventQuestion(
            camera=[self.camera] if self.camera else None,
            person=find_person(site, self.person) if self.person else None,
            status=self.status or None,
            reason=self.reason or None,
            type=list(IDENTITY),
            since_ns=read_time(self.since),
            until_ns=read_time(self.until),
        )

    def span(self) -> Span:
        """The stretch of time that is drawn."""
        until_ns = read_time(self.until) or time.time_ns()
        return Span(read_time(self.since) or until_ns - LOOK_BACK_S * S_NS, until_ns)


@dataclass(frozen=True)
class Choices:
    """What the form offers."""

    cameras: list[str]
    persons: list[str]
    statuses: list[str]
    reasons: list[str]


@dataclass(frozen=True)
class Rows:
    """Lines of the list.

    Attributes:
        rows: newest first.
        scale: of their distances.
        query: the filters, for the next page.
        next: cursor of the next page; empty at the end.
    """

    rows: list[EventLine]
    scale: DistanceScale
    query: str
    next: str


@dataclass(frozen=True)
class EventsView(Rows):
    """What the page shows.

    Attributes:
        filters: as asked for.
        choices: what can be asked for.
        drawn: the timeline.
        span: the time it shows.
    """

    filters: FilterForm
    choices: Choices
    drawn: Timeline
    span: Span


AskedFilters = Annotated[FilterForm, Depends()]


@router.get("/")
def first(actor: EventReader) -> Response:
    """The first page there is."""
    return RedirectResponse("/live" if actor.may(Permission.CAMERAS_READ) else "/events", status_code=303)


@router.get("/events")
def show(request: Request, site: CurrentSite, actor: EventReader, filters: AskedFilters) -> Response:
    """The page."""
    rows = ask_rows(site, actor, filters)
    span = filters.span()
    drawn = draw_timeline(site, actor, filters.question(site), span)
    view = EventsView(**vars(rows), filters=filters, choices=choices(site, actor), drawn=drawn, span=span)
    return render(request, "events.html", view)


@router.get("/events/rows")
def more(
    request: Request,
    site: CurrentSite,
    actor: EventReader,
    filters: AskedFilters,
    before: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """Older lines."""
    return render(request, "events_rows.html", ask_rows(site, actor, filters, before))


@router.get("/events/new")
def new(
    request: Request,
    site: CurrentSite,
    actor: EventReader,
    filters: AskedFilters,
    after_ns: Annotated[int, Query(ge=0, lt=1 << 63)] = 0,
) -> Response:
    """Lines that are new, or may be; the page knows which it has."""
    question = filters.question(site)
    since_ns = max(question.since_ns or 0, after_ns - OVERLAP_NS)
    found = ask_events(site, actor, replace(question, since_ns=since_ns))
    rows = newest_lines(site, found.events)
    return render(request, "events_rows.html", Rows(rows, distance_scale(rows), "", ""))


@router.get("/events/timeline")
def redraw(request: Request, site: CurrentSite, actor: EventReader, filters: AskedFilters) -> Response:
    """The drawing alone."""
    drawn = draw_timeline(site, actor, filters.question(site), filters.span())
    return render(request, "events_timeline.html", drawn=drawn)


def ask_rows(site: ConsoleSite, actor: Actor, filters: FilterForm, before: str = "") -> Rows:
    """One page of the list."""
    found = ask_events(site, actor, replace(filters.question(site), before=before or None))
    rows = newest_lines(site, found.events)
    return Rows(rows, distance_scale(rows), filters.query, found.next)


def distance_scale(rows: list[EventLine]) -> DistanceScale:
    """One scale for all lines of a list."""
    return scale([one for row in rows for one in (row.distance, row.threshold)])


def draw_timeline(site: ConsoleSite, actor: Actor, question: EventQuestion, span: Span) -> Timeline:
    """The tracks of a stretch of time."""
    asked = replace(question, since_ns=span.since_ns, until_ns=span.until_ns + S_NS, limit=500)
    events: list[ShownEvent] = []
    while len(events) < MOST_BARS:
        found = ask_events(site, actor, asked)
        events += found.events
        if not found.next:
            break
        asked = replace(asked, before=found.next)
    return timeline(events, span)


def choices(site: ConsoleSite, actor: Actor) -> Choices:
    """What can be filtered by; names only for whom may see people."""
    cameras = {camera for camera in site.health.cameras if actor.sees(camera)}
    records = site.desk.people().values() if actor.may(Permission.PEOPLE_READ) else ()
    return Choices(
        cameras=sorted(cameras),
        persons=sorted(record.name for record in records),
        statuses=[status.value for status in Status],
        reasons=[reason.value for reason in Reason],
    )


def find_person(site: ConsoleSite, text: str) -> str:
    """The id of somebody by name or id.

    Raises:
        ConsoleError: nobody has it.
    """
    people = site.desk.people()
    if text in people:
        return text
    wanted = text.strip().casefold()
    for uid, record in people.items():
        if record.name.casefold() == wanted:
            return uid
    raise ConsoleError(f"nobody is called {text!r}; the page People lists everybody")


def read_time(text: str) -> int | None:
    """UTC nanoseconds of a time as RFC 3339; None for none.

    Raises:
        ConsoleError: it is no time.
    """
    if not text:
        return None
    try:
        when = datetime.fromisoformat(text)
        time_ns = int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * S_NS)
    except (ValueError, OverflowError):
        raise ConsoleError(f"{text!r} is no time; write it as 2026-03-02T08:00:00Z") from None
    if not 0 <= time_ns <= LAST_NS:
        raise ConsoleError(f"{text!r} is no time from 1970 to 2200")
    return time_ns

"""The timeline: who was where, with filters; new events come as they happen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

from gaitstream.console.access import CurrentSite, EventReader
from gaitstream.console.asking import EventQuestion, ask_events
from gaitstream.console.pages.drawing import DAY_S, S_NS, DistanceScale, Span, scale
from gaitstream.console.pages.lines import IDENTITY, EventLine, newest_lines
from gaitstream.console.pages.timelines import draw_timeline
from gaitstream.console.permissions import Permission, Rights
from gaitstream.console.rendering import iso, render, render_part
from gaitstream.console.site import ConsoleSite
from gaitstream.console.strangers import known_to
from gaitstream.data import Reason, Status
from gaitstream.errors import ConsoleError

router = APIRouter()
LOOK_BACK_S = 600
"""Shortest stretch of the timeline where no beginning is asked for."""
PERIODS_S = {"Hour": 3600, "Day": DAY_S, "Week": 7 * DAY_S, "Month": 30 * DAY_S}
"""Up to now, offered with one press."""
MOST_NAMES = 200
"""Offered at once; others as they are typed."""
PLACES = 1000
"""That can be told apart on a timeline."""
SOONEST_S, LATEST_S = 2, 3600
"""Between two drawings of a timeline that new events move."""
LAST_NS = 7_289_654_400 * S_NS
"""The year 2201; later ones do not fit into 64 bits for long."""
LAG_S = 1.0
"""What a page shows at first may be so old: it asks for what is new as soon as it listens."""
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

    def question(self, site: ConsoleSite, rights: Rights) -> EventQuestion:
        """For the history.

        Raises:
            ConsoleError: nobody is called so, or a time is none.
        """
        return EventQuestion(
            camera=[self.camera] if self.camera else None,
            person=find_person(site, rights, self.person) if self.person else None,
            status=self.status or None,
            reason=self.reason or None,
            type=list(IDENTITY),
            since_ns=read_time(self.since),
            until_ns=read_time(self.until),
        )

    def span(self, rows: Sequence[EventLine]) -> Span:
        """The stretch of time that is drawn: as asked for, else back to the last of the list's first lines.

        Args:
            rows: those lines, newest first.
        """
        until_ns = read_time(self.until) or time.time_ns()
        shortest_ns = until_ns - LOOK_BACK_S * S_NS
        oldest_ns = min(shortest_ns, rows[-1].time_ns) if rows else shortest_ns
        since_ns = read_time(self.since)
        return Span(oldest_ns if since_ns is None else since_ns, until_ns)

    def periods(self) -> dict[str, str]:
        """Addresses of the page for times up to now, by what they are called."""
        now_ns = time.time_ns()
        begun = {name: iso(now_ns - length_s * S_NS) for name, length_s in PERIODS_S.items()}
        return {
            name: f"/events?{replace(self, since=since, until='').query}" for name, since in begun.items()
        }


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
class EventsParts:
    """What the page shows to everybody with the same rights.

    Attributes:
        choices: what can be asked for.
        table: the list.
        drawn: the timeline.
        span: the time it shows.
    """

    choices: Choices
    table: Markup
    drawn: Markup
    span: Span

    @property
    def redraw_s(self) -> int:
        """In which new events move the timeline by less than can be seen."""
        return min(max(int(self.span.length_s / PLACES), SOONEST_S), LATEST_S)


@dataclass(frozen=True)
class EventsView:
    """What the page shows.

    Attributes:
        filters: as asked for.
        query: the same as part of an address.
        parts: what was asked for.
        periods: addresses of other times, by name.
    """

    filters: FilterForm
    query: str
    parts: EventsParts
    periods: dict[str, str]


AskedFilters = Annotated[FilterForm, Depends()]


@router.get("/")
def first(actor: EventReader) -> Response:
    """The first page there is."""
    return RedirectResponse("/live" if actor.may(Permission.CAMERAS_READ) else "/events", status_code=303)


@router.get("/events")
def show(request: Request, site: CurrentSite, actor: EventReader, filters: AskedFilters) -> Response:
    """The page."""
    parts = site.shared.of(actor, ("events", filters), lambda rights: _parts(site, rights, filters), LAG_S)
    return render(request, "events.html", EventsView(filters, filters.query, parts, filters.periods()))


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
    site: CurrentSite,
    actor: EventReader,
    filters: AskedFilters,
    after_ns: Annotated[int, Query(ge=0, lt=1 << 63)] = 0,
) -> Response:
    """Lines that are new, or may be; the page knows which it has."""
    what = ("events/new", filters, after_ns)
    return HTMLResponse(
        site.shared.of(actor, what, lambda rights: _new_rows(site, rights, filters, after_ns))
    )


@router.get("/events/persons")
def offer(
    request: Request,
    site: CurrentSite,
    actor: EventReader,
    person: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Names to filter by, while one is typed."""
    return render(request, "persons_options.html", persons=names_with(site, actor, person))


@router.get("/events/timeline")
def redraw(site: CurrentSite, actor: EventReader, filters: AskedFilters) -> Response:
    """The drawing alone."""
    what = ("events/timeline", filters)
    return HTMLResponse(site.shared.of(actor, what, lambda rights: _drawn(site, rights, filters)))


def _parts(site: ConsoleSite, rights: Rights, filters: FilterForm) -> EventsParts:
    rows = ask_rows(site, rights, filters)
    span = filters.span(rows.rows)
    return EventsParts(
        choices(site, rights),
        table=render_part("events_table.html", rows),
        drawn=draw_part(site, rights, filters.question(site, rights), span),
        span=span,
    )


def _new_rows(site: ConsoleSite, rights: Rights, filters: FilterForm, after_ns: int) -> Markup:
    question = filters.question(site, rights)
    since_ns = max(question.since_ns or 0, after_ns - OVERLAP_NS)
    rows = newest_lines(site, ask_events(site, rights, replace(question, since_ns=since_ns)).events)
    return render_part("events_rows.html", Rows(rows, distance_scale(rows), "", ""))


def _drawn(site: ConsoleSite, rights: Rights, filters: FilterForm) -> Markup:
    span = filters.span(ask_rows(site, rights, filters).rows)
    return draw_part(site, rights, filters.question(site, rights), span)


def draw_part(site: ConsoleSite, rights: Rights, question: EventQuestion, span: Span) -> Markup:
    """A timeline as a part of a page."""
    return render_part("events_timeline.html", drawn=draw_timeline(site, rights, question, span))


def ask_rows(site: ConsoleSite, rights: Rights, filters: FilterForm, before: str = "") -> Rows:
    """One page of the list."""
    found = ask_events(site, rights, replace(filters.question(site, rights), before=before or None))
    rows = newest_lines(site, found.events)
    return Rows(rows, distance_scale(rows), filters.query, found.next)


def distance_scale(rows: list[EventLine]) -> DistanceScale:
    """One scale for all lines of a list."""
    return scale([one for row in rows for one in (row.distance, row.threshold)])


def choices(site: ConsoleSite, rights: Rights) -> Choices:
    """What can be filtered by; names only for whom may see people."""
    cameras = {camera for camera in site.health.cameras if rights.sees(camera)}
    return Choices(
        cameras=sorted(cameras),
        persons=names_with(site, rights, ""),
        statuses=[status.value for status in Status],
        reasons=[reason.value for reason in Reason],
    )


def names_with(site: ConsoleSite, rights: Rights, text: str) -> list[str]:
    """The first of the names that somebody may know with a text in them."""
    wanted = text.strip().casefold()
    known = (record.name for record in known_to(site, rights).values())
    return sorted(name for name in known if wanted in name.casefold())[:MOST_NAMES]


def find_person(site: ConsoleSite, rights: Rights, text: str) -> str:
    """The id of somebody by name or id.

    Whoever may not see people learns of no name whether somebody has it: it is an id that nobody has.

    Raises:
        ConsoleError: nobody has it.
    """
    if not rights.may(Permission.PEOPLE_READ):
        return text
    people, wanted = site.desk.people(), text.strip().casefold()
    called = (uid for uid, record in people.items() if record.name.casefold() == wanted)
    uid = text if text in people else next(called, "")
    if uid and (not people[uid].visitor or uid in known_to(site, rights)):
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

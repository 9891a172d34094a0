"""One person: templates, pictures, terms, where they were seen; and what can be done with them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from gaitstream.config.fields import MOST_DAYS
from gaitstream.console import people
from gaitstream.console.access import CurrentSite, PeopleForgetter, PeopleReader, PeopleWriter
from gaitstream.console.asking import EventQuestion, ask_events
from gaitstream.console.pages.drawing import S_NS, DistanceScale, Span
from gaitstream.console.pages.events import distance_scale
from gaitstream.console.pages.lines import IDENTITY, EventLine, newest_lines
from gaitstream.console.pages.moving import go_to
from gaitstream.console.pages.people import advice_on
from gaitstream.console.pages.timelines import Timeline, draw_timeline
from gaitstream.console.people import LONGEST_NAME, PersonDetails, ShownReport
from gaitstream.console.permissions import Actor
from gaitstream.console.rendering import render
from gaitstream.console.site import ConsoleSite
from gaitstream.errors import ConsoleError
from gaitstream.gallery.retention import DAY_NS

router = APIRouter()
DAYS = 7
"""That the timeline shows."""
Name = Annotated[str, Form(min_length=1, max_length=LONGEST_NAME)]


@dataclass(frozen=True)
class PersonView:
    """What the page shows.

    Attributes:
        person: everything that is known.
        advice: what would make the person easier to recognise.
        others: ids and names of the others, to merge with.
        drawn: where the person was seen.
        rows: the newest tracks.
        scale: of their distances.
        query: for more of them.
        next: cursor of more.
    """

    person: PersonDetails
    advice: str
    others: list[tuple[str, str]]
    drawn: Timeline
    rows: list[EventLine]
    scale: DistanceScale
    query: str
    next: str


@router.get("/people/{person_id}")
def show(request: Request, site: CurrentSite, actor: PeopleReader, person_id: str) -> Response:
    """The page; the look is in the audit log."""
    return render(request, "person.html", _view(site, actor, people.show_person(site, actor, person_id)))


@router.get("/people/{person_id}/pictures/{number}")
def picture(site: CurrentSite, actor: PeopleReader, person_id: str, number: int) -> Response:
    """A picture from the gallery."""
    return Response(people.picture(site, actor, person_id, number), media_type="image/jpeg")


@router.post("/people/{person_id}/rename")
def rename(
    request: Request, site: CurrentSite, actor: PeopleWriter, person_id: str, person: Name
) -> Response:
    """Give another name."""
    people.rename(site, actor, person_id, person)
    return go_to(request, address_of(person_id), f"Renamed to {person}")


@router.post("/people/{person_id}/merge")
def merge(
    request: Request, site: CurrentSite, actor: PeopleWriter, person_id: str, other: Annotated[str, Form()]
) -> Response:
    """Take over all templates of somebody who is the same person."""
    count = people.merge(site, actor, person_id, other)
    return go_to(request, address_of(person_id), f"Took over {count} templates")


@router.post("/people/{person_id}/split")
def split(
    request: Request,
    site: CurrentSite,
    actor: PeopleWriter,
    person_id: str,
    person: Annotated[str, Form(max_length=LONGEST_NAME)] = "",
    template: Annotated[list[int] | None, Form()] = None,
) -> Response:
    """Make another person of some templates."""
    if not template or not person.strip():
        raise ConsoleError("tick the templates of the other person, and write down the name")
    count = people.split(site, actor, person_id, template, person)
    return go_to(request, address_of(person_id), f"{person} has {count} of the templates now")


@router.post("/people/{person_id}/terms")
def set_terms(
    request: Request,
    site: CurrentSite,
    actor: PeopleWriter,
    person_id: str,
    consent: Annotated[str, Form(max_length=LONGEST_NAME)] = "",
    expires: Annotated[str, Form(max_length=10)] = "",
) -> Response:
    """Note the consent, and until when the person is kept."""
    expires_ns = _end_of(expires)
    people.note_consent(site, actor, person_id, consent.strip())
    people.keep_until(site, actor, person_id, expires_ns)
    return go_to(request, address_of(person_id), "Saved")


@router.post("/people/{person_id}/forget")
def forget(
    request: Request,
    site: CurrentSite,
    actor: PeopleForgetter,
    person_id: str,
    typed: Annotated[str, Form(max_length=LONGEST_NAME)] = "",
) -> Response:
    """Erase the person everywhere; answers with the report."""
    if typed.strip().casefold() != site.desk.name(person_id).casefold():
        raise ConsoleError("type the person's name as it is shown above, so that nobody is erased by mistake")
    report = people.forget(site, actor, person_id)
    return render(request, "forgotten.html", ForgottenView(report))


@dataclass(frozen=True)
class ForgottenView:
    """What was erased."""

    report: ShownReport


def address_of(person_id: str) -> str:
    """Of a person's page."""
    return f"/people/{quote(person_id, safe='')}"


def _view(site: ConsoleSite, actor: Actor, person: PersonDetails) -> PersonView:
    now_ns = time.time_ns()
    span = Span(now_ns - DAYS * DAY_NS, now_ns)
    question = EventQuestion(person=person.person_id, type=list(IDENTITY), since_ns=span.since_ns)
    rows = newest_lines(site, ask_events(site, actor, question).events)
    records = site.desk.people().items()
    others = sorted(
        ((uid, record.name) for uid, record in records if uid != person.person_id and not record.visitor),
        key=lambda one: one[1],
    )
    advice = advice_on(sum(person.templates.values()))
    return PersonView(
        person, advice, others, draw_timeline(site, actor, question, span), rows, distance_scale(rows), "", ""
    )


def _end_of(day: str) -> int | None:
    """The end of a day, UTC nanoseconds; None for no day.

    Raises:
        ConsoleError: it is no day, or is over.
    """
    if not day:
        return None
    try:
        end = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise ConsoleError(f"{day!r} is no day; write it as 2027-03-01") from None
    end_ns = int(end.timestamp()) * S_NS
    if not 0 < end_ns - time.time_ns() <= MOST_DAYS * DAY_NS:
        raise ConsoleError(f"{day} is over or too far; give today or a day to come, or none to keep for ever")
    return end_ns

"""Everybody who is enrolled."""

from __future__ import annotations

import time
from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import Response

from gaitstream.console import people
from gaitstream.console.access import CurrentSite, PeopleReader
from gaitstream.console.asking import EventQuestion, ask_events
from gaitstream.console.pages.lines import IDENTITY, EventLine, line
from gaitstream.console.permissions import Actor
from gaitstream.console.rendering import render
from gaitstream.console.site import ConsoleSite
from gaitstream.gallery.retention import DAY_NS

router = APIRouter()
FEW = 8
"""Templates; fewer do not show a person from enough sides."""
SOON_NS = 14 * DAY_NS


@dataclass(frozen=True)
class ListedPerson:
    """One of the people.

    Attributes:
        id: in the gallery.
        name: of the person.
        templates: how many, of all models.
        advice: what would make the person easier to recognise; empty where nothing would.
        expires_ns: when the person is erased; None for never.
        soon: that is within two weeks.
        seen: the newest word on a track of theirs; None where there is none.
    """

    id: str
    name: str
    templates: int
    advice: str
    expires_ns: int | None
    soon: bool
    seen: EventLine | None


@dataclass(frozen=True)
class PeopleView:
    """What the page shows."""

    persons: list[ListedPerson]
    templates: int


@router.get("/people")
def show(request: Request, site: CurrentSite, actor: PeopleReader) -> Response:
    """The page."""
    shown = people.list_people(site, actor)
    persons = [_line(site, actor, person) for person in shown]
    return render(request, "people.html", PeopleView(persons, sum(one.templates for one in persons)))


def advice_on(templates: int) -> str:
    """What is said of a number of templates."""
    return "few templates" if templates < FEW else ""


def _line(site: ConsoleSite, actor: Actor, person: people.ShownPerson) -> ListedPerson:
    templates = sum(person.templates.values())
    return ListedPerson(
        id=person.person_id,
        name=person.name,
        templates=templates,
        advice=advice_on(templates),
        expires_ns=person.expires_ns,
        soon=person.expires_ns is not None and person.expires_ns - time.time_ns() < SOON_NS,
        seen=_last_seen(site, actor, person.person_id),
    )


def _last_seen(site: ConsoleSite, actor: Actor, person_id: str) -> EventLine | None:
    found = ask_events(site, actor, EventQuestion(person=person_id, type=list(IDENTITY), limit=1))
    return line(site, found.events[0]) if found.events else None

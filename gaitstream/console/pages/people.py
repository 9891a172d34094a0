"""Everybody who is enrolled, a hundred at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gaitstream.console import people
from gaitstream.console.access import CurrentSite, PeopleReader
from gaitstream.console.asking import ask_newest
from gaitstream.console.pages.lines import IDENTITY, EventLine, line
from gaitstream.console.people import LONGEST_NAME
from gaitstream.console.rendering import render
from gaitstream.console.showing import ShownEvent
from gaitstream.console.site import ConsoleSite
from gaitstream.gallery.retention import DAY_NS

router = APIRouter()
FEW = 8
"""Templates; fewer do not show a person from enough sides."""
SOON_NS = 14 * DAY_NS
SHOWN = 100
"""On one page."""


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
    """What the page shows.

    Attributes:
        persons: on this page, by name.
        enrolled: how many there are.
        found: how many of them have the name that is asked for.
        templates: of all.
        name: that is asked for, or a part of one.
        first: number of the first on this page, from 1.
        before: address of the page before; empty where there is none.
        after: address of the page after.
    """

    persons: list[ListedPerson]
    enrolled: int
    found: int
    templates: int
    name: str
    first: int
    before: str
    after: str


@router.get("/people")
def show(
    request: Request,
    site: CurrentSite,
    actor: PeopleReader,
    name: Annotated[str, Query(max_length=LONGEST_NAME)] = "",
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> Response:
    """The page."""
    enrolled = people.list_people(site, actor)
    wanted = name.strip().casefold()
    found = [one for one in enrolled if wanted in one.name.casefold()]
    page = min(page, max(1, -(-len(found) // SHOWN)))
    end = page * SHOWN
    shown = found[end - SHOWN : end]
    seen = ask_newest(site, actor, [one.person_id for one in shown], IDENTITY)
    view = PeopleView(
        persons=[_line(site, one, seen.get(one.person_id)) for one in shown],
        enrolled=len(enrolled),
        found=len(found),
        templates=sum(sum(one.templates.values()) for one in enrolled),
        name=name,
        first=end - SHOWN + 1,
        before=_address(name, page - 1) if page > 1 else "",
        after=_address(name, page + 1) if end < len(found) else "",
    )
    return render(request, "people.html", view)


def _address(name: str, page: int) -> str:
    return f"/people?{urlencode({'name': name, 'page': page} if name else {'page': page})}"


def advice_on(templates: int) -> str:
    """What is said of a number of templates."""
    return "few templates" if templates < FEW else ""


def _line(site: ConsoleSite, person: people.ShownPerson, seen: ShownEvent | None) -> ListedPerson:
    templates = sum(person.templates.values())
    return ListedPerson(
        id=person.person_id,
        name=person.name,
        templates=templates,
        advice=advice_on(templates),
        expires_ns=person.expires_ns,
        soon=person.expires_ns is not None and person.expires_ns - time.time_ns() < SOON_NS,
        seen=line(site, seen) if seen is not None else None,
    )

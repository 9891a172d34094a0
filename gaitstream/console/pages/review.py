"""What waits for people: matches that somebody has to confirm, made for the keyboard."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from gaitstream.console import people, reviews
from gaitstream.console.access import Confirmer, CurrentActor, CurrentSite
from gaitstream.console.asking import EventQuestion, ask_events, find_event
from gaitstream.console.pages.drawing import DistanceScale, scale
from gaitstream.console.pages.event import Rank, ranks_of
from gaitstream.console.pages.lines import EventLine, line
from gaitstream.console.pages.pictures import ShownStrip, show_strip
from gaitstream.console.permissions import Actor, Permission
from gaitstream.console.rendering import is_fragment, render
from gaitstream.console.showing import ShownEvent
from gaitstream.console.site import ConsoleSite
from gaitstream.console.verdicts import ShownMatch

router = APIRouter()
SHOWN = 100
"""Matches listed at once."""


@dataclass(frozen=True)
class Waiting:
    """A match in the list, and who has confirmed it so far."""

    event: EventLine
    confirmed_by: list[str]


@dataclass(frozen=True)
class ReviewCase:
    """The match that is looked at.

    Attributes:
        event: the match.
        match: what people say of it.
        mine: the actor has confirmed it already.
        strip: pictures of what was seen.
        enrolled: addresses of pictures of the person.
        ranks: nearest people, best first.
        threshold: at which somebody is known.
        scale: of the distances.
    """

    event: EventLine
    match: ShownMatch
    mine: bool
    strip: ShownStrip
    enrolled: list[str]
    ranks: list[Rank]
    threshold: float | None
    scale: DistanceScale


@dataclass(frozen=True)
class ReviewView:
    """What the page shows.

    Attributes:
        queue: what waits, newest first.
        more: there are further ones.
        case: the one that is looked at; None where nothing waits.
        needed: different people who have to confirm.
    """

    queue: list[Waiting]
    more: bool
    case: ReviewCase | None
    needed: int


@router.get("/review")
def show(request: Request, site: CurrentSite, actor: Confirmer, event: str = "") -> Response:
    """The page, or its inside for htmx."""
    return _answer(request, site, actor, event)


@router.get("/review/count")
def count(site: CurrentSite, actor: CurrentActor) -> Response:
    """How many wait, for the menu; nothing where none does."""
    if not actor.may(Permission.CONFIRMATIONS_WRITE):
        return PlainTextResponse("")
    found = ask_events(site, actor, EventQuestion(waits=True, limit=SHOWN))
    return PlainTextResponse(f"{len(found.events)}{'+' if found.next else ''}" if found.events else "")


@router.post("/review/{event_id}/confirm")
def confirm(request: Request, site: CurrentSite, actor: Confirmer, event_id: str) -> Response:
    """Confirm a match and go on to the next."""
    following = _following(site, actor, event_id)
    reviews.confirm(site, actor, event_id)
    return _answer(request, site, actor, following)


@router.post("/review/{event_id}/reject")
def reject(request: Request, site: CurrentSite, actor: Confirmer, event_id: str) -> Response:
    """Reject a match and go on to the next."""
    following = _following(site, actor, event_id)
    reviews.reject(site, actor, event_id)
    return _answer(request, site, actor, following)


def _answer(request: Request, site: ConsoleSite, actor: Actor, chosen: str) -> Response:
    template = "review_triage.html" if is_fragment(request) else "review.html"
    return render(request, template, _view(site, actor, chosen))


def _view(site: ConsoleSite, actor: Actor, chosen: str) -> ReviewView:
    site.verdicts.catch_up()
    found = ask_events(site, actor, EventQuestion(waits=True, limit=SHOWN))
    queue = [_waiting(site, event) for event in found.events]
    looked_at = next((event for event in found.events if event.event_id == chosen), None)
    if looked_at is None:
        looked_at = _first_unseen(actor, found.events, queue)
    case = _case(site, actor, looked_at) if looked_at is not None else None
    needed = case.match.needed if case is not None else 0
    return ReviewView(queue, bool(found.next), case, needed)


def _first_unseen(actor: Actor, events: list[ShownEvent], queue: list[Waiting]) -> ShownEvent | None:
    """The newest match that the actor has not confirmed yet, or the newest."""
    for event, waiting in zip(events, queue, strict=True):
        if actor.voice not in waiting.confirmed_by:
            return event
    return events[0] if events else None


def _following(site: ConsoleSite, actor: Actor, event_id: str) -> str:
    """The match below one, so that deciding goes down the list."""
    events = ask_events(site, actor, EventQuestion(waits=True, limit=SHOWN)).events
    ids = [event.event_id for event in events]
    at = ids.index(event_id) if event_id in ids else -1
    return ids[at + 1] if 0 <= at < len(ids) - 1 else ""


def _waiting(site: ConsoleSite, event: ShownEvent) -> Waiting:
    return Waiting(line(site, event), site.verdicts.match(event.event_id).confirmed_by)


def _case(site: ConsoleSite, actor: Actor, event: ShownEvent) -> ReviewCase:
    match = site.verdicts.match(event.event_id)
    ranks = ranks_of(event, linked=True)
    threshold = event.details.get("threshold")
    return ReviewCase(
        event=line(site, event),
        match=match,
        mine=actor.voice in match.confirmed_by,
        strip=show_strip(site, actor, find_event(site, actor, event.event_id)),
        enrolled=_enrolled(site, actor, event.person_id),
        ranks=ranks,
        threshold=threshold,
        scale=scale([threshold, *(rank.distance for rank in ranks)]),
    )


def _enrolled(site: ConsoleSite, actor: Actor, person_id: str) -> list[str]:
    """Addresses of the pictures that the gallery has of a person."""
    record = site.desk.people().get(person_id)
    if record is None or record.visitor or not actor.may(Permission.PEOPLE_READ):
        return []
    details = people.show_person(site, actor, person_id)
    return [f"/people/{person_id}/pictures/{picture.number}" for picture in details.pictures]

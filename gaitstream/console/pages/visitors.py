"""People nobody has enrolled: how often they came and where, and what can be done with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from gaitstream.console import strangers
from gaitstream.console.access import CurrentSite, VisitorReader, VisitorWriter
from gaitstream.console.pages.moving import go_to
from gaitstream.console.pages.person import address_of
from gaitstream.console.pages.pictures import PicturePair, ShownStrip, strip_of
from gaitstream.console.people import LONGEST_NAME
from gaitstream.console.permissions import Actor
from gaitstream.console.rendering import render
from gaitstream.console.site import ConsoleSite
from gaitstream.console.strangers import ShownVisitor, ShownWalk
from gaitstream.gallery.visitors import show_visitor

router = APIRouter()
SHOWN = 60
PICTURES = 6
"""Of a visitor in the overview."""
Order = Literal["often", "latest"]
Name = Annotated[str, Form(min_length=1, max_length=LONGEST_NAME)]


@dataclass(frozen=True)
class VisitorCard:
    """A visitor in the overview, with some pictures."""

    visitor: ShownVisitor
    strip: ShownStrip


@dataclass(frozen=True)
class VisitorsView:
    """What the overview shows."""

    cards: list[VisitorCard]
    count: int
    by: Order


@dataclass(frozen=True)
class PicturedWalk:
    """One walk of a visitor.

    Attributes:
        walk: where and when.
        track: run, camera and number, as a search takes them.
        strip: its pictures.
    """

    walk: ShownWalk
    track: str
    strip: ShownStrip


@dataclass(frozen=True)
class VisitorView:
    """What a visitor's page shows.

    Attributes:
        visitor: the visitor.
        walks: newest first.
        persons: names that they can be promoted to.
        others: ids and names of whom they can be kept apart from.
    """

    visitor: ShownVisitor
    walks: list[PicturedWalk]
    persons: list[str]
    others: list[tuple[str, str]]


@router.get("/visitors")
def show(request: Request, site: CurrentSite, actor: VisitorReader, by: Order = "often") -> Response:
    """The overview."""
    seen = strangers.list_visitors(site, actor)
    if by == "often":
        seen.sort(key=lambda visitor: -visitor.walks)
    cards = [VisitorCard(visitor, _some_pictures(site, actor, visitor)) for visitor in seen[:SHOWN]]
    return render(request, "visitors.html", VisitorsView(cards, len(seen), by))


@router.get("/visitors/{visitor_id}")
def show_one(request: Request, site: CurrentSite, actor: VisitorReader, visitor_id: str) -> Response:
    """One visitor; the look is in the audit log."""
    visitor = strangers.show_visitor(site, actor, visitor_id)
    people = {uid: one for uid, one in strangers.known_to(site, actor).items() if uid != visitor_id}
    view = VisitorView(
        visitor=visitor,
        walks=[_pictured(site, actor, walk) for walk in reversed(visitor.each_walk)],
        persons=sorted(record.name for record in people.values() if not record.visitor),
        others=sorted(((uid, record.name) for uid, record in people.items()), key=lambda one: one[1]),
    )
    return render(request, "visitor.html", view)


@router.post("/visitors/{visitor_id}/promote")
def name_one(
    request: Request, site: CurrentSite, actor: VisitorWriter, visitor_id: str, person: Name
) -> Response:
    """Give a visitor a name."""
    done = strangers.promote(site, actor, visitor_id, person)
    return go_to(request, address_of(done.person_id), f"{done.visitor} is {done.person} from now on")


@router.post("/visitors/{visitor_id}/apart")
def part_one(
    request: Request, site: CurrentSite, actor: VisitorWriter, visitor_id: str, other: Name
) -> Response:
    """Say that a visitor is not somebody else, who is named by the id."""
    strangers.keep_apart(site, actor, visitor_id, other)
    return go_to(request, f"/visitors/{quote(visitor_id, safe='')}", "They are never taken for one again")


@router.post("/visitors/{visitor_id}/delete")
def delete_one(request: Request, site: CurrentSite, actor: VisitorWriter, visitor_id: str) -> Response:
    """Erase what was kept of a visitor."""
    count = strangers.delete(site, actor, visitor_id)
    return go_to(request, "/visitors", f"Deleted, with {count} walks")


def _some_pictures(site: ConsoleSite, actor: Actor, visitor: ShownVisitor) -> ShownStrip:
    """The first pictures of the newest walks."""
    if not site.album.keeps:
        return ShownStrip([])
    _, sightings = site.desk.call(
        actor.audit_name, lambda gallery: show_visitor(gallery, visitor.visitor_id, actor.sees)
    )
    shots: list[PicturePair] = []
    for sighting in reversed(sightings):
        track = sighting.track
        if len(shots) < PICTURES:
            strip = strip_of(site, actor, track.camera, track.run, track.track, time_ns=track.time_ns)
            shots += strip.shots[len(strip.shots) // 3 :][:2]
    return ShownStrip(shots[:PICTURES])


def _pictured(site: ConsoleSite, actor: Actor, walk: ShownWalk) -> PicturedWalk:
    strip = strip_of(site, actor, walk.camera, walk.run, walk.track, time_ns=walk.time_ns)
    return PicturedWalk(walk, f"{walk.run}/{walk.camera}/{walk.track}", strip)

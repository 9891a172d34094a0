"""People nobody has enrolled: how often they came and where, and what can be done with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from gaitstream.console.access import CurrentSite, VisitorReader, VisitorWriter
from gaitstream.console.pages.moving import go_to
from gaitstream.console.pages.person import address_of
from gaitstream.console.pages.pictures import ShownShot, ShownStrip, strip_of
from gaitstream.console.people import LONGEST_NAME
from gaitstream.console.permissions import Actor
from gaitstream.console.refusals import NotFoundError
from gaitstream.console.rendering import render
from gaitstream.console.site import Site
from gaitstream.events.offline import append_offline
from gaitstream.gallery import Gallery
from gaitstream.gallery.sightings import Sighting
from gaitstream.gallery.visitors import (
    VisitorEntry,
    delete_visitor,
    keep_apart,
    promote,
    show_visitor,
    visitors,
)
from gaitstream.pipeline.publish import visitor_named

router = APIRouter()
T = TypeVar("T")
SHOWN = 60
PICTURES = 6
"""Of a visitor in the overview."""
Order = Literal["often", "latest"]
Name = Annotated[str, Form(min_length=1, max_length=LONGEST_NAME)]


@dataclass(frozen=True)
class VisitorCard:
    """A visitor in the overview; numbers are of the cameras that the actor may see.

    Attributes:
        entry: the visitor.
        times: how often they came.
        cameras: how often to each, most first.
        strip: some pictures.
    """

    entry: VisitorEntry
    times: int
    cameras: list[tuple[str, int]]
    strip: ShownStrip


@dataclass(frozen=True)
class VisitorsView:
    """What the overview shows."""

    cards: list[VisitorCard]
    count: int
    by: Order


@dataclass(frozen=True)
class ShownSighting:
    """One walk of a visitor."""

    track: str
    camera: str
    number: int
    time_ns: int
    windows: int
    distance: float | None
    strip: ShownStrip


@dataclass(frozen=True)
class VisitorView:
    """What a visitor's page shows.

    Attributes:
        card: the visitor.
        sightings: the walks, newest first.
        persons: names that they can be promoted to.
        others: whom they can be kept apart from.
    """

    card: VisitorCard
    sightings: list[ShownSighting]
    persons: list[str]
    others: list[str]


@router.get("/visitors")
def show(request: Request, site: CurrentSite, actor: VisitorReader, by: Order = "often") -> Response:
    """The overview."""
    seen = [entry for entry in _call(site, actor, visitors) if _times(actor, entry)]
    if by == "often":
        seen.sort(key=lambda entry: -_times(actor, entry))
    cards = [_card(site, actor, entry) for entry in seen[:SHOWN]]
    return render(request, "visitors.html", VisitorsView(cards, len(seen), by))


@router.get("/visitors/{visitor}")
def show_one(request: Request, site: CurrentSite, actor: VisitorReader, visitor: str) -> Response:
    """One visitor."""
    entry, sightings = _call(site, actor, lambda gallery: show_visitor(gallery, visitor))
    if not _times(actor, entry):
        raise NotFoundError(f"there is no visitor {visitor[:64]!r}")
    records = site.desk.people().values()
    persons = sorted(record.name for record in records if not record.visitor)
    strangers = sorted(record.name for record in records if record.visitor and record.name != entry.name)
    shown = [_sighting(site, actor, one) for one in reversed(sightings) if actor.sees(one.track.camera)]
    view = VisitorView(_card(site, actor, entry), shown, persons, [*persons, *strangers])
    return render(request, "visitor.html", view)


@router.post("/visitors/{visitor}/promote")
def name_one(
    request: Request, site: CurrentSite, actor: VisitorWriter, visitor: str, person: Name
) -> Response:
    """Give a visitor a name."""
    done = _call(site, actor, lambda gallery: promote(gallery, visitor, person))
    for journal in site.options.journals:
        append_offline(journal, visitor_named(done, "promotion"))  # a run that writes it tells by itself
    return go_to(request, address_of(done.person_id), f"{done.visitor} is {done.person} from now on")


@router.post("/visitors/{visitor}/apart")
def part_one(
    request: Request, site: CurrentSite, actor: VisitorWriter, visitor: str, other: Name
) -> Response:
    """Say that a visitor is not somebody else."""
    _call(site, actor, lambda gallery: keep_apart(gallery, visitor, other))
    return go_to(request, f"/visitors/{quote(visitor, safe='')}", f"Kept apart from {other}")


@router.post("/visitors/{visitor}/delete")
def delete_one(request: Request, site: CurrentSite, actor: VisitorWriter, visitor: str) -> Response:
    """Erase what was kept of a visitor."""
    count = _call(site, actor, lambda gallery: delete_visitor(gallery, visitor))
    return go_to(request, "/visitors", f"Deleted, with {count} sightings")


def _call(site: Site, actor: Actor, work: Callable[[Gallery], T]) -> T:
    return site.desk.call(actor.audit_name, work)


def _times(actor: Actor, entry: VisitorEntry) -> int:
    """How often a visitor came to cameras that the actor may see."""
    return sum(count for camera, count in entry.cameras.items() if actor.sees(camera))


def _card(site: Site, actor: Actor, entry: VisitorEntry) -> VisitorCard:
    cameras = [(camera, count) for camera, count in entry.cameras.items() if actor.sees(camera)]
    cameras.sort(key=lambda one: -one[1])
    return VisitorCard(entry, _times(actor, entry), cameras, _some_pictures(site, actor, entry))


def _some_pictures(site: Site, actor: Actor, entry: VisitorEntry) -> ShownStrip:
    """The first pictures of the newest walks."""
    if not site.album.keeps:
        return ShownStrip([])
    _, sightings = _call(site, actor, lambda gallery: show_visitor(gallery, entry.uid))
    shots: list[ShownShot] = []
    for sighting in reversed(sightings):
        if len(shots) < PICTURES and actor.sees(sighting.track.camera):
            strip = _sighting(site, actor, sighting).strip
            shots += strip.shots[len(strip.shots) // 3 :][:2]
    return ShownStrip(shots[:PICTURES])


def _sighting(site: Site, actor: Actor, sighting: Sighting) -> ShownSighting:
    track = sighting.track
    return ShownSighting(
        track=str(track),
        camera=track.camera,
        number=track.track,
        time_ns=track.time_ns,
        windows=sum(kept.shape[0] for kept in sighting.windows.values()),
        distance=sighting.distance,
        strip=strip_of(site, actor, track.camera, track.run, track.track, time_ns=track.time_ns),
    )

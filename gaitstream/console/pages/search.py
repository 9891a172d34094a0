"""Where somebody has walked who walks like this: by a track, or by an uploaded clip."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gaitstream.console.access import CurrentSite, VisitorReader
from gaitstream.console.pages.drawing import Scale, scale
from gaitstream.console.pages.lines import thumb
from gaitstream.console.pages.pictures import ShownStrip, strip_of
from gaitstream.console.permissions import Actor
from gaitstream.console.refusals import NotFoundError
from gaitstream.console.rendering import render
from gaitstream.console.site import Site
from gaitstream.gallery import Gallery
from gaitstream.gallery.appearances import Appearance, appearances, describe_appearance, like_track
from gaitstream.gallery.retention import DAY_NS
from gaitstream.gallery.searches import Floats
from gaitstream.gallery.sightings import TrackRef
from gaitstream.pipeline.visits import site_rule

router = APIRouter()
SPANS = {"1": "1 day", "7": "7 days", "30": "30 days", "365": "1 year"}
"""Days back, and how they are called."""
SAME = 1.0
"""Distances are given in units of the one at which two walks are of the same person."""
Days = Annotated[int, Query(ge=1, le=3650)]


@dataclass(frozen=True)
class Found:
    """One walk that is like the one searched for."""

    who: str
    camera: str
    number: int
    track: str
    time_ns: int
    distance: float
    same: bool
    thumb: str


@dataclass(frozen=True)
class SearchView:
    """What the page shows.

    Attributes:
        like: the track that was asked for; empty before a search.
        days: how far back.
        strip: pictures of what was searched for.
        found: nearest first; None before a search.
        scale: of the distances.
        near: distance at which it is the same person.
    """

    like: str
    days: int
    strip: ShownStrip
    found: list[Found] | None
    scale: Scale
    near: float = SAME


@router.get("/search")
def show(
    request: Request,
    site: CurrentSite,
    actor: VisitorReader,
    like: Annotated[str, Query(max_length=400)] = "",
    days: Days = 7,
) -> Response:
    """The form, and what was found where something is asked for."""
    if not like:
        return render(
            request, "search.html", SearchView("", days, ShownStrip([]), None, scale([SAME])), spans=SPANS
        )
    track = TrackRef.parse(like)
    if not actor.sees(track.camera):
        raise NotFoundError(f"there is no track {like[:64]!r}")
    found = search(site, actor, days, lambda gallery: like_track(gallery, track))
    strip = strip_of(site, actor, track.camera, track.run, track.track, time_ns=0)
    view = SearchView(like, days, strip, found, scale([SAME, *(one.distance for one in found)]))
    return render(request, "search.html", view, spans=SPANS)


def search(
    site: Site, actor: Actor, days: int, like: Callable[[Gallery], Mapping[str, Floats]]
) -> list[Found]:
    """The walks past cameras that the actor may see, nearest first; noted in the audit log.

    Args:
        site: whose gallery.
        actor: who asks.
        days: how far back.
        like: gives the windows to search for.

    Raises:
        GalleryError: nothing is kept of what is searched for.
    """
    config = site.config()
    since_ns = time.time_ns() - days * DAY_NS

    def work(gallery: Gallery) -> list[Appearance]:
        rule = site_rule(config, {model: gallery.thresholds(model)[0] for model in gallery.models()})
        return appearances(gallery, like(gallery), rule, since_ns)

    found = site.desk.call(actor.audit_name, work)
    return found_of(site, actor, [describe_appearance(one) for one in found])


def found_of(site: Site, actor: Actor, plain: Sequence[Mapping[str, Any]]) -> list[Found]:
    """What a job has found, of the cameras that the actor may see."""
    return [
        Found(
            who=one["who"], camera=one["camera"], number=one["track"],
            track=f"{one['run']}/{one['camera']}/{one['track']}", time_ns=one["time_ns"],
            distance=one["distance"], same=one["same"],
            thumb=thumb(site, one["camera"], one["run"], one["track"]),
        )
        for one in plain
        if actor.sees(one["camera"])
    ]  # fmt: skip

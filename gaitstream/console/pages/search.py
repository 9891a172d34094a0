"""Where somebody has walked who walks like this: by a track, or by an uploaded clip."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gaitstream.console import strangers
from gaitstream.console.access import CurrentSite, VisitorReader
from gaitstream.console.pages.drawing import DistanceScale, scale
from gaitstream.console.pages.lines import thumb
from gaitstream.console.pages.pictures import ShownStrip, strip_of
from gaitstream.console.rendering import render
from gaitstream.console.site import ConsoleSite
from gaitstream.gallery.retention import DAY_NS
from gaitstream.gallery.sightings import TrackRef

router = APIRouter()
SPANS = {"1": "1 day", "7": "7 days", "30": "30 days", "365": "1 year"}
"""Days back, and how they are called."""
SAME = 1.0
"""Distances are given in units of the one at which two walks are of the same person."""
MOST_FOUND = 50
Days = Annotated[int, Query(ge=1, le=3650)]


@dataclass(frozen=True)
class FoundWalk:
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
    found: list[FoundWalk] | None
    scale: DistanceScale
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
    since_ns = time.time_ns() - days * DAY_NS
    alike = strangers.alike(site, actor, track, since_ns, MOST_FOUND)
    found = found_of(site, [one.model_dump() | {"who": one.person} for one in alike])
    strip = strip_of(site, actor, track.camera, track.run, track.track, time_ns=0)
    view = SearchView(like, days, strip, found, scale([SAME, *(one.distance for one in found)]))
    return render(request, "search.html", view, spans=SPANS)


def found_of(site: ConsoleSite, plain: Sequence[Mapping[str, Any]]) -> list[FoundWalk]:
    """Lines of appearances that are given as plain data."""
    return [
        FoundWalk(
            who=one["who"], camera=one["camera"], number=one["track"],
            track=f"{one['run']}/{one['camera']}/{one['track']}", time_ns=one["time_ns"],
            distance=one["distance"], same=one["same"],
            thumb=thumb(site, one["camera"], one["run"], one["track"]),
        )
        for one in plain
    ]  # fmt: skip

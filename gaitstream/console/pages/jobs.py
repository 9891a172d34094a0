"""Work that takes a while: what came of an uploaded clip, and pictures of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from gaitstream.console.access import CurrentActor, CurrentSite
from gaitstream.console.jobs import ShownJob
from gaitstream.console.pages.drawing import DistanceScale, scale
from gaitstream.console.pages.pictures import ShownStrip
from gaitstream.console.pages.search import SAME, FoundWalk, found_of
from gaitstream.console.rendering import render

router = APIRouter()


@dataclass(frozen=True)
class ClipView:
    """What came of a clip.

    Attributes:
        job: the work.
        walks: people of the clip, with the name of their picture; empty where there is none.
        pictures: names of pictures by track.
        found: earlier appearances; None where none were searched for.
        scale: of their distances.
        strip: none: what was searched for is beside the walk.
        near: distance at which it is the same person.
    """

    job: ShownJob
    walks: list[dict[str, Any]]
    pictures: dict[int, str]
    found: list[FoundWalk] | None
    scale: DistanceScale
    strip: ShownStrip
    near: float = SAME


@router.get("/jobs/{job_id}")
def show(request: Request, site: CurrentSite, actor: CurrentActor, job_id: str) -> Response:
    """How far a clip is, and who is in it."""
    job = site.jobs.find(actor, job_id).shown(actor)
    pictures = {int(name.partition("-")[2]): name for name in job.pictures if name.startswith("track-")}
    found = None if job.found is None else found_of(site, job.found)
    drawn = scale([SAME, *(one.distance for one in found or ())])
    return render(request, "clip.html", ClipView(job, job.walks, pictures, found, drawn, ShownStrip([])))


@router.get("/jobs/{job_id}/pictures/{name}")
def show_picture(site: CurrentSite, actor: CurrentActor, job_id: str, name: str) -> Response:
    """A picture that came of it."""
    return Response(site.jobs.picture(actor, job_id, name), media_type="image/jpeg")

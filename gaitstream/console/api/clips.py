"""Clips: the video is the body of the request; what comes of it is a job's result."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from gaitstream.console import clips
from gaitstream.console.access import ClipSender, CurrentActor, CurrentSite, PeopleWriter
from gaitstream.console.jobs import ShownJob
from gaitstream.console.people import LONGEST_NAME
from gaitstream.console.permissions import Permission
from gaitstream.gallery.retention import DAY_NS

router = APIRouter(tags=["clips"])
_TYPES = (
    "application/octet-stream",
    "video/mp4",
    "video/quicktime",
    "video/x-matroska",
    "video/webm",
    "video/x-msvideo",
)
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "MP4, MOV, MKV, WebM or AVI; at most 64 MiB, two minutes and 4096 x 2304 pixels.",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _TYPES},
    }
}
JobId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]


@router.post("/clips/identify", status_code=202, openapi_extra=BODY)
async def identify(request: Request, site: CurrentSite, actor: ClipSender) -> ShownJob:
    """Find out who walks in a clip."""
    async with clips.receive_clip(request, site) as (job_id, clip):
        return await run_in_threadpool(clips.identify, site, actor, job_id, clip)


@router.post("/clips/enrol", status_code=202, openapi_extra=BODY)
async def enrol(
    request: Request,
    site: CurrentSite,
    actor: PeopleWriter,
    person: Annotated[str, Query(min_length=1, max_length=LONGEST_NAME)],
    track: Annotated[int | None, Query(ge=0, lt=1 << 31)] = None,
) -> ShownJob:
    """Enrol somebody from a clip. Where several walk in it, send it again with the `track` that is meant."""
    async with clips.receive_clip(request, site) as (job_id, clip):
        return await run_in_threadpool(clips.enrol, site, actor, job_id, clip, person, track)


@router.post("/clips/search", status_code=202, openapi_extra=BODY)
async def search(
    request: Request,
    site: CurrentSite,
    actor: ClipSender,
    days: Annotated[int, Query(ge=1, le=3650)] = 7,
    track: Annotated[int | None, Query(ge=0, lt=1 << 31)] = None,
) -> ShownJob:
    """Find out where one of a clip was seen before. Where several walk, send it again with the `track`."""
    actor.need(Permission.VISITORS_READ)
    since_ns = time.time_ns() - days * DAY_NS
    async with clips.receive_clip(request, site) as (job_id, clip):
        return await run_in_threadpool(clips.search, site, actor, job_id, clip, since_ns, track)


@router.get("/jobs/{job_id}")
def show_job(site: CurrentSite, actor: CurrentActor, job_id: JobId) -> ShownJob:
    """How far a job of one's own is, and what came of it."""
    return site.jobs.find(actor, job_id).shown(actor)


@router.get("/jobs/{job_id}/pictures/{name}", response_class=Response)
def show_picture(
    site: CurrentSite, actor: CurrentActor, job_id: JobId, name: Annotated[str, Path(max_length=32)]
) -> Response:
    """A picture that a job made, as JPEG."""
    return Response(site.jobs.picture(actor, job_id, name), media_type="image/jpeg")

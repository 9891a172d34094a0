"""A camera's last minutes, a picture a second, to be gone through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from gaitstream.console import recent
from gaitstream.console.access import CurrentSite, EventReader
from gaitstream.console.pages.lines import camera_address
from gaitstream.console.permissions import Actor
from gaitstream.console.recent import KeptFrame
from gaitstream.console.rendering import render
from gaitstream.console.site import ConsoleSite

router = APIRouter()
MS_NS = 1_000_000


@dataclass(frozen=True)
class PictureWithPeople:
    """A kept picture with who is in it."""

    address: str
    frame: KeptFrame


@dataclass(frozen=True)
class KeptMinutes:
    """What is kept of a camera.

    Attributes:
        address: where a picture is asked for by its time.
        first_ms: time of the first, UTC milliseconds.
        last_ms: of the last.
        count: how many there are.
        shown: the last one.
    """

    address: str
    first_ms: int
    last_ms: int
    count: int
    shown: PictureWithPeople


@router.get("/live/{camera}/at")
def show(
    request: Request, site: CurrentSite, actor: EventReader, camera: str, at: Annotated[int, Query(ge=0)]
) -> Response:
    """The picture nearest to a time, UTC milliseconds."""
    frame = recent.frame_at(site, actor, camera, at * MS_NS)
    return render(request, "camera_recent.html", shown=_shown(camera, frame))


@router.get("/live/{camera}/last")
def last(site: CurrentSite, actor: EventReader, camera: str) -> Response:
    """To the newest picture."""
    frame = recent.newest(site, actor, camera)
    return RedirectResponse(_shown(camera, frame).address, status_code=303)


@router.get("/live/{camera}/at/{time_ns}")
def picture(site: CurrentSite, actor: EventReader, camera: str, time_ns: int) -> Response:
    """The JPEG of a picture."""
    return Response(recent.picture(site, actor, camera, time_ns), media_type="image/jpeg")


def kept_of(site: ConsoleSite, actor: Actor, camera: str) -> KeptMinutes | None:
    """What is kept of a camera; None for nothing."""
    frames = recent.list_recent(site, actor, camera) if site.album.minutes else []
    if not frames:
        return None
    first_ms, last_ms = frames[0].time_ns // MS_NS, -(-frames[-1].time_ns // MS_NS)
    address = f"{camera_address(camera)}/at"
    return KeptMinutes(address, first_ms, last_ms, len(frames), _shown(camera, frames[-1]))


def _shown(camera: str, frame: KeptFrame) -> PictureWithPeople:
    return PictureWithPeople(f"{camera_address(camera)}/at/{frame.time_ns}", frame)

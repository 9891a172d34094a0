"""The wall of cameras with what is seen now, and one camera with its last minutes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from gaitstream.console.access import CameraReader, CurrentSite
from gaitstream.console.asking import EventQuestion, ask_events
from gaitstream.console.pages.drawing import S_NS, Scale, Span, Timeline
from gaitstream.console.pages.events import distance_scale, draw_timeline
from gaitstream.console.pages.lines import IDENTITY, EventLine, newest_lines
from gaitstream.console.pages.stream import still_holds
from gaitstream.console.permissions import Actor
from gaitstream.console.refusals import NotFoundError
from gaitstream.console.rendering import render
from gaitstream.console.site import Site
from gaitstream.console.wellbeing import ShownCameraHealth, show_health

router = APIRouter()
MINUTES = 10
"""Of one camera's page."""
LATEST = 14
BOUNDARY = "picture"
LOOK_S = 10.0
"""How often an open stream is looked at: whether the session still holds."""


@dataclass(frozen=True)
class WallCamera:
    """A camera on the wall.

    Attributes:
        id: of the camera.
        state: such as `online`.
        detail: why it is not.
        people: tracks now.
        fps: analysed frames a second.
        picture: address of its newest picture; empty where the run offers none.
    """

    id: str
    state: str
    detail: str
    people: int
    fps: float
    picture: str


@dataclass(frozen=True)
class LiveView:
    """What the wall shows."""

    summary: str
    cameras: list[WallCamera]
    latest: list[EventLine]


@dataclass(frozen=True)
class CameraView:
    """One camera and its last minutes.

    Attributes:
        camera: the camera.
        stream: address of its live pictures; empty where the run offers none.
        minutes: that are shown.
        drawn: its timeline.
        rows: its newest tracks.
        scale: of their distances.
        query: for the rows, as they are asked for again.
        next: always empty: no older ones are asked for here.
    """

    camera: WallCamera
    stream: str
    minutes: int
    drawn: Timeline
    rows: list[EventLine]
    scale: Scale
    query: str
    next: str = ""


@router.get("/live")
def show(request: Request, site: CurrentSite, actor: CameraReader) -> Response:
    """The wall."""
    cameras = wall(site, actor)
    return render(request, "live.html", LiveView(_summary(cameras), cameras, _latest(site, actor)))


@router.get("/live/wall")
def show_wall(request: Request, site: CurrentSite, actor: CameraReader) -> Response:
    """The cameras alone, when one came or went."""
    return render(request, "live_wall.html", cameras=wall(site, actor))


@router.get("/live/latest")
def show_latest(request: Request, site: CurrentSite, actor: CameraReader) -> Response:
    """What was decided last."""
    return render(request, "live_latest.html", latest=_latest(site, actor))


@router.get("/live/{camera}")
def show_camera(request: Request, site: CurrentSite, actor: CameraReader, camera: str) -> Response:
    """One camera."""
    found = _find(site, actor, camera)
    now_ns = time.time_ns()
    span = Span(now_ns - MINUTES * 60 * S_NS, now_ns)
    question = EventQuestion(camera=[camera], type=list(IDENTITY), since_ns=span.since_ns)
    rows = newest_lines(site, ask_events(site, actor, question).events)
    stream = f"/live/{quote(camera, safe='')}/stream" if found.picture else ""
    drawn = draw_timeline(site, actor, question, span)
    query = urlencode({"camera": camera})
    view = CameraView(found, stream, MINUTES, drawn, rows, distance_scale(rows), query)
    return render(request, "camera_live.html", view)


@router.get("/live/{camera}/frame")
async def frame(
    site: CurrentSite, actor: CameraReader, camera: str, after: Annotated[int, Query(ge=0)] = 0
) -> Response:
    """The newest picture."""
    _check(actor, camera)
    picture = await site.live.next(camera, after)
    if picture is None:
        raise NotFoundError(f"{camera} gives no live picture now")
    return Response(picture.data, media_type="image/jpeg", headers={"X-Picture": str(picture.number)})


@router.get("/live/{camera}/stream")
async def stream(request: Request, site: CurrentSite, actor: CameraReader, camera: str) -> Response:
    """All pictures as they come, as multipart JPEG."""
    _check(actor, camera)
    media_type = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
    return StreamingResponse(_parts(request, site, actor, camera), media_type=media_type)


def wall(site: Site, actor: Actor) -> list[WallCamera]:
    """The cameras an actor may see, by name."""
    return [_on_wall(site, camera) for camera in show_health(site, actor).cameras]


def _on_wall(site: Site, camera: ShownCameraHealth) -> WallCamera:
    state = camera.state or "connecting"
    picture = f"/live/{quote(camera.camera, safe='')}/frame" if site.live.on and state == "online" else ""
    return WallCamera(camera.camera, state, camera.detail, camera.people, camera.fps, picture)


def _find(site: Site, actor: Actor, camera: str) -> WallCamera:
    _check(actor, camera)
    found = next((one for one in wall(site, actor) if one.id == camera), None)
    if found is None:
        raise NotFoundError(f"nothing was heard of a camera {camera[:64]!r}")
    return found


def _check(actor: Actor, camera: str) -> None:
    if not actor.sees(camera):
        raise NotFoundError(f"nothing was heard of a camera {camera[:64]!r}")


def _summary(cameras: list[WallCamera]) -> str:
    online = sum(camera.state == "online" for camera in cameras)
    people = sum(camera.people for camera in cameras)
    count = f"{len(cameras)} camera{'' if len(cameras) == 1 else 's'}"
    return f"{count}, {online} online, {people} {'person' if people == 1 else 'people'} in sight"


def _latest(site: Site, actor: Actor) -> list[EventLine]:
    found = ask_events(site, actor, EventQuestion(type=list(IDENTITY), limit=4 * LATEST))
    return newest_lines(site, found.events)[:LATEST]


async def _parts(request: Request, site: Site, actor: Actor, camera: str) -> AsyncIterator[bytes]:
    """Parts of a multipart answer until the run ends, the browser goes, or the session is over."""
    number, looked_s = 0, time.monotonic()
    while True:
        picture = await site.live.next(camera, number)
        if picture is None:
            return
        number = picture.number
        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture.data)}\r\n\r\n"
        yield head.encode() + picture.data + b"\r\n"
        if time.monotonic() - looked_s >= LOOK_S:
            looked_s = time.monotonic()
            if not await run_in_threadpool(still_holds, request, actor):
                return

"""The wall of cameras with what is seen now, and one camera with its last minutes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gaitstream.console.access import CameraReader, CurrentSite
from gaitstream.console.asking import EventQuestion, ask_events, see_camera
from gaitstream.console.pages.drawing import S_NS, DistanceScale, Span
from gaitstream.console.pages.events import distance_scale
from gaitstream.console.pages.lines import IDENTITY, EventLine, camera_address, newest_lines
from gaitstream.console.pages.recent import KeptMinutes, kept_of
from gaitstream.console.pages.timelines import Timeline, draw_timeline
from gaitstream.console.permissions import Actor
from gaitstream.console.refusals import NotFoundError
from gaitstream.console.rendering import iso, render
from gaitstream.console.site import ConsoleSite
from gaitstream.console.watching import all_pictures, newest_picture
from gaitstream.console.wellbeing import ShownCameraHealth, show_health

router = APIRouter()
MINUTES = 10
"""Of one camera's page."""
LATEST = 14


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
        last: address of the last one that was kept, where there is no live one; empty without.
    """

    id: str
    state: str
    detail: str
    people: int
    fps: float
    picture: str
    last: str


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
        kept: its last kept pictures; None where there are none.
        query: for the rows, as they are asked for again.
        next: always empty: no older ones are asked for here.
    """

    camera: WallCamera
    stream: str
    minutes: int
    drawn: Timeline
    rows: list[EventLine]
    scale: DistanceScale
    kept: KeptMinutes | None
    query: str
    next: str = ""


@router.get("/live")
def show(request: Request, site: CurrentSite, actor: CameraReader) -> Response:
    """The wall."""
    cameras = wall(site, actor)
    view = LiveView(_summary(cameras), cameras, _latest(site, actor))
    return render(request, "live.html", view, summary_too=False)


@router.get("/live/wall")
def show_wall(request: Request, site: CurrentSite, actor: CameraReader) -> Response:
    """The cameras alone, when one came or went."""
    cameras = wall(site, actor)
    return render(request, "live_wall.html", cameras=cameras, summary=_summary(cameras), summary_too=True)


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
    stream = f"{camera_address(camera)}/stream" if found.picture else ""
    drawn = draw_timeline(site, actor, question, span)
    query = urlencode({"camera": camera, "since": iso(span.since_ns)})
    kept = kept_of(site, actor, camera)
    view = CameraView(found, stream, MINUTES, drawn, rows, distance_scale(rows), kept, query)
    return render(request, "camera_live.html", view)


@router.get("/live/{camera}/frame")
async def frame(
    site: CurrentSite, actor: CameraReader, camera: str, after: Annotated[int, Query(ge=0)] = 0
) -> Response:
    """The newest picture."""
    return await newest_picture(site, actor, camera, after)


@router.get("/live/{camera}/stream")
def stream(request: Request, site: CurrentSite, actor: CameraReader, camera: str) -> Response:
    """All pictures as they come, as multipart JPEG."""
    return all_pictures(request, site, actor, camera)


def wall(site: ConsoleSite, actor: Actor) -> list[WallCamera]:
    """The cameras an actor may see, by name."""
    return [_on_wall(site, camera) for camera in show_health(site, actor).cameras]


def _on_wall(site: ConsoleSite, camera: ShownCameraHealth) -> WallCamera:
    state = camera.state or "connecting"
    address = camera_address(camera.camera)
    picture = f"{address}/frame" if site.live.on and state == "online" else ""
    last = f"{address}/last" if not picture and site.album.has_recent(camera.camera) else ""
    return WallCamera(camera.camera, state, camera.detail, camera.people, camera.fps, picture, last)


def _find(site: ConsoleSite, actor: Actor, camera: str) -> WallCamera:
    see_camera(actor, camera)
    found = next((one for one in wall(site, actor) if one.id == camera), None)
    if found is None:
        raise NotFoundError(f"nothing was heard of a camera {camera[:64]!r}")
    return found


def _summary(cameras: list[WallCamera]) -> str:
    online = sum(camera.state == "online" for camera in cameras)
    people = sum(camera.people for camera in cameras)
    count = f"{len(cameras)} camera{'' if len(cameras) == 1 else 's'}"
    return f"{count}, {online} online, {people} {'person' if people == 1 else 'people'} in sight"


def _latest(site: ConsoleSite, actor: Actor) -> list[EventLine]:
    found = ask_events(site, actor, EventQuestion(type=list(IDENTITY), limit=4 * LATEST))
    return newest_lines(site, found.events)[:LATEST]

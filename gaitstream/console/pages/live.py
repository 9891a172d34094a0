"""The wall of cameras with what is seen now, and one camera with its last minutes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from gaitstream.console.access import CameraReader, CurrentSite
from gaitstream.console.asking import EventQuestion, ask_events, see_camera
from gaitstream.console.pages.drawing import S_NS, Span
from gaitstream.console.pages.events import LAG_S, Rows, distance_scale, draw_part
from gaitstream.console.pages.lines import IDENTITY, camera_address, newest_lines
from gaitstream.console.pages.recent import KeptMinutes, kept_of
from gaitstream.console.permissions import Actor, Rights
from gaitstream.console.refusals import NotFoundError
from gaitstream.console.rendering import iso, render, render_part
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
        last: address of the last one that was kept; empty without. Beside a live one it may be there later.
        piece: what the last one is a part of: changes when pictures are added or erased.
        why: what is shown in the place of a live picture, or why nothing is.
    """

    id: str
    state: str
    detail: str
    people: int
    fps: float
    picture: str
    last: str
    piece: str
    why: str

    @property
    def key(self) -> str:
        """Names its parts on the page so that selectors take it; the bus may call a camera anything."""
        return sha256(self.id.encode(errors="replace")).hexdigest()[:16]


@dataclass(frozen=True)
class Wall:
    """The wall as a part of a page.

    Attributes:
        summary: how many cameras there are, in words.
        tiles: of the cameras.
    """

    summary: str
    tiles: Markup


@dataclass(frozen=True)
class LiveView:
    """What the page shows.

    Attributes:
        wall: the cameras.
        latest: what was decided last.
    """

    wall: Wall
    latest: Markup


@dataclass(frozen=True)
class LastMinutes:
    """What a camera's page shows of its last minutes.

    Attributes:
        drawn: its timeline.
        table: its newest tracks; no older ones are asked for here.
        query: for the rows, as they are asked for again.
    """

    drawn: Markup
    table: Markup
    query: str


@dataclass(frozen=True)
class CameraView:
    """One camera and its last minutes.

    Attributes:
        camera: the camera.
        stream: address of its live pictures; empty where the run offers none.
        minutes: that are shown.
        last: its newest tracks.
        kept: its last kept pictures; None where there are none.
    """

    camera: WallCamera
    stream: str
    minutes: int
    last: LastMinutes
    kept: KeptMinutes | None


@router.get("/live")
def show(request: Request, site: CurrentSite, actor: CameraReader) -> Response:
    """The wall."""
    return render(request, "live.html", LiveView(_wall(site, actor, LAG_S), _latest(site, actor, LAG_S)))


@router.get("/live/wall")
def show_wall(request: Request, site: CurrentSite, actor: CameraReader) -> Response:
    """The cameras alone, when one came or went."""
    return render(request, "live_wall_news.html", _wall(site, actor))


@router.get("/live/latest")
def show_latest(site: CurrentSite, actor: CameraReader) -> Response:
    """What was decided last."""
    return HTMLResponse(_latest(site, actor))


@router.get("/live/{camera}")
def show_camera(request: Request, site: CurrentSite, actor: CameraReader, camera: str) -> Response:
    """One camera."""
    found = _find(site, actor, camera)
    stream = f"{camera_address(camera)}/stream" if found.picture else ""
    last = site.shared.of(actor, ("camera", camera), lambda rights: _last(site, rights, camera), LAG_S)
    view = CameraView(found, stream, MINUTES, last, kept_of(site, actor, camera))
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


def cameras_of(site: ConsoleSite, rights: Rights) -> list[WallCamera]:
    """The cameras that may be seen, by name."""
    return [_on_wall(site, camera) for camera in show_health(site, rights).cameras]


def _wall(site: ConsoleSite, actor: Actor, lag_s: float = 0.0) -> Wall:
    def make(rights: Rights) -> Wall:
        cameras = cameras_of(site, rights)
        return Wall(_summary(cameras), render_part("live_wall.html", cameras=cameras))

    return site.shared.of(actor, "live/wall", make, lag_s)


def _last(site: ConsoleSite, rights: Rights, camera: str) -> LastMinutes:
    now_ns = time.time_ns()
    span = Span(now_ns - MINUTES * 60 * S_NS, now_ns)
    question = EventQuestion(camera=[camera], type=list(IDENTITY), since_ns=span.since_ns)
    rows = newest_lines(site, ask_events(site, rights, question).events)
    return LastMinutes(
        draw_part(site, rights, question, span),
        render_part("events_table.html", Rows(rows, distance_scale(rows), "", "")),
        urlencode({"camera": camera, "since": iso(span.since_ns)}),
    )


def _on_wall(site: ConsoleSite, camera: ShownCameraHealth) -> WallCamera:
    state = camera.state or "connecting"
    address = camera_address(camera.camera)
    picture = f"{address}/frame" if site.live.on and state == "online" else ""
    piece = site.album.newest_piece(camera.camera)
    last = f"{address}/last" if piece or (picture and site.album.minutes) else ""
    return WallCamera(
        camera.camera, state, camera.detail, camera.people, camera.fps, picture, last, piece,
        _why(site, state, picture, last),
    )  # fmt: skip


def _why(site: ConsoleSite, state: str, picture: str, last: str) -> str:
    if picture:
        return "No picture yet"
    if last:
        return "The last picture that was kept"
    if state == "online":
        return "The run offers no live picture; set evidence.live in cams.yaml."
    if site.album.minutes:
        return "No picture of its last minutes is kept: there was none, its time is over, or it was erased."
    return "There are pictures while it is online." if site.live.on else "The run offers no live picture."


def _find(site: ConsoleSite, actor: Actor, camera: str) -> WallCamera:
    see_camera(actor, camera)
    found = next((one for one in cameras_of(site, actor) if one.id == camera), None)
    if found is None:
        raise NotFoundError(f"nothing was heard of a camera {camera[:64]!r}")
    return found


def _summary(cameras: list[WallCamera]) -> str:
    online = sum(camera.state == "online" for camera in cameras)
    people = sum(camera.people for camera in cameras)
    count = f"{len(cameras)} camera{'' if len(cameras) == 1 else 's'}"
    return f"{count}, {online} online, {people} {'person' if people == 1 else 'people'} in sight"


def _latest(site: ConsoleSite, actor: Actor, lag_s: float = 0.0) -> Markup:
    def make(rights: Rights) -> Markup:
        found = ask_events(site, rights, EventQuestion(type=list(IDENTITY), limit=4 * LATEST))
        return render_part("live_latest.html", latest=newest_lines(site, found.events)[:LATEST])

    return site.shared.of(actor, "live/latest", make, lag_s)

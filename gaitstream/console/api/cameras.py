"""Cameras: which there are, and changes of cams.yaml."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from gaitstream.config.names import NAME_PATTERN
from gaitstream.console import cameras, recent
from gaitstream.console.access import CameraReader, CameraWriter, CurrentSite, EventReader
from gaitstream.console.asking import NANOSECONDS
from gaitstream.console.cameras import CameraDraft, NewCamera, ShownCamera
from gaitstream.console.jobs import ShownJob
from gaitstream.console.recent import KeptFrame
from gaitstream.console.watching import all_pictures, newest_picture

router = APIRouter(prefix="/cameras", tags=["cameras"])
CameraName = Annotated[str, Path(pattern=NAME_PATTERN)]


@router.get("")
def list_cameras(site: CurrentSite, actor: CameraReader) -> list[ShownCamera]:
    """The cameras that may be seen."""
    return cameras.list_cameras(site, actor)


@router.post("", status_code=201)
def add_camera(site: CurrentSite, actor: CameraWriter, draft: NewCamera) -> ShownCamera:
    """Add a camera to cams.yaml; a run takes it over by itself."""
    return cameras.add_camera(site, actor, draft)


@router.post("/trials", status_code=202)
def try_camera(site: CurrentSite, actor: CameraWriter, draft: NewCamera) -> ShownJob:
    """Take one picture of a camera that is not there yet; the job says who in it would be rejected."""
    return cameras.try_camera(site, actor, draft)


@router.get("/{camera}")
def show_camera(site: CurrentSite, actor: CameraReader, camera: CameraName) -> ShownCamera:
    """One camera."""
    return cameras.show_camera(site, actor, camera)


@router.get("/{camera}/live", response_class=Response)
async def show_live(
    site: CurrentSite, actor: CameraReader, camera: CameraName, after: Annotated[int, Query(ge=0)] = 0
) -> Response:
    """The newest live picture, as JPEG, with boxes and names; its number is in `X-Picture`."""
    return await newest_picture(site, actor, camera, after)


@router.get("/{camera}/live/stream", response_class=Response)
def stream_live(request: Request, site: CurrentSite, actor: CameraReader, camera: CameraName) -> Response:
    """All live pictures as they come, as multipart JPEG."""
    return all_pictures(request, site, actor, camera)


@router.get("/{camera}/recent")
def list_recent(
    site: CurrentSite,
    actor: EventReader,
    camera: CameraName,
    since_ns: Annotated[int, NANOSECONDS] = 0,
    until_ns: Annotated[int | None, NANOSECONDS] = None,
) -> list[KeptFrame]:
    """The pictures that are kept of the last minutes, in order, with who is in them."""
    return recent.list_recent(site, actor, camera, since_ns, until_ns)


@router.get("/{camera}/recent/{time_ns}", response_class=Response)
def show_recent(
    site: CurrentSite, actor: EventReader, camera: CameraName, time_ns: Annotated[int, Path(ge=0, lt=1 << 63)]
) -> Response:
    """One of them, as JPEG, clean."""
    return Response(recent.picture(site, actor, camera, time_ns), media_type="image/jpeg")


@router.patch("/{camera}")
def change_camera(
    site: CurrentSite, actor: CameraWriter, camera: CameraName, draft: CameraDraft
) -> ShownCamera:
    """Change a camera in cams.yaml; null takes a key out."""
    return cameras.change_camera(site, actor, camera, draft)


@router.post("/{camera}/trials", status_code=202)
def try_change(site: CurrentSite, actor: CameraWriter, camera: CameraName, draft: CameraDraft) -> ShownJob:
    """Take one picture of a camera as it would be with some changes."""
    return cameras.try_change(site, actor, camera, draft)


@router.delete("/{camera}", status_code=204)
def remove_camera(site: CurrentSite, actor: CameraWriter, camera: CameraName) -> None:
    """Take a camera out of cams.yaml."""
    cameras.remove_camera(site, actor, camera)

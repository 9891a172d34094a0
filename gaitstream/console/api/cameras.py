"""Cameras: which there are, and changes of cams.yaml."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from gaitstream.console import cameras
from gaitstream.console.access import CameraReader, CameraWriter, CurrentSite
from gaitstream.console.cameras import CameraDraft, NewCamera, ShownCamera
from gaitstream.console.jobs import ShownJob

router = APIRouter(prefix="/cameras", tags=["cameras"])
CameraName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


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

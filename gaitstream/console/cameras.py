"""The site's cameras, as cams.yaml has them, and their states; changes keep the file's comments."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gaitstream.config.camera_sections import Camera
from gaitstream.config.cams_file import CamsFile
from gaitstream.config.names import NAME_PATTERN
from gaitstream.console.jobs import ShownJob
from gaitstream.console.permissions import Actor
from gaitstream.console.refusals import NotFoundError
from gaitstream.console.site import ConsoleSite
from gaitstream.console.worker import Task

CameraId = Annotated[str, Field(pattern=NAME_PATTERN)]
Coordinate = Annotated[float, Field(ge=0, le=100_000)]
Point = Annotated[list[Coordinate], Field(min_length=2, max_length=2)]
Polygon = Annotated[list[Point], Field(min_length=3, max_length=100)]
Size = Annotated[list[Annotated[int, Field(gt=0, le=100_000)]], Field(min_length=2, max_length=2)]


class CameraDraft(BaseModel):
    """A camera's entry, or what is to be changed of one; what is left out stays as it is, or as usual."""

    model_config = ConfigDict(extra="forbid")
    url: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    fps: Annotated[float, Field(gt=0, le=240)] | None = None
    enabled: bool | None = None
    transport: Literal["tcp", "udp"] | None = None
    regions: Annotated[list[Polygon], Field(max_length=50)] | None = None
    region_size: Size | None = Field(default=None, description="Width and height the regions were drawn on.")

    def values(self) -> dict[str, Any]:
        """What was given, as it stands in the file."""
        return self.model_dump(mode="json", exclude_unset=True)


class NewCamera(CameraDraft):
    """A camera to add."""

    id: CameraId
    url: Annotated[str, Field(min_length=1, max_length=2000)]


class ShownCamera(BaseModel):
    """One camera; its URL without credentials."""

    camera: str
    url: str
    enabled: bool
    fps: float | None
    regions: list[list[list[float]]] = Field(description="Polygons of points, x and y in pixels.")
    region_size: list[int] | None = Field(description="Width and height the regions were drawn on.")
    state: str = Field(description="`online`, `offline`; empty while nothing was heard of it.")
    detail: str = Field(description="Why it is offline.")
    width: int
    height: int


def list_cameras(site: ConsoleSite, actor: Actor) -> list[ShownCamera]:
    """The cameras that an actor may see: of cams.yaml, or, without one, those that were heard of."""
    if site.options.cameras is None:
        return [_heard(site, name) for name in sorted(site.health.cameras) if actor.sees(name)]
    return [_shown(site, camera) for camera in site.config().cameras if actor.sees(camera.id)]


def show_camera(site: ConsoleSite, actor: Actor, camera: str) -> ShownCamera:
    """One camera.

    Raises:
        NotFoundError: there is none of this id, or the actor may not see it.
    """
    for shown in list_cameras(site, actor):
        if shown.camera == camera:
            return shown
    raise NotFoundError(f"there is no camera {camera[:64]!r}")


def try_camera(site: ConsoleSite, actor: Actor, draft: NewCamera) -> ShownJob:
    """Take one picture of a camera that is not in the file yet; who in it would be rejected, and why."""
    return _try(site, actor, draft.values())


def try_change(site: ConsoleSite, actor: Actor, camera: str, draft: CameraDraft) -> ShownJob:
    """The same for a camera of the file with some changes: other regions, say."""
    show_camera(site, actor, camera)
    known = site.config().camera(camera)
    entry = known.model_dump(mode="json", exclude_unset=True) | {"url": known.url.reveal()} | draft.values()
    return _try(site, actor, entry)


def _try(site: ConsoleSite, actor: Actor, entry: dict[str, Any]) -> ShownJob:
    with site.jobs.arriving() as (job_id, _):
        task = Task(kind="camera", cameras=str(site.config_path()), camera=entry)
        return site.jobs.submit(actor, job_id, task)


def add_camera(site: ConsoleSite, actor: Actor, draft: NewCamera) -> ShownCamera:
    """Add a camera to cams.yaml; a run takes it over by itself.

    Raises:
        ConfigError: the file would be wrong: an id twice, a URL that cannot be right.
    """
    config = CamsFile(site.config_path()).add({"id": draft.id} | draft.values())
    _note(site, actor, "camera.added", draft.id)
    return _shown(site, config.camera(draft.id))


def change_camera(site: ConsoleSite, actor: Actor, camera: str, draft: CameraDraft) -> ShownCamera:
    """Change a camera in cams.yaml; raises as `add_camera`, and NotFoundError."""
    show_camera(site, actor, camera)
    config = CamsFile(site.config_path()).change(camera, draft.values())
    _note(site, actor, "camera.changed", camera)
    return _shown(site, config.camera(camera))


def remove_camera(site: ConsoleSite, actor: Actor, camera: str) -> None:
    """Take a camera out of cams.yaml; raises as `change_camera`."""
    show_camera(site, actor, camera)
    CamsFile(site.config_path()).remove(camera)
    _note(site, actor, "camera.removed", camera)


def _note(site: ConsoleSite, actor: Actor, action: str, camera: str) -> None:
    """Into the gallery's audit log, where there is one."""
    if site.desk.available():
        site.desk.note(actor.audit_name, action, detail=camera)


def _shown(site: ConsoleSite, camera: Camera) -> ShownCamera:
    heard = _heard(site, camera.id)
    return heard.model_copy(
        update={
            "url": str(camera.url),
            "enabled": camera.enabled,
            "fps": camera.fps,
            "regions": [[list(point) for point in polygon] for polygon in camera.regions],
            "region_size": camera.region_size and list(camera.region_size),
        }
    )


def _heard(site: ConsoleSite, camera: str) -> ShownCamera:
    health = site.health.cameras.get(camera)
    return ShownCamera(
        camera=camera, url="", enabled=True, fps=None, regions=[], region_size=None,
        state=site.health.state_of(camera), detail=health.detail if health else "",
        width=health.width if health else 0, height=health.height if health else 0,
    )  # fmt: skip

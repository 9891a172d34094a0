"""The cameras of cams.yaml: add one after a look through it, draw where people count, change, remove."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Form, Request
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from gaitstream.console import cameras
from gaitstream.console.access import CameraReader, CameraWriter, CurrentSite
from gaitstream.console.cameras import CameraDraft, NewCamera, ShownCamera
from gaitstream.console.jobs import ShownJob
from gaitstream.console.pages.moving import go_to
from gaitstream.console.rendering import render
from gaitstream.errors import ConsoleError

router = APIRouter()
Draft = TypeVar("Draft", bound=BaseModel)
LONGEST_REGIONS = 50_000
"""Characters of the regions' JSON."""
LONGEST_TOLD = 60
"""Of a value that is wrong."""


@dataclass(frozen=True)
class CamerasView:
    """What the list shows.

    Attributes:
        cameras: that the actor may see.
        file: where they are kept; empty where the console knows no cams.yaml.
    """

    cameras: list[ShownCamera]
    file: str


@dataclass(frozen=True)
class CameraForm:
    """What the form sends; empty fields stay as they are."""

    id: Annotated[str, Form(max_length=64)] = ""
    url: Annotated[str, Form(max_length=2000)] = ""
    fps: Annotated[str, Form(max_length=20)] = ""
    enabled: Annotated[bool, Form()] = False
    regions: Annotated[str, Form(max_length=LONGEST_REGIONS)] = "[]"
    region_size: Annotated[str, Form(max_length=40)] = "null"

    def new(self) -> dict[str, Any]:
        """As a new entry of the file, without what is as usual."""
        return {"id": self.id} | {key: value for key, value in self.values().items() if value is not None}

    def values(self) -> dict[str, Any]:
        """As changes of an entry; None takes a key out."""
        values: dict[str, Any] = {
            "fps": self.fps or None,
            "enabled": self.enabled,
            "regions": _read_json(self.regions) or None,
            "region_size": _read_json(self.region_size),
        }
        return values | ({"url": self.url} if self.url else {})


AskedCamera = Annotated[CameraForm, Depends()]


@dataclass(frozen=True)
class EditView:
    """What the form shows.

    Attributes:
        camera: as it is; None for a new one.
        regions_json: polygons in pixels.
        region_size_json: size they were drawn on.
    """

    camera: ShownCamera | None
    regions_json: str
    region_size_json: str


@dataclass(frozen=True)
class TestPicturePerson:
    """Somebody in the test picture.

    Attributes:
        box: xyxy, pixels of the picture.
        reason: why they are no evidence; empty where they are.
        text: that in words.
    """

    box: tuple[int, int, int, int]
    reason: str
    text: str

    @property
    def feet(self) -> tuple[int, int]:
        """Where they stand."""
        return (self.box[0] + self.box[2]) // 2, self.box[3]


@dataclass(frozen=True)
class TrialView:
    """What a look through a camera shows.

    Attributes:
        job: the work; None before the first look.
        people: in the picture.
    """

    job: ShownJob | None
    people: list[TestPicturePerson]


@router.get("/cameras")
def show(request: Request, site: CurrentSite, actor: CameraReader) -> Response:
    """The list."""
    path = site.options.cameras
    return render(request, "cameras.html", CamerasView(cameras.list_cameras(site, actor), str(path or "")))


@router.get("/cameras/new")
def show_empty(request: Request, _: CameraWriter) -> Response:
    """The form for a new camera."""
    return render(request, "camera_edit.html", EditView(None, "[]", "null"), job=None, people=[])


@router.post("/cameras/new")
def add(request: Request, site: CurrentSite, actor: CameraWriter, form: AskedCamera) -> Response:
    """Write a new camera into the file."""
    added = cameras.add_camera(site, actor, _draft(NewCamera, form.new()))
    return go_to(request, "/cameras", f"Added {added.camera}")


@router.post("/cameras/test")
def test(request: Request, site: CurrentSite, actor: CameraWriter, form: AskedCamera) -> Response:
    """Begin to look through a camera as the form describes it."""
    known = {camera.camera for camera in cameras.list_cameras(site, actor)}
    if form.id in known:
        job = cameras.try_change(site, actor, form.id, _draft(CameraDraft, form.values()))
    else:
        draft = _draft(NewCamera, {"id": "new"} | {key: one for key, one in form.new().items() if one})
        job = cameras.try_camera(site, actor, draft)
    return render(request, "camera_trial.html", TrialView(job, []))


@router.get("/cameras/test/{job_id}")
def look(request: Request, site: CurrentSite, actor: CameraWriter, job_id: str) -> Response:
    """What came of the look."""
    job = site.jobs.find(actor, job_id).shown(actor)
    people = [_person(number, one) for number, one in enumerate(job.people, 1)]
    return render(request, "camera_trial.html", TrialView(job, people))


@router.get("/cameras/{camera}")
def edit(request: Request, site: CurrentSite, actor: CameraWriter, camera: str) -> Response:
    """The form for a camera that is there."""
    shown = cameras.show_camera(site, actor, camera)
    view = EditView(shown, json.dumps(shown.regions), json.dumps(shown.region_size))
    return render(request, "camera_edit.html", view, job=None, people=[])


@router.post("/cameras/{camera}")
def change(
    request: Request, site: CurrentSite, actor: CameraWriter, camera: str, form: AskedCamera
) -> Response:
    """Write the changes into the file."""
    cameras.change_camera(site, actor, camera, _draft(CameraDraft, form.values()))
    return go_to(request, "/cameras", f"Changed {camera}")


@router.post("/cameras/{camera}/remove")
def remove(request: Request, site: CurrentSite, actor: CameraWriter, camera: str) -> Response:
    """Take a camera out of the file."""
    cameras.remove_camera(site, actor, camera)
    return go_to(request, "/cameras", f"Removed {camera}")


def _person(number: int, found: dict[str, Any]) -> TestPicturePerson:
    x1, y1, x2, y2 = (round(value) for value in found["box"])
    reason = found["reason"]
    said = f"would not count: {reason.replace('_', ' ')}" if reason else "would count"
    return TestPicturePerson((x1, y1, x2, y2), reason, f"Person {number} {said}; {y2 - y1} pixels tall")


def _draft(kind: type[Draft], values: dict[str, Any]) -> Draft:
    """A form as what is kept.

    Raises:
        ConsoleError: a field is wrong; the message names it.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise ConsoleError(f"{field} {str(first['input'])[:LONGEST_TOLD]!r}: {first['msg']}") from None


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ConsoleError(f"{text[:LONGEST_TOLD]!r} is no JSON; load the page again") from None

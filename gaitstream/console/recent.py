"""A camera's last minutes: pictures that the run kept, with who is in them by the names of now."""

from __future__ import annotations

from pydantic import BaseModel, Field

from gaitstream.console.asking import see_camera
from gaitstream.console.permissions import Actor
from gaitstream.console.refusals import NotFoundError
from gaitstream.console.site import ConsoleSite
from gaitstream.evidence.records import RecentFrame, RecentPerson
from gaitstream.pipeline.source.clock import SECOND_NS

NEAR_NS = 20 * SECOND_NS
"""How far from a time a picture may be that is shown for it."""


class PersonInFrame(BaseModel):
    """Somebody in a picture."""

    track: int
    box: tuple[float, float, float, float] = Field(description="xyxy in pixels of the camera's picture.")
    status: str = Field(description="The latest word on the track then; empty before the first.")
    reason: str = Field(description="Why it names nobody.")
    person_id: str
    person: str = Field(description="Name as the gallery has it now; empty for nobody and for the forgotten.")


class KeptFrame(BaseModel):
    """One kept picture; its JPEG is asked for by the time."""

    time_ns: int = Field(description="UTC nanoseconds of capture.")
    width: int = Field(description="Of the camera's picture, pixels; the one that was kept may be smaller.")
    height: int
    people: list[PersonInFrame]


def list_recent(
    site: ConsoleSite, actor: Actor, camera: str, since_ns: int = 0, until_ns: int | None = None
) -> list[KeptFrame]:
    """A camera's kept pictures within a span of time, in order.

    Raises:
        NotFoundError: the actor may not see the camera.
    """
    see_camera(actor, camera)
    return [_shown(site, frame) for frame in site.album.recent(actor, camera, since_ns, until_ns)]


def newest(site: ConsoleSite, actor: Actor, camera: str) -> KeptFrame:
    """A camera's newest kept picture.

    Raises:
        NotFoundError: there is none, or the actor may not see the camera.
    """
    see_camera(actor, camera)
    frame = site.album.newest_recent(actor, camera)
    if frame is None:
        raise NotFoundError(f"no picture of {camera} is kept")
    return _shown(site, frame)


def frame_at(site: ConsoleSite, actor: Actor, camera: str, time_ns: int) -> KeptFrame:
    """The kept picture of a camera that is nearest to a time.

    Raises:
        NotFoundError: there is none near it, or the actor may not see the camera.
    """
    near = list_recent(site, actor, camera, time_ns - NEAR_NS, time_ns + NEAR_NS)
    if not near:
        raise NotFoundError(f"no picture of {camera} is kept of this time any more")
    return min(near, key=lambda frame: abs(frame.time_ns - time_ns))


def picture(site: ConsoleSite, actor: Actor, camera: str, time_ns: int) -> bytes:
    """The JPEG of a kept picture.

    Raises:
        NotFoundError: the actor may not see the camera.
        MissingEvidenceError: there is none of this time any more.
    """
    see_camera(actor, camera)
    return site.album.recent_picture(actor, camera, time_ns).data


def _shown(site: ConsoleSite, frame: RecentFrame) -> KeptFrame:
    people = [_person(site, one) for one in frame.people]
    return KeptFrame(time_ns=frame.time_ns, width=frame.width, height=frame.height, people=people)


def _person(site: ConsoleSite, one: RecentPerson) -> PersonInFrame:
    return PersonInFrame(
        track=one.track, box=one.box, status=one.status or "", reason=one.reason or one.rejected or "",
        person_id=one.person_id or "", person=site.desk.name(one.person_id) if one.person_id else "",
    )  # fmt: skip

"""Pictures of tracks: addresses for the pages, and the pictures themselves."""

from __future__ import annotations

import time
from dataclasses import dataclass

from fastapi import APIRouter
from starlette.responses import Response

from gaitstream.console.access import CurrentSite, EventReader
from gaitstream.console.album import CROP
from gaitstream.console.history import StoredEvent
from gaitstream.console.pages.drawing import S_NS
from gaitstream.console.pages.lines import track_address
from gaitstream.console.permissions import Actor
from gaitstream.console.rendering import words_of_name
from gaitstream.console.site import ConsoleSite

router = APIRouter()
NOBODY = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 30 44"><g fill="#8b96a3" opacity=".45">'
    b'<circle cx="15" cy="12" r="5"/><path d="M7 40c0-13 3-21 8-21s8 8 8 21z"/></g></svg>'
)
"""In place of a small picture where none was kept."""
GONE = "They were erased with somebody who was forgotten, or when their time was over, or were never kept."


@dataclass(frozen=True)
class PicturePair:
    """One picture with the same one as a model saw it, by their addresses."""

    crop: str
    seen: str
    label: str


@dataclass(frozen=True)
class ShownStrip:
    """Pictures of a track in the order of time.

    Attributes:
        shots: the pictures.
        view: what the second row shows, such as `heatmaps`; empty without one.
        waits: they are being kept just now.
        why: why there are none.
        missed: what could not be kept, by reason.
    """

    shots: list[PicturePair]
    view: str = ""
    waits: bool = False
    why: str = ""
    missed: list[tuple[str, int]] | None = None


@router.get("/pictures/{camera}/{run}/{track}/thumb")
def thumb(site: CurrentSite, actor: EventReader, camera: str, run: str, track: int) -> Response:
    """The middle picture of a track, or a drawing of nobody."""
    evidence = site.album.track(actor, camera, run, track)
    shots = [shot for shot in evidence.shots if CROP in shot.pictures] if evidence else []
    if not shots:
        return Response(NOBODY, media_type="image/svg+xml")
    return _picture(site, actor, camera, run, track, shots[len(shots) // 2].pictures[CROP])


@router.get("/pictures/{camera}/{run}/{track}/{number}")
def show(site: CurrentSite, actor: EventReader, camera: str, run: str, track: int, number: int) -> Response:
    """A picture of a track."""
    return _picture(site, actor, camera, run, track, number)


def show_strip(site: ConsoleSite, actor: Actor, event: StoredEvent) -> ShownStrip:
    """The pictures behind an event."""
    if not site.album.keeps:
        return ShownStrip(
            [], why="This site keeps none. Set evidence.keep in cams.yaml to keep them, sealed."
        )
    return strip_of(site, actor, event.camera, event.run, event.track, time_ns=event.time_ns)


def strip_of(
    site: ConsoleSite, actor: Actor, camera: str, run: str, track: int, *, time_ns: int
) -> ShownStrip:
    """The pictures of a track that was seen at a time."""
    evidence = site.album.track(actor, camera, run, track)
    if evidence is None:
        fresh = time.time_ns() - time_ns < 10 * S_NS
        return ShownStrip([], waits=fresh, why=GONE)
    address = track_address(camera, run, track)
    shots = [shot for shot in evidence.shots if CROP in shot.pictures]
    view = next((name for shot in shots for name in shot.pictures if name != CROP), "")
    first_ns = shots[0].time_ns if shots else 0
    shown = [
        PicturePair(
            crop=f"{address}/{shot.pictures[CROP]}",
            seen=f"{address}/{shot.pictures[view]}" if view in shot.pictures else "",
            label=f"{(shot.time_ns - first_ns) / S_NS:.1f} s",
        )
        for shot in shots
    ]
    return ShownStrip(shown, words_of_name(view), missed=sorted(evidence.missed.items()))


def _picture(site: ConsoleSite, actor: Actor, camera: str, run: str, track: int, number: int) -> Response:
    found = site.album.picture(actor, camera, run, track, number)
    return Response(found.data, media_type=found.media_type)

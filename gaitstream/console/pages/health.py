"""How the site is: cameras, stages, room, and what would help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from gaitstream.console.access import CurrentSite, HealthReader
from gaitstream.console.health import SILENT_S
from gaitstream.console.permissions import Actor, Rights
from gaitstream.console.rendering import render, render_part, words_of_name
from gaitstream.console.site import ConsoleSite
from gaitstream.console.wellbeing import ShownCameraHealth, ShownHealth, ShownRun, show_health

router = APIRouter()
GIB = 1 << 30
LAG_S = 1.0
"""The page asks again every five seconds."""
LITTLE_GIB = 2.0
"""Free room below which the page warns."""
_MADE_NAME = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Suggestion:
    """Something that would help, or is wrong."""

    tone: str
    text: str


@dataclass(frozen=True)
class HealthView:
    """What the page shows.

    Attributes:
        suggestions: most urgent first.
        tiles: numbers at the top and what they are.
        cameras: by name.
        stages: middle and 95% of each stage's batches, milliseconds.
        slowest_ms: largest of these.
        room: what is used up, in words.
    """

    suggestions: list[Suggestion]
    tiles: list[tuple[str, str]]
    cameras: list[ShownCameraHealth]
    stages: dict[str, tuple[float, float]]
    slowest_ms: float
    room: list[tuple[str, str]]


@router.get("/health")
def show(request: Request, site: CurrentSite, actor: HealthReader) -> Response:
    """The page."""
    return render(request, "health.html", now=_now(site, actor))


@router.get("/health/now")
def now(site: CurrentSite, actor: HealthReader) -> Response:
    """What changes on it."""
    return HTMLResponse(_now(site, actor))


def _now(site: ConsoleSite, actor: Actor) -> Markup:
    def make(rights: Rights) -> Markup:
        return render_part("health_now.html", _view(show_health(site, rights)))

    return site.shared.of(actor, "health", make, LAG_S)


def _view(health: ShownHealth) -> HealthView:
    return HealthView(
        suggestions=list(_suggestions(health)),
        tiles=_tiles(health),
        cameras=health.cameras,
        stages=health.stages,
        slowest_ms=max((p95_ms for _, p95_ms in health.stages.values()), default=1.0),
        room=list(_room(health)),
    )


def _suggestions(health: ShownHealth) -> Iterator[Suggestion]:
    for text in (health.problem, health.gallery):
        if text:
            yield Suggestion("bad", text)
    for run in health.runs:
        yield from _about_run(run)
    for camera in health.cameras:
        if camera.state == "offline":
            yield Suggestion("bad", f"{camera.camera} is offline: {_why(camera)}")
        if camera.state == "silent":
            yield Suggestion("bad", f"{camera.camera} is silent: {_why(camera)}")
        for text in camera.suggestions:
            yield Suggestion("warn", f"{camera.camera}: {text}")
    free_gib = health.disk_free_bytes / GIB
    if free_gib < LITTLE_GIB:
        yield Suggestion("warn", f"only {free_gib:.1f} GiB are free where the console's files are")


def _why(camera: ShownCameraHealth) -> str:
    return words_of_name(camera.detail) or "nobody has said why"


def _called(run: ShownRun) -> str:
    """The name that a site gave, or the beginning of one that was made."""
    return run.publisher[:8] if _MADE_NAME.fullmatch(run.publisher) else run.publisher


def _about_run(run: ShownRun) -> Iterator[Suggestion]:
    if not run.stopped and run.silent_s > SILENT_S:
        yield Suggestion("bad", f"run {_called(run)} has said nothing for {run.silent_s:.0f} s; is it alive?")
    if run.unwritten:
        yield Suggestion(
            "bad",
            f"{run.unwritten} events did not get into the journal of run {_called(run)}; is there room?",
        )


def _tiles(health: ShownHealth) -> list[tuple[str, str]]:
    online = sum(camera.state == "online" for camera in health.cameras)
    times_ms = [camera.decide_p95_ms for camera in health.cameras if camera.decide_p95_ms is not None]
    return [
        (f"{online} of {len(health.cameras)}", "cameras online"),
        (f"{sum(camera.fps for camera in health.cameras):.0f}", "frames analysed a second"),
        (f"{max(times_ms):.0f} ms" if times_ms else "-", "from capture to decision, 95%, slowest camera"),
        (f"{health.lost:,}", "events lost"),
    ]


def _room(health: ShownHealth) -> Iterator[tuple[str, str]]:
    yield "Free on the disk", f"{health.disk_free_bytes / GIB:.1f} GiB"
    yield "Events heard", f"{health.events:,} since the console was started"
    yield "Browsers that watch", f"{health.streams}"
    for run in health.runs:
        yield f"Run {_called(run)}", _run(run)


def _run(run: ShownRun) -> str:
    if run.stopped:
        return f"stopped: {run.stopped.replace('_', ' ')}"
    hours, minutes = divmod(int(run.uptime_s) // 60, 60)
    memory = f", {run.rss_bytes / GIB:.1f} GiB of memory" if run.rss_bytes else ""
    return f"up {hours} h {minutes} min{memory}, version {run.version or 'not heard'}"

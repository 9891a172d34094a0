"""The site's health as it is shown: runs, cameras, the console itself, its disk."""

from __future__ import annotations

import shutil

from pydantic import BaseModel, Field

from gaitstream.console.health import CameraHealth, RunHealth, quantile
from gaitstream.console.permissions import Rights
from gaitstream.console.site import ConsoleSite

SILENT = "its run says nothing of it any more"


class ShownCameraHealth(BaseModel):
    """One camera."""

    camera: str
    state: str = Field(
        description=(
            "`online`, `offline`, `connecting`, `ended`, or `silent` where the run says nothing of it any "
            "more; empty: nothing was heard."
        )
    )
    since_ns: int
    detail: str = Field(description="Why it is offline or silent.")
    outages: int = Field(description="Since the console was started.")
    fps: float
    people: int
    frames: int
    dropped: dict[str, int] = Field(description="Frames not analysed, by reason.")
    latency_ms: dict[str, float] = Field(description="Of the newest decision, by stage.")
    decide_p95_ms: float | None = Field(description="From capture to decision, 95% of the newest.")
    reasons: dict[str, float] = Field(description="Share of the newest answers without a name, by reason.")
    suggestions: list[str]


class ShownRun(BaseModel):
    """One publisher's run."""

    publisher: str
    version: str
    stopped: str = Field(description="Why it ended; empty while it runs.")
    silent_s: float = Field(description="Since its last event.")
    uptime_s: float
    rss_bytes: int
    unwritten: int = Field(description="Events its journal did not take.")


class ShownHealth(BaseModel):
    """The site."""

    runs: list[ShownRun]
    cameras: list[ShownCameraHealth]
    stages: dict[str, tuple[float, float]] = Field(
        description="Milliseconds that half, and that 95%, of the newest batches of each stage took at most."
    )
    events: int = Field(description="Heard since the console was started.")
    lost: int = Field(description="Events that no journal had any more.")
    problem: str = Field(description="What keeps the console from keeping events; empty when nothing does.")
    streams: int = Field(description="Browsers that watch now.")
    disk_free_bytes: int = Field(description="Where the console's files are.")
    gallery: str = Field(description="What is wrong with the gallery; empty when nothing is.")


def show_health(site: ConsoleSite, rights: Rights) -> ShownHealth:
    """How the site is, of the cameras that an actor may see."""
    board = site.health
    return ShownHealth(
        runs=[_run(name, run, board.silent_s(run)) for name, run in sorted(board.runs.items())],
        cameras=[
            _camera(name, one, board.state_of(name))
            for name, one in sorted(board.cameras.items())
            if rights.sees(name)
        ],
        stages=board.stage_times(),
        events=board.events,
        lost=board.lost,
        problem=board.problem,
        streams=site.hub.watched,
        disk_free_bytes=shutil.disk_usage(site.options.state).free,
        gallery=site.desk.problem(),
    )


def _run(name: str, run: RunHealth, silent_s: float) -> ShownRun:
    stats = run.stats
    return ShownRun(
        publisher=name, version=run.version, stopped=run.stopped, silent_s=silent_s,
        uptime_s=stats.uptime_s if stats else 0.0, rss_bytes=stats.rss_bytes if stats else 0,
        unwritten=stats.unwritten if stats else 0,
    )  # fmt: skip


def _camera(name: str, camera: CameraHealth, state: str) -> ShownCameraHealth:
    stats = camera.stats
    now = stats if state == "online" else None  # what was true when it was heard last is not now
    return ShownCameraHealth(
        camera=name, state=state, since_ns=camera.since_ns,
        detail=SILENT if state == "silent" else camera.detail, outages=camera.outages,
        fps=now.fps if now else 0.0, people=now.people if now else 0, frames=stats.frames if stats else 0,
        dropped=stats.dropped if stats else {}, latency_ms=camera.latency_ms,
        decide_p95_ms=quantile(camera.decide_ms, 0.95), reasons=camera.reasons(),
        suggestions=camera.suggestions(),
    )  # fmt: skip

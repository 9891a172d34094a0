"""How the site is: cameras, stages, room, and what would help."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import Response

from gaitstream.console.access import CurrentSite, HealthReader
from gaitstream.console.rendering import render
from gaitstream.console.wellbeing import ShownHealth, show_health

router = APIRouter()
GIB = 1 << 30
LITTLE_GIB = 2.0
"""Free room below which the page warns."""
SILENT_S = 90.0
"""A run that says nothing for so long is in trouble; statistics come more often."""


@dataclass(frozen=True)
class Suggestion:
    """Something that would help, or is wrong."""

    tone: str
    text: str


@dataclass(frozen=True)
class Tile:
    """One number at the top."""

    value: str
    label: str


@dataclass(frozen=True)
class HealthView:
    """What the page shows."""

    suggestions: list[Suggestion]
    tiles: list[Tile]
    health: ShownHealth
    free: str


@router.get("/health")
def show(request: Request, site: CurrentSite, actor: HealthReader) -> Response:
    """The page."""
    return render(request, "health.html", _view(show_health(site, actor)))


@router.get("/health/now")
def now(request: Request, site: CurrentSite, actor: HealthReader) -> Response:
    """What changes on it."""
    return render(request, "health_now.html", _view(show_health(site, actor)))


def _view(health: ShownHealth) -> HealthView:
    return HealthView(
        list(_suggestions(health)), _tiles(health), health, f"{health.disk_free_bytes / GIB:.1f} GiB"
    )

"""How the site is."""

from __future__ import annotations

from fastapi import APIRouter

from gaitstream.console.access import CurrentSite, HealthReader
from gaitstream.console.wellbeing import ShownHealth, show_health

router = APIRouter(tags=["health"])


@router.get("/health")
def show(site: CurrentSite, actor: HealthReader) -> ShownHealth:
    """Runs, cameras that may be seen, the console itself, the disk."""
    return show_health(site, actor)

"""The REST interface, version 1: one module for each kind of thing, all under `/api/v1`."""

from __future__ import annotations

from fastapi import FastAPI

from gaitstream.console.api import accounts, audit, cameras, clips, confirmations, events, health, people

PREFIX = "/api/v1"
UPLOADS = frozenset(f"{PREFIX}/clips/{what}" for what in ("identify", "enrol", "search"))
"""Paths that take clips."""
ROUTERS = (
    events.router,
    confirmations.router,
    cameras.router,
    people.router,
    clips.router,
    health.router,
    audit.router,
    accounts.router,
)


def add_api(app: FastAPI) -> None:
    """Add all of it to an application."""
    for router in ROUTERS:
        app.include_router(router, prefix=PREFIX)

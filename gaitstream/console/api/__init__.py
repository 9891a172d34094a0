"""The REST interface, version 1: one module for each kind of thing, all under `/api/v1`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from gaitstream.console.access import CurrentActor
from gaitstream.console.api import (
    accounts,
    audit,
    calibration,
    cameras,
    clips,
    confirmations,
    events,
    health,
    people,
    visitors,
)  # fmt: skip

PREFIX = "/api/v1"
UPLOADS = frozenset(f"{PREFIX}/clips/{what}" for what in ("identify", "enrol", "search"))
"""Paths that take clips."""
ROUTERS = (
    events.router,
    confirmations.router,
    cameras.router,
    people.router,
    clips.router,
    visitors.router,
    calibration.router,
    health.router,
    audit.router,
    accounts.router,
)


class Fault(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="In words.")


FAULTS: dict[int | str, dict[str, Any]] = {
    400: {"model": Fault, "description": "The request cannot be read."},
    401: {"model": Fault, "description": "Nobody is logged in, or the token is not known."},
    403: {"model": Fault, "description": "The actor may not do this."},
    404: {"model": Fault, "description": "There is no such thing, or the actor may not know of it."},
    408: {"model": Fault, "description": "The request came too slowly."},
    409: {"model": Fault, "description": "It does not go with what is there."},
    413: {"model": Fault, "description": "The request is too large."},
    422: {"model": Fault, "description": "A value is not allowed."},
    429: {"model": Fault, "description": "Too much of this goes on already."},
}


def show_document(request: Request, _: CurrentActor) -> JSONResponse:
    """The OpenAPI document; it is long, and nobody without an account needs it."""
    return JSONResponse(request.app.openapi())


def add_api(app: FastAPI) -> None:
    """Add all of it to an application."""
    app.get(f"{PREFIX}/openapi.json", include_in_schema=False)(show_document)
    for router in ROUTERS:
        app.include_router(router, prefix=PREFIX, responses=FAULTS)

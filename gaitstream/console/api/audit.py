"""The audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from gaitstream.console import auditing
from gaitstream.console.access import AuditReader, CurrentSite
from gaitstream.console.auditing import ShownLog, Verified

router = APIRouter(prefix="/audit", tags=["audit"])


@router.get("")
def list_lines(
    site: CurrentSite,
    actor: AuditReader,
    before: Annotated[int, Query(ge=0, lt=1 << 63)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> ShownLog:
    """Who did what, newest first."""
    return auditing.list_lines(site, actor, before, limit)


@router.get("/verification")
def verify(site: CurrentSite, actor: AuditReader) -> Verified:
    """Check that no line was changed or is missing."""
    return auditing.verify(site, actor)


@router.get("/export", response_class=Response)
def export(site: CurrentSite, actor: AuditReader) -> Response:
    """The whole log, one JSON object a line."""
    return Response(
        auditing.export_lines(site, actor),
        media_type="application/x-ndjson",
        headers={"Content-Disposition": 'attachment; filename="audit.jsonl"'},
    )

"""The audit log: every line, whether the chain holds, and an export."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gaitstream.console.access import AuditReader, CurrentSite
from gaitstream.console.auditing import ShownLog, Verified, export_lines, list_lines, verify
from gaitstream.console.rendering import render

router = APIRouter()
SHOWN = 100
"""Lines of a page."""


@dataclass(frozen=True)
class AuditView:
    """What the page shows.

    Attributes:
        log: lines, newest first.
        verified: whether the chain holds.
        verified_ns: when that was looked at, UTC nanoseconds.
    """

    log: ShownLog
    verified: Verified
    verified_ns: int


@router.get("/audit")
def show(
    request: Request, site: CurrentSite, actor: AuditReader, before: Annotated[int, Query(ge=0)] = 0
) -> Response:
    """The page; the whole chain is verified for it."""
    view = AuditView(list_lines(site, actor, before, SHOWN), verify(site, actor), time.time_ns())
    return render(request, "audit.html", view)


@router.get("/audit/export")
def export(site: CurrentSite, actor: AuditReader) -> Response:
    """The whole log, oldest line first, as JSON lines; that it was taken is in it from then on."""
    headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
    return Response(export_lines(site, actor), media_type="application/jsonl", headers=headers)

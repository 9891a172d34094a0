"""The audit log: every line, whether the chain holds, and an export."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from gaitstream.console.access import AuditReader, CurrentSite
from gaitstream.console.permissions import Actor
from gaitstream.console.rendering import render
from gaitstream.console.site import Site
from gaitstream.gallery import Gallery, audit
from gaitstream.gallery.audit import AuditLine

router = APIRouter()
SHOWN = 100
"""Lines of a page."""
MOST_EXPORTED = 1_000_000


@dataclass(frozen=True)
class AuditFilters:
    """Which lines are wanted; empty is not asked for."""

    actor: Annotated[str, Query(max_length=200)] = ""
    action: Annotated[str, Query(max_length=64)] = ""
    person: Annotated[str, Query(max_length=64)] = ""

    @property
    def query(self) -> str:
        """As part of an address."""
        return urlencode({name: value for name, value in vars(self).items() if value})

    def wants(self, line: AuditLine) -> bool:
        """Whether a line is wanted."""
        return (
            self.actor.casefold() in line.actor.casefold()
            and self.action in ("", line.action)
            and self.person in ("", line.person)
        )


@dataclass(frozen=True)
class Log:
    """What was read.

    Attributes:
        lines: wanted ones with their numbers, newest first.
        count: of all lines.
        actions: that there are.
        problems: what is wrong with the chain, a line each.
    """

    lines: list[tuple[int, AuditLine]]
    count: int
    actions: list[str]
    problems: list[str]


@dataclass(frozen=True)
class AuditView:
    """What the page shows.

    Attributes:
        log: what was read.
        filters: as asked for.
        older: number below which the next page begins; None at the end.
        verified_ns: when the chain was looked at, UTC nanoseconds.
    """

    log: Log
    filters: AuditFilters
    older: int | None
    verified_ns: int


AskedLines = Annotated[AuditFilters, Depends()]


@router.get("/audit")
def show(
    request: Request,
    site: CurrentSite,
    actor: AuditReader,
    filters: AskedLines,
    before: Annotated[int | None, Query(ge=1)] = None,
) -> Response:
    """The page."""
    log = read_log(site, actor, filters, SHOWN, before)
    older = log.lines[-1][0] if len(log.lines) == SHOWN else None
    return render(request, "audit.html", AuditView(log, filters, older, time.time_ns()))


@router.get("/audit/export")
def export(site: CurrentSite, actor: AuditReader, filters: AskedLines) -> Response:
    """All lines that are wanted, oldest first, as JSON lines; this too is in the log."""

    def note(gallery: Gallery) -> None:
        with gallery.writing() as writing:
            audit.note(writing, gallery.sealer, "exported", detail="audit log")

    site.desk.call(actor.audit_name, note)
    log = read_log(site, actor, filters, MOST_EXPORTED)
    lines = (
        msgspec.json.encode({"number": number, **msgspec.to_builtins(line)}) + b"\n"
        for number, line in reversed(log.lines)
    )
    headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
    return Response(b"".join(lines), media_type="application/jsonl", headers=headers)


def read_log(site: Site, actor: Actor, filters: AuditFilters, most: int, before: int | None = None) -> Log:
    """Read and verify the log.

    Args:
        site: whose gallery.
        actor: who asks.
        filters: which lines are wanted.
        most: the newest so many of them.
        before: only lines of lower numbers.
    """

    def work(gallery: Gallery) -> Log:
        kept: deque[tuple[int, AuditLine]] = deque(maxlen=most)
        actions: set[str] = set()
        count = 0
        with gallery.store.reading() as reading:
            for number, line in audit.read_audit(reading, gallery.sealer):
                count += 1
                actions.add(line.action)
                if filters.wants(line) and (before is None or number < before):
                    kept.append((number, line))
            problems = audit.verify_audit(reading, gallery.sealer)
        return Log(list(reversed(kept)), count, sorted(actions), problems)

    return site.desk.call(actor.audit_name, work)

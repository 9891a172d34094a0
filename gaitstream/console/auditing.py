"""The audit log as the console shows it: newest lines first, verified, exported."""

from __future__ import annotations

from itertools import takewhile

from pydantic import BaseModel, Field

from gaitstream.console.permissions import Actor
from gaitstream.console.site import ConsoleSite
from gaitstream.gallery import Gallery
from gaitstream.gallery.audit import AuditLine, count_audit, read_audit, verify_audit


class ShownLine(BaseModel):
    """One line."""

    number: int
    time_ns: int
    actor: str
    action: str
    person_id: str
    person: str = Field(description="Name as the gallery has it now; empty for the forgotten.")
    visitor: bool = Field(description="Whether that is a visitor.")
    model: str
    count: int
    detail: str


class ShownLog(BaseModel):
    """Lines of the log, newest first."""

    lines: list[ShownLine]
    next: int = Field(description="Give it as `before` for older lines; 0 at the end.")
    total: int = Field(description="Number of the newest line.")


class Verified(BaseModel):
    """Whether the log is what it was written as."""

    faults: list[str] = Field(description="What is wrong, a line each; empty for a log that is whole.")
    lines: int


def list_lines(site: ConsoleSite, actor: Actor, before: int, limit: int) -> ShownLog:
    """Lines older than a number, 0 for the newest, newest first."""

    def work(gallery: Gallery) -> tuple[int, list[tuple[int, AuditLine]]]:
        with gallery.store.reading() as reading:
            total = count_audit(reading, gallery.sealer)
            end = min(before or total + 1, total + 1)
            lines = read_audit(reading, gallery.sealer, max(0, end - 1 - limit))
            return total, list(takewhile(lambda one: one[0] < end, lines))

    total, lines = site.desk.call(actor.audit_name, work)
    shown = [_shown(site, number, line) for number, line in reversed(lines)]
    oldest = shown[-1].number if shown else 1
    return ShownLog(lines=shown, next=oldest if oldest > 1 else 0, total=total)


def verify(site: ConsoleSite, actor: Actor) -> Verified:
    """Check the chain from its first line to its last."""

    def work(gallery: Gallery) -> Verified:
        with gallery.store.reading() as reading:
            return Verified(
                faults=verify_audit(reading, gallery.sealer), lines=count_audit(reading, gallery.sealer)
            )

    return site.desk.call(actor.audit_name, work)


def export_lines(site: ConsoleSite, actor: Actor) -> str:
    """The whole log as JSON lines; that it was taken is in it from then on."""
    shown = list_lines(site, actor, 0, 1 << 62).lines
    site.desk.note(actor.audit_name, "exported", count=len(shown), detail="the audit log")
    return "".join(f"{line.model_dump_json()}\n" for line in reversed(shown))


def _shown(site: ConsoleSite, number: int, line: AuditLine) -> ShownLine:
    record = site.desk.people().get(line.person)
    return ShownLine(
        number=number, time_ns=line.time_ns, actor=line.actor, action=line.action, person_id=line.person,
        person=record.name if record else "", visitor=record is not None and record.visitor,
        model=line.model, count=line.count, detail=line.detail,
    )  # fmt: skip

"""The people who are known, as the console shows and changes them; every look and change is in the audit log.

People are named by their ids: names change, and would stand in addresses and logs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, Field

from gaitstream.console.erasing import kept_evidence, tracks_of
from gaitstream.console.permissions import Actor
from gaitstream.console.refusals import NotFoundError
from gaitstream.console.site import ConsoleSite
from gaitstream.console.template_lines import ShownPicture, ShownTemplate, show_templates
from gaitstream.gallery import Gallery, PersonEntry, audit, editing
from gaitstream.gallery.base import Reading
from gaitstream.gallery.records import PersonRecord
from gaitstream.gallery.retention import DAY_NS
from gaitstream.pipeline.forget import ForgetReport, Places
from gaitstream.pipeline.forget import forget as forget_everywhere

T = TypeVar("T")
LONGEST_NAME = 200
"""Characters of a name or of what is noted of a person's consent."""


class ShownPerson(BaseModel):
    """Somebody who is known."""

    person_id: str
    name: str
    created_ns: int = Field(description="UTC nanoseconds of the first enrolment.")
    expires_ns: int | None = Field(description="When the person is erased; null for never.")
    templates: dict[str, int] = Field(description="How many, by model.")


class PersonDetails(ShownPerson):
    """Everything that is known of a person."""

    consent: str = Field(description="On what ground the person is enrolled.")
    each_template: list[ShownTemplate]
    pictures: list[ShownPicture]


class ShownReport(BaseModel):
    """What was erased of a person, and what is left."""

    person_id: str
    time_ns: int
    templates: int
    pictures: int
    tracklets: int = Field(description="Folders of saved tracks that were deleted.")
    events: int = Field(description="Events of journals that lost the name.")
    evidence: int = Field(description="Tracks whose pictures and windows were erased.")
    history: int = Field(description="Events of the console's history that forgot who it was.")
    places: list[str] = Field(description="What was searched afterwards.")
    remains: list[str] = Field(description="What could not be reached or is still found; empty: all is gone.")


def list_people(site: ConsoleSite, actor: Actor) -> list[ShownPerson]:
    """Everybody who was enrolled by name, by name; visitors are elsewhere."""
    entries = site.desk.call(actor.audit_name, lambda gallery: gallery.persons())
    return [_shown(entry) for entry in entries]


def show_person(site: ConsoleSite, actor: Actor, person_id: str) -> PersonDetails:
    """What is known of a person; the look is in the audit log.

    Raises:
        NotFoundError: there is none of this id.
    """

    def work(gallery: Gallery) -> PersonDetails:
        with gallery.writing() as writing:
            name = _record(gallery, writing, person_id).name
            audit.note(writing, gallery.sealer, "viewed", person=person_id)
        with gallery.store.reading() as reading:
            return _details(gallery, reading, name, actor)

    return site.desk.call(actor.audit_name, work)


def picture(site: ConsoleSite, actor: Actor, person_id: str, number: int) -> bytes:
    """The JPEG of a picture of a person.

    Raises:
        NotFoundError: the person has none of this number.
    """

    def work(gallery: Gallery) -> bytes:
        with gallery.store.reading() as reading:
            _record(gallery, reading, person_id)
            for row in reading.pictures(person_id):
                if row.number == number:
                    return gallery.vault.picture(row)
        raise NotFoundError(f"person {person_id} has no picture {number}")

    return site.desk.call(actor.audit_name, work)


def rename(site: ConsoleSite, actor: Actor, person_id: str, name: str) -> None:
    """Give a person another name."""
    _change(site, actor, person_id, lambda gallery, old: editing.rename(gallery, old, name))


def merge(site: ConsoleSite, actor: Actor, person_id: str, other_id: str) -> int:
    """Give a person all that is kept of another, who is gone then; how many templates moved."""

    def work(gallery: Gallery) -> int:
        with gallery.store.reading() as reading:
            names = [_record(gallery, reading, uid).name for uid in (person_id, other_id)]
        return editing.merge(gallery, *names)

    moved = site.desk.call(actor.audit_name, work)
    site.history.merge(other_id, person_id)
    return moved


def split(site: ConsoleSite, actor: Actor, person_id: str, templates: list[int], name: str) -> int:
    """Make another person of some of a person's templates; how many moved."""
    return _change(site, actor, person_id, lambda gallery, old: editing.split(gallery, old, templates, name))


def keep(site: ConsoleSite, actor: Actor, person_id: str, days: float | None) -> int | None:
    """Say for how many days from now a person is kept, None for ever; when the person is erased."""
    expires_ns = None if days is None else time.time_ns() + int(days * DAY_NS)
    keep_until(site, actor, person_id, expires_ns)
    return expires_ns


def keep_until(site: ConsoleSite, actor: Actor, person_id: str, expires_ns: int | None) -> None:
    """Say when a person is to be erased; None for never."""
    _change(site, actor, person_id, lambda gallery, name: editing.keep_until(gallery, name, expires_ns))


def note_consent(site: ConsoleSite, actor: Actor, person_id: str, consent: str) -> None:
    """Write down on what ground a person is enrolled."""
    _change(site, actor, person_id, lambda gallery, name: editing.note_consent(gallery, name, consent))


def forget(site: ConsoleSite, actor: Actor, person_id: str) -> ShownReport:
    """Erase a person everywhere, from the gallery to results of jobs; what was done, and what remains.

    A run that writes a journal takes the name out of it by itself, when it learns of the change.
    """
    places = Places(journals=site.options.journals, evidence=kept_evidence(site))
    ids = [person_id, *(gone for gone, kept in site.desk.merged().items() if kept == person_id)]
    tracks = {track for uid in ids for track in tracks_of(site, uid)}

    def work(gallery: Gallery, name: str) -> ForgetReport:
        return forget_everywhere(gallery, name, places, tracks)

    report = _change(site, actor, person_id, work)
    site.jobs.forget_results()
    return _report(report, sum(map(site.history.forget, {*ids, *report.merged})))


def _change(site: ConsoleSite, actor: Actor, person_id: str, work: Callable[[Gallery, str], T]) -> T:
    """Do something with a person who is named by the id."""

    def named(gallery: Gallery) -> T:
        with gallery.store.reading() as reading:
            name = _record(gallery, reading, person_id).name
        return work(gallery, name)

    return site.desk.call(actor.audit_name, named)


def _record(gallery: Gallery, reading: Reading, person_id: str) -> PersonRecord:
    """The record of somebody who was enrolled by name.

    Raises:
        NotFoundError: there is none of this id; a visitor is none: not everybody may know of each.
    """
    row = reading.person(person_id)
    record = gallery.vault.record(row) if row is not None else None
    if record is None or record.visitor:
        raise NotFoundError(f"there is nobody of the id {person_id[:64]!r}")
    return record


def _shown(entry: PersonEntry) -> ShownPerson:
    return ShownPerson(
        person_id=entry.uid, name=entry.name, created_ns=entry.created_ns, expires_ns=entry.expires_ns,
        templates=entry.templates,
    )  # fmt: skip


def _details(gallery: Gallery, reading: Reading, name: str, actor: Actor) -> PersonDetails:
    uid, record, templates = editing.show(gallery, reading, name)
    counts = {model: count for (person, model), count in reading.counts().items() if person == uid}
    pictures = [ShownPicture(number=row.number, created_ns=row.created_ns) for row in reading.pictures(uid)]
    calibrations = {model.name: gallery.vault.calibration(model) for model in reading.models()}
    thresholds = {model: one.threshold for model, one in calibrations.items() if one is not None}
    return PersonDetails(
        person_id=uid, name=record.name, created_ns=record.created_ns, expires_ns=record.expires_ns,
        templates=counts, consent=record.consent, pictures=pictures,
        each_template=show_templates(templates, pictures, thresholds, actor),
    )  # fmt: skip


def _report(report: ForgetReport, history: int) -> ShownReport:
    return ShownReport(
        person_id=report.person, time_ns=report.time_ns, templates=report.templates, pictures=report.pictures,
        tracklets=report.tracklets, evidence=report.evidence, events=report.events, history=history,
        places=report.places,
        remains=report.remains,
    )  # fmt: skip

"""Changes to people who are there: another name, two made one, one made two, terms of keeping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from gaitstream.errors import GalleryError
from gaitstream.gallery import audit
from gaitstream.gallery.base import PictureRow, Reading, Writing
from gaitstream.gallery.checksum import Damage
from gaitstream.gallery.gallery import Gallery, check_free
from gaitstream.gallery.merged import note_merged
from gaitstream.gallery.names import clean_name, fold_name
from gaitstream.gallery.records import PersonRecord, as_one, new_uid, with_merged
from gaitstream.gallery.vault import Template


def rename(gallery: Gallery, name: str, new: str) -> None:
    """Give a person another name; uid, templates and history stay, and the record keeps the old name.

    Raises:
        GalleryError: nobody has the name, or somebody else has the new one.
    """
    with gallery.writing() as writing:
        uid, record = gallery.person(writing, name)
        if record.visitor:
            check_free(record.name, record)
        check_free(new, None)
        other = gallery.vault.find(writing, new)
        if other is not None and other[0] != uid:
            raise GalleryError(f"{new!r} is {other[1].name!r}, who is there already; merge them instead")
        known = with_merged(record, (uid, record)) if clean_name(new) != record.name else record
        changed = msgspec.structs.replace(known, name=clean_name(new))
        writing.put_person(gallery.vault.person_row(uid, changed))
        writing.note_change(uid)
        audit.note(writing, gallery.sealer, "renamed", person=uid)
    gallery.store.purge()


def keep_until(gallery: Gallery, name: str, expires_ns: int | None) -> None:
    """Say when a person is to be erased; None for never.

    Raises:
        GalleryError: nobody has the name.
    """
    with gallery.writing() as writing:
        uid, record = gallery.person(writing, name)
        changed = msgspec.structs.replace(record, expires_ns=expires_ns)
        writing.put_person(gallery.vault.person_row(uid, changed))
        audit.note(writing, gallery.sealer, "retention", person=uid, detail=str(expires_ns or "never"))


def note_consent(gallery: Gallery, name: str, consent: str) -> None:
    """Write down on what ground a person is enrolled.

    Raises:
        GalleryError: nobody has the name.
    """
    with gallery.writing() as writing:
        uid, record = gallery.person(writing, name)
        changed = msgspec.structs.replace(record, consent=consent)
        writing.put_person(gallery.vault.person_row(uid, changed))
        audit.note(writing, gallery.sealer, "consent", person=uid)


def merge(gallery: Gallery, keep: str, other: str) -> int:
    """Give all templates and pictures of one person to another, whose record keeps the first's uid and name.

    The first enrolment, or a visitor's first visit, is the earlier one's: retention counts from it. The
    earlier time of erasure holds for both.

    Returns:
        How many templates moved.

    Raises:
        GalleryError: nobody has one of the names, both are one person, or a template is damaged.
    """
    with gallery.writing() as writing:
        kept, kept_record = gallery.person(writing, keep)
        gone, gone_record = gallery.person(writing, other)
        if kept == gone:
            raise GalleryError(f"{keep!r} and {other!r} are one person already")
        _check_alike(kept_record, gone_record)
        if gone in kept_record.apart:
            raise GalleryError(f"somebody said that {keep!r} is not {other!r}; look again")
        numbers = [row.number for row in writing.templates(person=gone)]
        _move(gallery, writing, numbers, kept)
        _move_pictures(gallery, writing, list(writing.pictures(gone)), kept)
        for sighting in list(writing.sightings(gone)):
            moved = gallery.vault.sighting_row(kept, gallery.vault.sighting(sighting), sighting.number)
            writing.put_sighting(moved)
        writing.drop_person(gone)
        note_merged(writing, gone, kept)
        writing.put_person(gallery.vault.person_row(kept, as_one(kept_record, gone, gone_record)))
        _follow(gallery, writing, {kept, gone})
        audit.note(writing, gallery.sealer, "merged", person=kept, count=len(numbers), detail=f"from {gone}")
    gallery.store.purge()
    return len(numbers)


def split(gallery: Gallery, name: str, numbers: Sequence[int], new: str) -> int:
    """Make another person of some of a person's templates.

    Pictures of an enrolment go along when all of its templates go; somebody new is kept as long as the
    person. Where the other's name was merged into the person before, the other has the uids of then again.

    Args:
        gallery: where.
        name: of the person.
        numbers: of the templates, as `show` lists them.
        new: the other's name; may be somebody who is there.

    Returns:
        How many templates moved.

    Raises:
        GalleryError: nobody has the name, a template is not theirs or damaged, nothing would stay, or the
            other's name is a visitor's.
    """
    with gallery.writing() as writing:
        uid, record = gallery.person(writing, name)
        rows = {row.number: row.created_ns for row in writing.templates(person=uid)}
        own = set(rows)
        foreign = sorted(set(numbers) - own)
        if foreign or not numbers:
            has = ", ".join(map(str, sorted(own)[:20]))
            raise GalleryError(f"templates {foreign} are not of {record.name!r}; theirs are {has}")
        if set(numbers) == own:
            raise GalleryError(f"these are all templates of {record.name!r}; rename them instead")
        found = gallery.vault.find(writing, new)
        check_free(new, found[1] if found else None)
        other, theirs = found or (
            new_uid(),
            PersonRecord(clean_name(new), record.created_ns, record.expires_ns),
        )
        if other == uid:
            raise GalleryError(f"{new!r} is {record.name!r} already")
        back = [
            one for one in record.merged if one[0] != uid and one[1] and fold_name(one[1]) == fold_name(new)
        ]
        _give_back(gallery, writing, (uid, record), (other, theirs), back)
        for gone, _ in back:
            note_merged(writing, gone, other)
        _move(gallery, writing, sorted(set(numbers)), other)
        going = {rows[number] for number in numbers} - {rows[number] for number in own - set(numbers)}
        pictures = [row for row in writing.pictures(uid) if row.created_ns in going]
        _move_pictures(gallery, writing, pictures, other)
        _follow(gallery, writing, {uid, other})
        audit.note(writing, gallery.sealer, "split", person=uid, count=len(numbers), detail=f"to {other}")
    return len(set(numbers))


def show(gallery: Gallery, reading: Reading, name: str) -> tuple[str, PersonRecord, list[Template | Damage]]:
    """Uid, record and templates of a person.

    Raises:
        GalleryError: nobody has the name.
    """
    uid, record = gallery.person(reading, name)
    templates = [
        template for model in reading.models() for template in gallery.vault.templates(reading, model, uid)
    ]
    return uid, record, templates


def _give_back(
    gallery: Gallery,
    writing: Writing,
    source: tuple[str, PersonRecord],
    target: tuple[str, PersonRecord],
    merged: Sequence[tuple[str, str]],
) -> None:
    """Write two records, with some uids and names of the one's in the other's."""
    (uid, record), (other, theirs) = source, target
    kept = tuple(one for one in record.merged if one not in merged)
    got = tuple(dict.fromkeys((*theirs.merged, *merged)))
    writing.put_person(gallery.vault.person_row(uid, msgspec.structs.replace(record, merged=kept)))
    writing.put_person(gallery.vault.person_row(other, msgspec.structs.replace(theirs, merged=got)))


def _move_pictures(gallery: Gallery, writing: Writing, rows: Sequence[PictureRow], to: str) -> None:
    """Give pictures to somebody else: they are sealed for whose they are."""
    for row in rows:
        moved = replace(row, person=to, data=gallery.vault.picture(row))
        writing.put_picture(gallery.vault.picture_row(moved))


def _check_alike(kept: PersonRecord, gone: PersonRecord) -> None:
    """See that two are both people, or both visitors."""
    if kept.visitor != gone.visitor:
        visitor, person = (kept, gone) if kept.visitor else (gone, kept)
        raise GalleryError(
            f"{visitor.name} is a visitor: 'gaitstream gallery promote {visitor.name} --person "
            f"{person.name!r}' makes them one"
        )


def _move(gallery: Gallery, writing: Writing, numbers: Sequence[int], target: str) -> None:
    """Seal templates anew for another person."""
    models = {row.name: row for row in writing.models()}
    for row in list(writing.select(numbers)):
        opened = gallery.vault.template(row, models[row.model])
        if isinstance(opened, Damage):
            gallery.tuner.complain(writing, opened, gallery.url)
        writing.put_template(gallery.vault.template_row(replace(opened, person=target)))
    gallery.tuner.forget()


def _follow(gallery: Gallery, writing: Writing, uids: set[str]) -> None:
    for model in writing.models():
        gallery.tuner.follow(writing, model.name, uids, gallery.url)
    for uid in uids:
        writing.note_change(uid)

"""Strangers who are known as visitors: list them, name them, keep them apart, erase them.

A visitor is a person without a name. What was seen of one are sightings, which the pipeline notes
(`gaitstream.gallery.visiting`); templates, which decisions are made with, a visitor has only when somebody
said that it is not a person it was taken for: then it stands beside that person, and the nearer one counts.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from gaitstream.errors import GalleryError
from gaitstream.gallery import audit
from gaitstream.gallery.base import Reading, SightingRow, Writing
from gaitstream.gallery.gallery import Enrolment, Gallery, check_free
from gaitstream.gallery.merged import read_merged, survivor
from gaitstream.gallery.names import clean_name
from gaitstream.gallery.records import PersonRecord, as_one, new_uid
from gaitstream.gallery.sightings import Floats, Sighting, TrackRef, everywhere, spread
from gaitstream.gallery.upstream import Upstream, note_upstream

MOST_TEMPLATES = 24
"""Of each model that a visitor brings along, spread over the sightings."""
_COUNT = "visitors"


@dataclass(frozen=True)
class VisitorEntry:
    """One visitor.

    Attributes:
        name: such as `visitor-17`.
        uid: names the visitor for ever, also once there is a name.
        first_ns: when the first walk ended, UTC nanoseconds.
        last_ns: and the last.
        tracks: walks.
        cameras: walks by camera.
        expires_ns: when the visitor is erased, as `gallery keep` said; None for what retention says.
        apart: names, or uids, of whom somebody said that this is not them.
    """

    name: str
    uid: str
    first_ns: int
    last_ns: int
    tracks: int
    cameras: dict[str, int]
    expires_ns: int | None = None
    apart: tuple[str, ...] = ()


@dataclass(frozen=True)
class Promotion:
    """A visitor who has a name now.

    Attributes:
        visitor: what they were called.
        visitor_id: uid as a visitor.
        person: the name.
        person_id: uid of the person; the visitor's own unless the person was there before.
        tracks: what was seen of them before.
    """

    visitor: str
    visitor_id: str
    person: str
    person_id: str
    tracks: list[TrackRef]


def visitors(gallery: Gallery, sees: Callable[[str], bool] = everywhere) -> list[VisitorEntry]:
    """All visitors by their walks on the cameras that may be seen, the latest seen first."""
    with gallery.store.reading() as reading:
        records = gallery.vault.records(reading)
        held: dict[str, list[Sighting]] = {uid: [] for uid, one in records.items() if one.visitor}
        for row in reading.sightings():
            if row.person in held:
                held[row.person].append(gallery.vault.sighting(row))
    entries = [_entry(uid, records, _seen_by(sees, walks)) for uid, walks in held.items()]
    return sorted(entries, key=lambda entry: entry.last_ns, reverse=True)


def show_visitor(
    gallery: Gallery, name: str, sees: Callable[[str], bool] = everywhere
) -> tuple[VisitorEntry, list[Sighting]]:
    """A visitor and what was seen of them on the cameras that may be seen, oldest first.

    Raises:
        GalleryError: there is no such visitor.
    """
    with gallery.store.reading() as reading:
        uid, _ = find_visitor(gallery, reading, name)
        sightings = _seen_by(sees, [gallery.vault.sighting(row) for row in reading.sightings(uid)])
        return _entry(uid, gallery.vault.records(reading), sightings), sightings


def find_visitor(gallery: Gallery, reading: Reading, name: str) -> tuple[str, PersonRecord]:
    """Uid and record of a visitor by name or uid.

    Raises:
        GalleryError: there is no such visitor.
    """
    row = reading.person(name)
    uid, record = (name, gallery.vault.record(row)) if row else gallery.person(reading, name)
    if not record.visitor:
        raise GalleryError(f"{name!r} is no visitor; 'gaitstream gallery visitors' shows who is")
    return uid, record


def new_visitor(
    gallery: Gallery, writing: Writing, first_ns: int, apart: Sequence[str] = ()
) -> tuple[str, str]:
    """Make a visitor with the next number, which nobody ever gets again; returns uid and name."""
    uid, name = new_uid(), next_name(gallery, writing)
    writing.put_person(
        gallery.vault.person_row(uid, PersonRecord(name, first_ns, visitor=True, apart=tuple(apart)))
    )
    return uid, name


def next_name(gallery: Gallery, writing: Writing) -> str:
    """A visitor's name that was never given in this gallery, and that nobody has."""
    number = _given(writing) + 1
    while gallery.vault.find(writing, f"visitor-{number}") is not None:
        number += 1
    writing.set(_COUNT, str(number).encode())
    return f"visitor-{number}"


def skip_names(writing: Writing, other: Reading) -> None:
    """Give no visitor's name from now on that was given in another gallery."""
    writing.set(_COUNT, str(max(_given(writing), _given(other))).encode())


def _given(reading: Reading) -> int:
    """The highest number of a visitor's name by now.

    Raises:
        GalleryError: it is damaged.
    """
    kept = reading.setting(_COUNT)
    if kept is not None and not kept.isdigit():
        raise GalleryError(
            f"the number of visitors, {kept[:20]!r}, is damaged; put a backup of the gallery in its place"
        )
    return int(kept or 0)


def promote(gallery: Gallery, visitor: str, person: str, actor: str | None = None) -> Promotion:
    """Give a visitor a name; where somebody has it already, the visitor is from now on part of them.

    What was seen of the visitor becomes templates, and stays as sightings of the person. When the visitor
    was to be erased, the person is, unless theirs is earlier.

    Raises:
        GalleryError: there is no such visitor, or somebody said that this is not that person.
    """
    with gallery.writing() as writing:
        uid, record = find_visitor(gallery, writing, visitor)
        check_free(person, None)
        found = gallery.vault.find(writing, person)
        if found is not None and found[0] in record.apart:
            raise GalleryError(f"somebody said that {record.name} is not {found[1].name!r}; look again")
        rows = list(writing.sightings(uid))
        sightings = [gallery.vault.sighting(row) for row in rows]
        writing.drop_templates([row.number for row in writing.templates(person=uid)])
        if found is None:
            named = msgspec.structs.replace(record, name=clean_name(person), visitor=False, apart=())
            writing.put_person(gallery.vault.person_row(uid, named))
        target, known = (uid, named) if found is None else found
        _move(gallery, writing, rows, target)
        if found is not None:
            writing.drop_person(uid)
            writing.put_person(gallery.vault.person_row(target, as_one(known, uid, record)))
        _enrol(gallery, writing, known.name, sightings)
        for changed in {uid, target}:
            writing.note_change(changed)
        audit.note(
            writing, gallery.sealer, "promoted", person=target, count=len(rows),
            detail=f"{record.name} {uid}", actor=actor,
        )  # fmt: skip
    gallery.store.purge()
    return Promotion(record.name, uid, known.name, target, [one.track for one in sightings])


def keep_apart(gallery: Gallery, visitor: str, other: str, actor: str | None = None) -> None:
    """Say that a visitor is not another visitor, or not a person: they are never taken for each other again.

    Raises:
        GalleryError: there is no such visitor, or nobody else of that name.
    """
    with gallery.writing() as writing:
        uid, _ = find_visitor(gallery, writing, visitor)
        other_uid, record = gallery.person(writing, other)
        if other_uid == uid:
            raise GalleryError(f"{visitor!r} and {other!r} are the same visitor")
        part(gallery, writing, uid, other_uid)
        if record.visitor:
            part(gallery, writing, other_uid, uid)
        audit.note(writing, gallery.sealer, "kept apart", person=uid, detail=f"from {other_uid}", actor=actor)


def delete_visitor(gallery: Gallery, visitor: str) -> int:
    """Erase a visitor and overwrite what was kept; returns how many sightings were.

    Raises:
        GalleryError: there is no such visitor.
    """
    with gallery.writing() as writing:
        uid, _ = find_visitor(gallery, writing, visitor)
        count = sum(1 for _ in writing.sightings(uid))
        gallery.erase(writing, uid)
    gallery.store.purge()
    return count


def reject_track(gallery: Gallery, track: TrackRef, person: str, actor: str | None = None) -> str | None:
    """Say that a track was not the person it was taken for, and remember whom it showed instead.

    The walk becomes a visitor's, whose windows stand beside the person's templates from now on: whoever is
    nearer to it than to the person is not the person.

    Args:
        gallery: where.
        track: which.
        person: uid.
        actor: who says so; None for whoever runs the program.

    Returns:
        The visitor's name, or that of the person whose walk it has become since; None where nothing is kept
        of the track.
    """
    with gallery.writing() as writing:
        held = _sighting_of(gallery, writing, track)
        if held is None:
            return None
        row, sighting = held
        person = survivor(read_merged(writing), person)
        rejected = tuple(dict.fromkeys((*sighting.rejected, person)))
        moved = msgspec.structs.replace(sighting, rejected=rejected)
        uid, (name, is_visitor) = row.person, _called(gallery, writing, row.person)
        if uid == person:
            uid, name = new_visitor(gallery, writing, sighting.track.time_ns)
            moved = msgspec.structs.replace(moved, known="", visitor=(name, uid))
        writing.put_sighting(gallery.vault.sighting_row(uid, moved, row.number))
        if is_visitor or uid != row.person:  # who has got a name since is somebody else already
            part(gallery, writing, uid, person)
        audit.note(writing, gallery.sealer, "rejected", person=person, detail=f"{track}", actor=actor)
    return name


def part(gallery: Gallery, writing: Writing, uid: str, other: str) -> None:
    """Enter that a visitor is not somebody else; beside a person it takes part in decisions from now on."""
    row = writing.person(uid)
    if row is None:
        return
    record = gallery.vault.record(row)
    apart = tuple(dict.fromkeys((*record.apart, other)))
    writing.put_person(gallery.vault.person_row(uid, msgspec.structs.replace(record, apart=apart)))
    kept = writing.person(other)
    if kept is not None and not gallery.vault.record(kept).visitor:
        compete(gallery, writing, uid)
    writing.note_change(uid)


def compete(gallery: Gallery, writing: Writing, uid: str) -> None:
    """Make templates of what was seen of a visitor, in the place of those it had."""
    writing.drop_templates([row.number for row in writing.templates(person=uid)])
    sightings = [gallery.vault.sighting(row) for row in writing.sightings(uid)]
    for model in writing.models():
        for windows in _windows(sightings, model.name, model.fingerprint):
            note_upstream(writing, model.name, _upstream(sightings, model.name, model.fingerprint))
            gallery.add_templates(writing, uid, model.name, windows, "a visitor's walk", time.time_ns())


def _enrol(gallery: Gallery, writing: Writing, name: str, sightings: Sequence[Sighting]) -> None:
    models = {(model, kept.fingerprint) for one in sightings for model, kept in one.windows.items()}
    for model, fingerprint in sorted(models):
        for windows in _windows(sightings, model, fingerprint):
            upstream = _upstream(sightings, model, fingerprint)
            enrolment = Enrolment(name, model, fingerprint, windows, "a visitor's walks", upstream=upstream)
            uid = gallery.add(writing, enrolment, time.time_ns())
            gallery.tuner.follow(writing, model, {uid}, gallery.url)


def _upstream(sightings: Sequence[Sighting], model: str, fingerprint: str) -> list[Upstream]:
    kept = [one.windows[model] for one in sightings if model in one.windows]
    return [one.upstream for one in kept if one.fingerprint == fingerprint]


def _windows(sightings: Sequence[Sighting], model: str, fingerprint: str) -> list[Floats]:
    """One array of at most `MOST_TEMPLATES` windows `[n, parts, dim]`, spread over the sightings; or none."""
    models = {model: fingerprint}
    held = [windows for one in sightings for windows in one.opened(models).values()]
    if not held:
        return []
    windows = np.concatenate(held)
    return [windows[spread(len(windows), MOST_TEMPLATES)]]


def _move(gallery: Gallery, writing: Writing, rows: Sequence[SightingRow], target: str) -> None:
    for row in rows:
        sighting = msgspec.structs.replace(gallery.vault.sighting(row), known=target)
        writing.put_sighting(gallery.vault.sighting_row(target, sighting, row.number))


def _called(gallery: Gallery, reading: Reading, uid: str) -> tuple[str, bool]:
    """Name of somebody, and whether it is a visitor's."""
    row = reading.person(uid)
    record = gallery.vault.record(row) if row is not None else None
    return (record.name, record.visitor) if record is not None else (uid, False)


def _sighting_of(gallery: Gallery, reading: Reading, track: TrackRef) -> tuple[SightingRow, Sighting] | None:
    for row in reading.sightings(since_ns=track.time_ns):
        sighting = gallery.vault.sighting(row)
        if sighting.track.key == track.key:
            return row, sighting
    return None


def _seen_by(sees: Callable[[str], bool], sightings: Sequence[Sighting]) -> list[Sighting]:
    return [one for one in sightings if sees(one.track.camera)]


def _entry(uid: str, records: dict[str, PersonRecord], sightings: Sequence[Sighting]) -> VisitorEntry:
    record = records[uid]
    times = [one.track.time_ns for one in sightings] or [record.created_ns]
    return VisitorEntry(
        name=record.name,
        uid=uid,
        first_ns=min(times),
        last_ns=max(times),
        tracks=len(sightings),
        cameras=dict(Counter(one.track.camera for one in sightings)),
        expires_ns=record.expires_ns,
        apart=tuple(records[one].name if one in records else one for one in record.apart),
    )

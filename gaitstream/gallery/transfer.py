"""Galleries from store to store: copies, and one encrypted file to carry."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from gaitstream.errors import GalleryError
from gaitstream.gallery import audit
from gaitstream.gallery.base import ModelRow, Reading, Writing
from gaitstream.gallery.checksum import Damage
from gaitstream.gallery.gallery import Gallery, check_fingerprint
from gaitstream.gallery.merged import note_merged
from gaitstream.gallery.opening import key_source, missing_key_file
from gaitstream.gallery.records import PersonRecord, with_merged
from gaitstream.gallery.rewrite import swap_of
from gaitstream.gallery.room import no_room
from gaitstream.gallery.sightings import Sighting
from gaitstream.gallery.sqlite import is_unused
from gaitstream.gallery.stores import file_of
from gaitstream.gallery.upstream import note_upstream, read_upstream
from gaitstream.gallery.vault import Template
from gaitstream.gallery.visitors import next_name, skip_names


@dataclass
class Copied:
    """What a copy brought over; what was there already does not count."""

    persons: int = 0
    templates: int = 0
    pictures: int = 0
    sightings: int = 0


def copy(source: Gallery, target: Gallery, action: str = "copied") -> Copied:
    """Bring everybody of one gallery into another; all or nothing, and no template twice.

    People keep their uids. Somebody whom the target knows by the same uid, or by the same name and no other
    uid here, gets what is missing; the record keeps the uid and the names of here.

    Raises:
        GalleryError: the target was filled by another model, or a template of the source is damaged.
    """
    done = Copied()
    with source.store.reading() as reading, target.writing() as writing:
        records = source.vault.records(reading)
        skip_names(writing, reading)
        uids = {uid: _person(target, writing, uid, record, done) for uid, record in records.items()}
        _keep_apart(target, writing, records, uids)
        for model in reading.models():
            _model(target, writing, model)
            note_upstream(writing, model.name, read_upstream(reading, model.name) or [()])
            done.templates += _templates(source, reading, target, writing, model, uids)
        done.pictures = _pictures(source, reading, target, writing, uids)
        done.sightings = _sightings(source, reading, target, writing, uids)
        for model in reading.models():
            target.tuner.follow(writing, model.name, set(uids.values()), target.url)
        for uid in uids.values():
            writing.note_change(uid)
        audit.note(writing, target.sealer, action, count=done.templates, detail=f"from {source.id}")
    with source.writing() as writing:
        audit.note(writing, source.sealer, "exported", count=done.templates, detail=f"to {target.id}")
    return done


@contextlib.contextmanager
def receiving(where: str | Path, key: str | None) -> Iterator[Gallery]:
    """A gallery to copy into, made when missing; a new file into which nothing comes is removed again.

    Raises:
        GalleryError: it cannot be opened or made.
    """
    file = where if isinstance(where, Path) else file_of(where)
    new = file is not None and not (file.exists() or swap_of(file).exists())
    new_key = missing_key_file(key_source(where, key)) if new else None
    try:
        with Gallery(where, create=True, key=key) as target:
            yield target
    except BaseException:
        if file is not None and new:
            with contextlib.suppress(OSError, Timeout, sqlite3.Error):  # left where it cannot be looked at
                _remove_unused(file, new_key)
        raise


def _remove_unused(file: Path, key: Path | None) -> None:
    """Remove a gallery's file and key, unless somebody else uses it meanwhile."""
    with FileLock(f"{file}.lock", timeout=0, mode=0o600):
        if not file.exists() or is_unused(file):
            if key is not None:
                key.unlink(missing_ok=True)
            _clear(file)


def export(source: Gallery, file: Path, key: str | None) -> Copied:
    """Write a gallery into one new file, sealed with a key; it is there when it is whole.

    Raises:
        GalleryError: there is such a file already, or it cannot be written.
    """
    if os.path.lexists(file):
        raise GalleryError(f"{file} is there already; name another file")
    partial = file.with_name(f"{file.name}.partial")
    key = key or f"file:{file}.key"
    new_key = None
    try:
        new_key = missing_key_file(key)
        _clear(partial)
        with Gallery(partial, create=True, key=key) as target:
            done = copy(source, target, "export made")
        with sqlite3.connect(partial, isolation_level=None) as db:
            db.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
        db.close()
        handle = os.open(partial, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
        partial.replace(file)
    except (OSError, sqlite3.Error) as error:
        raise GalleryError(f"{file} cannot be written: {no_room(error, file.parent) or error}") from error
    finally:
        with contextlib.suppress(OSError):  # where nothing can be written nothing was
            _clear(partial)
            if new_key is not None and not file.exists():
                new_key.unlink(missing_ok=True)
    return done


def _clear(partial: Path) -> None:
    for name in ("", "-wal", "-shm", ".lock"):
        partial.with_name(partial.name + name).unlink(missing_ok=True)


def _person(target: Gallery, writing: Writing, uid: str, record: PersonRecord, done: Copied) -> str:
    """The uid somebody has in the target, made when missing."""
    named = target.vault.find(writing, record.name)
    known = writing.person(uid)
    if named is not None and not record.visitor:
        _note_merged(target, writing, *named, uid, record)
        return named[0]
    if known is None and record.visitor and named is not None:
        record = msgspec.structs.replace(record, name=next_name(target, writing))
    if known is None:
        record = msgspec.structs.replace(record, apart=())
        writing.put_person(target.vault.person_row(uid, record))
        _note_parts(writing, uid, record)
        done.persons += 1
        return uid
    kept = target.vault.record(known)
    if kept.visitor and not record.visitor:  # who has got a name since
        kept = msgspec.structs.replace(record, merged=kept.merged, apart=kept.apart)
        writing.put_person(target.vault.person_row(uid, kept))
    _note_merged(target, writing, uid, kept, uid, record)
    return uid


def _keep_apart(
    target: Gallery, writing: Writing, records: Mapping[str, PersonRecord], uids: Mapping[str, str]
) -> None:
    """Enter who is not whom, by the uids of the target."""
    for uid, record in records.items():
        row = writing.person(uids[uid]) if record.apart else None
        if row is not None:
            held = target.vault.record(row)
            apart = tuple(dict.fromkeys((*held.apart, *(uids.get(one, one) for one in record.apart))))
            changed = msgspec.structs.replace(held, apart=apart)
            writing.put_person(target.vault.person_row(row.uid, changed))


def _note_merged(
    target: Gallery, writing: Writing, held: str, kept: PersonRecord, uid: str, record: PersonRecord
) -> None:
    """Keep what somebody is called in the source, where that is news to the target."""
    also = record.merged
    if uid != held or (record.name != kept.name and not record.visitor):
        also = with_merged(record, (uid, record)).merged
    merged = tuple(dict.fromkeys((*kept.merged, *also)))
    if merged != kept.merged:
        changed = msgspec.structs.replace(kept, merged=merged)
        writing.put_person(target.vault.person_row(held, changed))
        _note_parts(writing, held, changed)


def _note_parts(writing: Writing, uid: str, record: PersonRecord) -> None:
    for part in dict(record.merged):
        if part != uid and writing.person(part) is None:
            note_merged(writing, part, uid)


def _model(target: Gallery, writing: Writing, model: ModelRow) -> None:
    held = next((row for row in writing.models() if row.name == model.name), None)
    if held is None:
        writing.put_model(replace(model, calibration=b""))
        return
    check_fingerprint(model.name, held.fingerprint, model.fingerprint, target.url)


def _templates(
    source: Gallery,
    reading: Reading,
    target: Gallery,
    writing: Writing,
    model: ModelRow,
    uids: dict[str, str],
) -> int:
    held = {
        (one.person, one.created_ns, one.parts.tobytes())
        for uid in set(uids.values())
        for one in target.vault.templates(writing, model, uid)
        if isinstance(one, Template)
    }
    count = 0
    for template in source.vault.templates(reading, model):
        if isinstance(template, Damage):
            source.tuner.complain(reading, template, source.url)
        moved = replace(template, number=0, person=uids[template.person])
        if (moved.person, moved.created_ns, moved.parts.tobytes()) not in held:
            writing.add_templates([target.vault.template_row(moved)])
            count += 1
    return count


def _pictures(
    source: Gallery, reading: Reading, target: Gallery, writing: Writing, uids: dict[str, str]
) -> int:
    held = {(row.person, target.vault.picture(row)) for row in writing.pictures()}
    count = 0
    for row in reading.pictures():
        data = source.vault.picture(row)
        if (uids[row.person], data) not in held:
            moved = replace(row, number=0, person=uids[row.person], data=data)
            writing.add_pictures([target.vault.picture_row(moved)])
            count += 1
    return count


def _sightings(
    source: Gallery, reading: Reading, target: Gallery, writing: Writing, uids: dict[str, str]
) -> int:
    held = {target.vault.sighting(row).track.key for row in writing.sightings()}
    names = {uid: record.name for uid, record in target.vault.visitors(writing).items()}
    moved = [(uids[row.person], source.vault.sighting(row)) for row in reading.sightings()]
    new = [(uid, _as_here(one, uids, names)) for uid, one in moved if one.track.key not in held]
    writing.add_sightings(target.vault.sighting_row(uid, sighting) for uid, sighting in new)
    return len(new)


def _as_here(sighting: Sighting, uids: Mapping[str, str], visitors: Mapping[str, str]) -> Sighting:
    """What was seen, with the uids and the visitors' names of the target."""
    visitor = sighting.visitor
    if visitor is not None:
        visitor = visitors.get(visitor[1], visitor[0]), visitor[1]
    return msgspec.structs.replace(
        sighting,
        known=uids.get(sighting.known, sighting.known),
        rejected=tuple(uids.get(uid, uid) for uid in sighting.rejected),
        visitor=visitor,
    )

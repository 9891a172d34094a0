"""Erasing a person everywhere: gallery, saved tracklets and journal, with a report that can be checked."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec

from gaitstream.data import Status
from gaitstream.errors import EventError, GaitstreamError, GalleryError
from gaitstream.events.codec import plain
from gaitstream.events.durable import replace_file
from gaitstream.events.erasing import ERASED
from gaitstream.events.journal import Journal
from gaitstream.events.reading import Reader
from gaitstream.events.segment import Record
from gaitstream.gallery import Gallery, audit
from gaitstream.gallery.base import PictureRow, Reading, SightingRow, TemplateRow
from gaitstream.gallery.lineage import Subject, erased_since, subject_gone, subject_of
from gaitstream.gallery.needles import Needle, find_needles, find_text, make_needles
from gaitstream.gallery.records import PersonRecord
from gaitstream.gallery.sightings import TrackRef
from gaitstream.pipeline.saving import track_folder

_TRACK = re.compile(rf"\d{{5,}}-({'|'.join(Status)})(-.*)?", re.DOTALL)
"""Folders of saved tracks."""


class ForgetReport(msgspec.Struct, kw_only=True):
    """What was erased and where it was looked for; names nobody.

    Attributes:
        gallery: id of the gallery.
        person: uid.
        merged: uids of those who were merged into the person.
        time_ns: UTC nanoseconds.
        templates: how many were erased.
        pictures: how many were erased.
        sightings: how many were erased.
        tracklets: folders of saved tracklets that were deleted.
        evidence: tracks whose evidence was erased.
        events: events of the journal that lost the name.
        places: files and folders that were searched afterwards.
        remains: what could not be reached or is still found, a line each; empty when all is gone.
        salt: of the needles.
        needles: by which the bytes are searched for again.
    """

    gallery: str
    person: str
    time_ns: int
    merged: list[str] = []
    templates: int = 0
    pictures: int = 0
    sightings: int = 0
    tracklets: int = 0
    evidence: int = 0
    events: int = 0
    places: list[str] = []
    remains: list[str] = []
    salt: str = ""
    needles: list[Needle] = []


class KeepsPeople(Protocol):
    """Another place where people may be kept, whatever it is made of.

    Attributes:
        path: its folder.
    """

    @property
    def path(self) -> Path:
        """See above."""

    def is_one(self) -> bool:
        """Whether the folder is such a place, as far as anything is in it."""

    def forget(
        self, gallery: Gallery, uids: Collection[str], tracks: Iterable[TrackRef] = ()
    ) -> tuple[int, list[str]]:
        """Erase a person by all their uids, and tracks that are known to be theirs.

        Returns:
            How much was erased, and what could not be looked into, a line each.
        """


@dataclass(frozen=True)
class Places:
    """Where somebody may be kept beside the gallery.

    Attributes:
        journals: folders of event journals.
        tracklets: folders that `--save-tracklets` wrote.
        evidence: evidence folders.
    """

    journals: tuple[Path, ...] = ()
    tracklets: tuple[Path, ...] = ()
    evidence: tuple[KeepsPeople, ...] = ()


def forget(gallery: Gallery, name: str, places: Places, tracks: Iterable[TrackRef] = ()) -> ForgetReport:
    """Erase a person from the gallery, and every name they had from everywhere else.

    The gallery is overwritten even while others read it; journals keep the person's id. Somebody who was
    erased from the gallery before is erased from the places.

    Args:
        gallery: where.
        name: of the person, or the uid; of somebody who was erased before the uid, or the name where a
            journal or saved tracklets of the places say whose it was.
        places: where else.
        tracks: that are known to show the person, beside those of sightings and journals.

    Raises:
        GalleryError: nobody has the name.
    """
    salt = secrets.token_hex(16)
    with gallery.store.reading() as reading:
        gone = None if _find(gallery, reading, name) else _find_gone(gallery, reading, name, places)
    with gallery.writing() as writing:  # who it is is asked again: from now on nobody merges or renames them
        subject = gone or subject_of(gallery, writing, *_here(gallery, writing, name))
        uid, *merged = subject.uids
        report = ForgetReport(
            gallery=gallery.id, person=uid, merged=merged, time_ns=time.time_ns(), salt=salt
        )
        seen = list(_tracks_seen(gallery, writing, subject, report))
        if gone is None:
            if not subject.names:
                report.remains.append(f"no name of {uid} is known, and none was searched for")
            report.needles = list(_needles(gallery, writing, uid, salt))
            report.pictures = sum(1 for _ in writing.pictures(uid))
            report.sightings = sum(1 for _ in writing.sightings(uid))
            report.templates = gallery.erase(writing, uid, "forgotten")
        else:
            audit.note(writing, gallery.sealer, "forgotten", person=uid, detail="elsewhere, erased before")
    _try(report, gallery.url, lambda: report.remains.extend(gallery.store.purge()))
    seen += tracks
    for folder in places.journals:
        _try(report, folder, partial(_add_named, seen, folder, subject))
    for folder in places.tracklets:
        report.tracklets += _forget_tracklets(folder, subject, seen, report)
    for place in places.evidence:
        _try(report, place.path, partial(_forget_evidence, place, gallery, subject, seen, report))
    for folder in places.journals:
        _try(report, folder, partial(_count_events, folder, subject, report))
    files = [str(path) for path in gallery.store.files()]
    folders = (*places.journals, *places.tracklets, *(place.path for place in places.evidence))
    report.places = [*files, *(str(path.resolve()) for path in folders)]
    report.remains += check_forgotten(report, *subject.names)
    report.remains = list(dict.fromkeys(report.remains))
    return report


def check_places(places: Places) -> None:
    """See that all places are there, before anything is erased.

    Raises:
        GalleryError: one is not, is something else, or cannot be looked into.
    """
    try:
        _check_places(places)
    except OSError as error:
        raise GalleryError(
            f"{error.filename}: cannot be looked into ({error.strerror}); be the user whose it is. "
            "Nobody was erased"
        ) from error


def _check_places(places: Places) -> None:
    for folder in places.journals:
        if not folder.is_dir():
            raise GalleryError(f"{folder}: there is no such journal; nobody was erased")
        if not (folder / "lock").exists() and next(folder.glob("*.journal"), None) is None:
            raise GalleryError(f"{folder} is no journal of events; nobody was erased")
    for folder in places.tracklets:
        if not folder.is_dir():
            raise GalleryError(f"{folder}: there are no saved tracklets; nobody was erased")
        if next(folder.iterdir(), None) is not None and next(folder.rglob("decision.json"), None) is None:
            raise GalleryError(f"{folder} has no saved tracklets; nobody was erased")
    for place in places.evidence:
        if not place.path.is_dir():
            raise GalleryError(f"{place.path}: there is no such evidence folder; nobody was erased")
        if not place.is_one():
            raise GalleryError(
                f"{place.path} is no folder of evidence: it has neither tracks nor recent; nobody was erased"
            )


def check_report_path(path: Path) -> None:
    """See that a report can be written, before anything is erased.

    Raises:
        GalleryError: there is such a file, or its folder cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise GalleryError(f"the report {path} is there already; name another file. Nobody was erased")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise GalleryError(f"the report's folder {path.parent} cannot be written; nobody was erased")


def check_forgotten(report: ForgetReport, *names: str) -> list[str]:
    """Search every file of a report's places for what was erased, and for names; a line for each find."""
    files = list(_files(report.places))
    found = find_needles(files, report.needles, report.salt)
    texts = dict.fromkeys(text for name in names for text in (name, _in_json(name)))
    return found + list(dict.fromkeys(line for text in texts for line in find_text(files, text)))


def write_report(report: ForgetReport, path: Path) -> None:
    """Write a report as JSON; never over a file that is there.

    Raises:
        GalleryError: there is one, or it cannot be written.
    """
    try:
        with path.open("xb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    except OSError as error:
        raise GalleryError(f"the report {path} cannot be written ({error.strerror})") from error


def read_report(path: Path) -> ForgetReport:
    """A report that `write_report` wrote.

    Raises:
        GalleryError: it cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=ForgetReport)
    except (OSError, ValueError) as error:
        raise GalleryError(f"{path} is no report of 'gaitstream gallery forget' ({error})") from error


def forget_in_journal(folder: Path, subject: Subject) -> int:
    """Take a person's names out of a journal's events; the ids stay. Returns how many events changed.

    Events are known by the id, or that of somebody who was merged into the person; older ones, which have
    none, by the name.

    Raises:
        EventError: another process writes the journal, or there is no room.
    """
    if not folder.is_dir():
        raise EventError("there is no such journal")
    marks = [text.encode() for text in (*subject.uids, *subject.names, *map(_in_json, subject.names))]
    journal = Journal(folder)
    try:
        return journal.rewrite(lambda record: _without_names(record, subject, marks))
    finally:
        journal.close()


def tracks_named(folder: Path, ids: Collection[str]) -> Iterator[TrackRef]:
    """The tracks that events of a journal ever gave to a person, also while a run writes to it."""
    if not folder.is_dir():
        return
    reader, marks = Reader(folder), [uid.encode() for uid in ids]
    while not (piece := reader.read()).end or piece.records:
        for record in piece.records:
            if not any(mark in record.payload for mark in marks):
                continue
            try:
                data = plain(record.payload)
            except EventError:
                continue
            run, camera, track = (data.get(name) for name in ("run", "camera", "track"))
            if data.get("person_id") in ids and run and camera and isinstance(track, int):
                yield TrackRef(str(run), str(camera), track)


def _without_names(record: Record, subject: Subject, marks: Iterable[bytes]) -> bytes:
    """An event's payload without a person's names."""
    if not any(mark in record.payload for mark in marks):
        return record.payload
    try:
        data = plain(record.payload)
    except EventError:
        return record.payload
    changed = _without(data, subject)
    if changed == data:
        return record.payload
    encode = msgspec.json.encode if record.payload[:1] == b"{" else msgspec.msgpack.encode
    return encode(changed)


def _without(data: dict[str, Any], subject: Subject) -> dict[str, Any]:
    changed = dict(data)
    if subject.is_called(changed.get("person"), changed.get("person_id")):
        changed["person"] = None
        changed["person_id"] = changed.get("person_id") or subject.uids[0]
    candidates, ids = changed.get("candidates"), changed.get("candidate_ids")
    if isinstance(candidates, list):
        known = ids if isinstance(ids, list) else []
        known = [*known, *[None] * len(candidates)]
        changed["candidates"] = [
            [ERASED, *one[1:]] if isinstance(one, list) and one and subject.is_called(one[0], uid) else one
            for one, uid in zip(candidates, known, strict=False)
        ]
    return changed


def _find(gallery: Gallery, reading: Reading, name: str) -> tuple[str, PersonRecord] | None:
    """Uid and record of somebody who is in the gallery, by name or uid; nameless when damaged."""
    row, found = reading.person(name), gallery.vault.find(reading, name)
    if found is not None or row is None:
        return found
    try:
        return name, gallery.vault.record(row)
    except GalleryError:
        return name, PersonRecord("", 0)


def _here(gallery: Gallery, reading: Reading, name: str) -> tuple[str, PersonRecord]:
    """As `_find`.

    Raises:
        GalleryError: nobody of that name or uid is there (any more).
    """
    return _find(gallery, reading, name) or gallery.person(reading, name)


def _tracks_seen(
    gallery: Gallery, reading: Reading, subject: Subject, report: ForgetReport
) -> Iterator[TrackRef]:
    """The tracks of somebody's sightings; the report tells of those that cannot be opened."""
    for uid in subject.uids:
        for row in reading.sightings(uid):
            try:
                yield gallery.vault.sighting(row).track
            except GalleryError:
                report.remains.append(
                    f"sighting {row.number} was damaged, and is erased: evidence of its track may be left"
                )


def _find_gone(gallery: Gallery, reading: Reading, name: str, places: Places) -> Subject:
    """Somebody who was erased before, by uid or, where the places tell whose it was, by name.

    Raises:
        GalleryError: nobody of that uid or name was.
    """
    gone = erased_since(gallery, reading)
    told = [(said, uid) for said, uid in _names_in(places) if uid in gone] if gone else []
    uids = [name] if name in gone else list(dict.fromkeys(uid for said, uid in told if said == name))
    if uids:
        theirs = subject_gone(gallery, reading, uids, ()).uids
        return subject_gone(gallery, reading, uids, [said for said, uid in told if uid in theirs])
    try:
        gallery.person(reading, name)
    except GalleryError as error:
        if not gone:
            raise
        raise GalleryError(
            f"{error}. For somebody who was erased before give the id, which 'gaitstream gallery audit' shows"
        ) from error
    raise AssertionError("whoever is in the gallery was found before")


def _names_in(places: Places) -> Iterator[tuple[str, str]]:
    """Names and uids that stand together in journals and saved tracklets."""
    seen = set[tuple[str, str]]()
    for data in _saved(places):
        ids, candidates = data.get("candidate_ids"), data.get("candidates")
        pairs = [(data.get("person"), data.get("person_id"))]
        if isinstance(ids, list) and isinstance(candidates, list):
            pairs += [(one[0], uid) for one, uid in zip(candidates, ids, strict=False) if one]
        for name, uid in pairs:
            if isinstance(name, str) and isinstance(uid, str) and name != ERASED and (name, uid) not in seen:
                seen.add((name, uid))
                yield name, uid


def _saved(places: Places) -> Iterator[dict[str, Any]]:
    for folder in places.journals:
        if folder.is_dir():
            reader = Reader(folder)
            while not (piece := reader.read()).end or piece.records:
                for record in piece.records:
                    if b"person_id" in record.payload:
                        with suppress(EventError):
                            yield plain(record.payload)
    for folder in places.tracklets:
        for file in folder.rglob("decision.json"):
            with suppress(OSError, ValueError):
                data = msgspec.json.decode(file.read_bytes())
                if isinstance(data, dict):
                    yield data


def _try(report: ForgetReport, place: object, work: Callable[[], object]) -> None:
    """Do what may fail: what comes after is done all the same, and the report tells."""
    try:
        work()
    except (GaitstreamError, OSError) as error:
        report.remains.append(f"{place}: {error}")


def _forget_evidence(
    place: KeepsPeople,
    gallery: Gallery,
    subject: Subject,
    tracks: Collection[TrackRef],
    report: ForgetReport,
) -> None:
    count, remains = place.forget(gallery, subject.uids, tracks)
    report.evidence += count
    report.remains += remains


def _add_named(seen: list[TrackRef], folder: Path, subject: Subject) -> None:
    seen.extend(tracks_named(folder, subject.uids))


def _count_events(folder: Path, subject: Subject, report: ForgetReport) -> None:
    report.events += forget_in_journal(folder, subject)


def _in_json(name: str) -> str:
    """A name as it stands in JSON."""
    return msgspec.json.encode(name).decode()[1:-1]


def _needles(gallery: Gallery, reading: Reading, uid: str, salt: str) -> Iterator[Needle]:
    row = reading.person(uid)
    if row is not None and gallery.encrypted:  # in clear it looks like everybody's but for the name
        yield from make_needles("the person's record", row.record, salt)
    for kind, rows in (
        ("template", reading.templates(person=uid)),
        ("sighting", reading.sightings(uid)),
        ("picture", reading.pictures(uid)),
    ):
        for one in rows:
            what = f"{kind} {one.number}"
            yield from make_needles(what, one.data, salt)
            if gallery.encrypted:
                with suppress(GalleryError):  # what is damaged cannot be opened by anybody
                    for data in _in_clear(gallery, one):
                        yield from make_needles(f"{what}, in clear", data, salt)


def _in_clear(gallery: Gallery, row: TemplateRow | SightingRow | PictureRow) -> list[bytes]:
    match row:
        case TemplateRow():
            return [gallery.sealer.open(row.data, f"template/{row.person}/{row.model}")]
        case SightingRow():
            return [kept.data for kept in gallery.vault.sighting(row).windows.values()]
        case PictureRow():
            return [gallery.vault.picture(row)]


def _forget_tracklets(
    folder: Path, subject: Subject, seen: Collection[TrackRef], report: ForgetReport
) -> int:
    """Delete the folders of a person's tracks, and take the names out of the others' candidates."""
    count = 0
    keys = {one.key for one in seen}
    for file in sorted(folder.rglob("decision.json")):
        try:
            data = msgspec.json.decode(file.read_bytes())
            if not isinstance(data, dict):
                continue
            called = subject.is_called(data.get("person"), data.get("person_id"))
            if called or (_run_of(file.parent), data.get("camera"), data.get("track")) in keys:
                _delete_track(file.parent)
                count += 1
                continue
            changed = _without(data, subject)
            if changed != data:
                replace_file(file, msgspec.json.format(msgspec.json.encode(changed), indent=2))
        except ValueError:
            continue
        except OSError as error:
            report.remains.append(f"{file.parent}: {error.strerror}")
    return count + _forget_undecided(folder, subject, report)


def _forget_undecided(folder: Path, subject: Subject, report: ForgetReport) -> int:
    """Tracks that were not saved to the end have pictures and no decision: their folder's name says whose."""
    count = 0
    for path in sorted(folder.rglob("[0-9]*-*")):
        if not _TRACK.fullmatch(path.name) or not path.is_dir() or _is_decided(path):
            continue
        number, status, *_ = path.name.split("-")
        try:
            if path.name in {track_folder(int(number), status, name) for name in subject.names}:
                _delete_track(path)
                count += 1
            elif next(path.iterdir(), None) is not None:
                report.remains.append(f"{path}: nothing says who is in its pictures; look, and delete it")
        except OSError as error:
            report.remains.append(f"{path}: {error.strerror}")
    return count


def _is_decided(path: Path) -> bool:
    try:
        return isinstance(msgspec.json.decode((path / "decision.json").read_bytes()), dict)
    except (OSError, ValueError):
        return False


def _run_of(path: Path) -> str:
    """The run of a track's folder."""
    return path.parent.name.rpartition("-")[2]


def _delete_track(path: Path) -> None:
    """Delete a track's folder; what says whose it is goes last, so that whoever is interrupted can go on."""
    for file in path.iterdir():
        if file.name != "decision.json" and not file.is_dir():
            file.unlink(missing_ok=True)
    shutil.rmtree(path)


def _files(places: list[str]) -> Iterator[Path]:
    for place in map(Path, places):
        if place.is_file():
            yield place
        elif place.is_dir():
            yield from sorted(path for path in place.rglob("*") if path.is_file())

"""Erasing a person everywhere: gallery, saved tracklets and journal, with a report that can be checked."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from gaitstream.errors import EventError, GalleryError
from gaitstream.events.codec import plain
from gaitstream.events.erasing import ERASED, mentions
from gaitstream.events.journal import Journal
from gaitstream.events.reading import Reader
from gaitstream.events.segment import Record
from gaitstream.gallery import Gallery
from gaitstream.gallery.base import Reading
from gaitstream.gallery.merged import parts_of, read_merged
from gaitstream.gallery.needles import Needle, find_needles, find_text, make_needles
from gaitstream.gallery.sightings import TrackRef


class ForgetReport(msgspec.Struct, kw_only=True):
    """What was erased and where it was looked for; names nobody.

    Attributes:
        gallery: id of the gallery.
        person: uid.
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

    def forget(self, gallery: Gallery, uid: str, tracks: Iterable[TrackRef] = ()) -> tuple[int, list[str]]:
        """Erase a person, and tracks that are known to be theirs.

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
    """Erase a person from the gallery, and the name from everywhere else.

    The gallery is overwritten even while others read it; journals keep the person's id.

    Args:
        gallery: where the person is known.
        name: of the person.
        places: where else the person may be kept.
        tracks: that are known to show the person, beside those of sightings and journals.

    Raises:
        GalleryError: nobody has the name.
    """
    salt = secrets.token_hex(16)
    with gallery.store.reading() as reading:
        uid, record = gallery.person(reading, name)
        needles = list(_needles(gallery, reading, uid, salt))
        seen = [gallery.vault.sighting(row).track for row in reading.sightings(uid)]
        ids = [uid, *sorted(parts_of(read_merged(reading), uid))]
    report = ForgetReport(gallery=gallery.id, person=uid, time_ns=time.time_ns(), salt=salt, needles=needles)
    with gallery.writing() as writing:
        report.pictures = sum(1 for _ in writing.pictures(uid))
        report.sightings = sum(1 for _ in writing.sightings(uid))
        report.templates = gallery.erase(writing, uid, "forgotten")
    report.remains += gallery.store.purge()
    for folder in places.tracklets:
        report.tracklets += _forget_tracklets(folder, ids, record.name)
    seen += [*tracks, *(track for folder in places.journals for track in tracks_named(folder, ids))]
    for place in places.evidence:
        count, remains = place.forget(gallery, uid, seen)
        report.evidence += count
        report.remains += remains
    for folder in places.journals:
        try:
            report.events += forget_in_journal(folder, ids, record.name)
        except EventError as error:
            report.remains.append(f"{folder}: {error}")
    files = [str(path) for path in gallery.store.files()]
    folders = (*places.journals, *places.tracklets, *(place.path for place in places.evidence))
    report.places = [*files, *(str(path.resolve()) for path in folders)]
    report.remains += check_forgotten(report, record.name)
    return report


def check_forgotten(report: ForgetReport, name: str | None = None) -> list[str]:
    """Search every file of a report's places for what was erased, and for a name; a line for each find."""
    files = list(_files(report.places))
    found = find_needles(files, report.needles, report.salt)
    return found + (find_text(files, name) if name else [])


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
    except (OSError, msgspec.DecodeError) as error:
        raise GalleryError(f"{path} is no report of 'gaitstream gallery forget' ({error})") from error


def forget_in_journal(folder: Path, ids: Collection[str], name: str) -> int:
    """Take a name out of a journal's events; the person's id stays. Returns how many events changed.

    Events are known by the id, or that of somebody who was merged into the person; older ones, which have
    none, by the name.

    Raises:
        EventError: another process writes the journal, or there is no room.
    """
    if not folder.is_dir():
        raise EventError("there is no such journal")
    journal = Journal(folder)
    try:
        return journal.rewrite(lambda record: without_name(record, ids, name))
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


def without_name(record: Record, ids: Collection[str], name: str) -> bytes:
    """An event's payload without a person's name."""
    if not mentions(record.payload, tuple(text.encode() for text in (name, *ids))):
        return record.payload
    try:
        data = plain(record.payload)
    except EventError:
        return record.payload
    changed = _without(data, ids, name)
    if changed == data:
        return record.payload
    encode = msgspec.json.encode if record.payload[:1] == b"{" else msgspec.msgpack.encode
    return encode(changed)


def _without(data: dict[str, Any], ids: Collection[str], name: str) -> dict[str, Any]:
    """An event without a person's name; the first of the ids is the person's own."""
    changed = dict(data)
    if changed.get("person") == name or changed.get("person_id") in ids:
        changed["person"] = None
        changed["person_id"] = changed.get("person_id") or next(iter(ids))
    candidates, listed = changed.get("candidates"), changed.get("candidate_ids")
    if isinstance(candidates, list):
        known = listed if isinstance(listed, list) else []
        named = [len(known) > index and known[index] in ids for index in range(len(candidates))]
        changed["candidates"] = [
            [ERASED, *one[1:]] if isinstance(one, list) and one and (theirs or one[0] == name) else one
            for one, theirs in zip(candidates, named, strict=True)
        ]
    return changed


def _needles(gallery: Gallery, reading: Reading, uid: str, salt: str) -> Iterator[Needle]:
    row = reading.person(uid)
    if row is not None and gallery.encrypted:  # in clear it looks like everybody's but for the name
        yield from make_needles("the person's record", row.record, salt)
    for template in reading.templates(person=uid):
        what = f"template {template.number}"
        yield from make_needles(what, template.data, salt)
        if gallery.encrypted:
            plain_data = gallery.sealer.open(template.data, f"template/{uid}/{template.model}")
            yield from make_needles(f"{what}, in clear", plain_data, salt)
    for sighting in reading.sightings(uid):
        what = f"sighting {sighting.number}"
        yield from make_needles(what, sighting.data, salt)
        if gallery.encrypted:
            opened = gallery.vault.sighting(sighting)
            for kept in opened.windows.values():
                yield from make_needles(f"{what}, in clear", kept.data, salt)
    for picture in reading.pictures(uid):
        what = f"picture {picture.number}"
        yield from make_needles(what, picture.data, salt)
        if gallery.encrypted:
            yield from make_needles(f"{what}, in clear", gallery.vault.picture(picture), salt)


def _forget_tracklets(folder: Path, ids: Collection[str], name: str) -> int:
    """Delete the folders of a person's tracks, and take the name out of the others' candidates."""
    count = 0
    for file in sorted(folder.rglob("decision.json")):
        try:
            data = msgspec.json.decode(file.read_bytes())
        except (OSError, msgspec.DecodeError):
            continue
        if not isinstance(data, dict):
            continue
        if data.get("person") == name or data.get("person_id") in ids:
            shutil.rmtree(file.parent)
            count += 1
            continue
        changed = _without(data, ids, name)
        if changed != data:
            file.write_bytes(msgspec.json.format(msgspec.json.encode(changed), indent=2))
    return count


def _files(places: list[str]) -> Iterator[Path]:
    for place in map(Path, places):
        if place.is_file():
            yield place
        elif place.is_dir():
            yield from sorted(path for path in place.rglob("*") if path.is_file())

"""Somebody who is forgotten leaves no picture: not in kept tracks, not in the last minutes."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream.cli import main
from gaitstream.errors import GalleryError
from gaitstream.events import IdentityFinal, Journal
from gaitstream.events.codec import encode
from gaitstream.evidence import forgetting, recent
from gaitstream.evidence.folder import SealedFolder
from gaitstream.evidence.forgetting import KeptEvidence, places_of
from gaitstream.evidence.reading import EvidenceReader
from gaitstream.evidence.recent import RecentPieces
from gaitstream.evidence.records import RecentFrame, RecentPerson, TrackKey
from gaitstream.evidence.sealed_file import append_sealed, erase_file
from gaitstream.gallery import Gallery
from gaitstream.gallery.editing import merge, split
from gaitstream.gallery.sealing import Sealer
from gaitstream.pipeline.forget import Places, check_places, forget
from tests.evidence.conftest import Told


def test_forgetting_deletes_what_shows_the_person_and_leaves_the_others(
    told: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = told.site
    hers = [event for event in site.finals() if event.person_id == told.ada]
    others = [
        event
        for event in site.finals()
        if event.person_id is None and told.ada not in site.evidence(event).about
    ]
    assert hers
    assert others
    report = tmp_path / "report.json"
    command = ["gallery", "forget", "Ada Lovelace", "--cameras", str(site.path), "--report", str(report)]
    assert main([*command, "--journal", str(site.folder / "cams.journal")]) == 0
    said = capsys.readouterr().out
    assert f"evidence of {len({event.track for event in hers})} tracks" in said
    for event in hers:
        assert site.reader.of(event) is None
    for event in others:
        assert site.reader.of(event) is not None
    people = [person for frame in site.reader.recent("gate") for person in frame.people]
    assert told.ada not in {person.person_id for person in people}
    check = [
        "gallery",
        "verify",
        "--gallery",
        str(site.folder / "people.gallery"),
        "--forgotten",
        str(report),
    ]
    assert main([*check, "--name", "Ada Lovelace"]) == 0


def test_what_cannot_be_opened_is_said_to_remain(told: Told) -> None:
    files = list(told.site.reader.files.track_files())
    files[0].write_bytes(b"GSEVID1\n" + b"\x05\0\0\0wrong")
    with told.site.gallery() as gallery:
        report = forget(gallery, "Ada Lovelace", Places(evidence=places_of(told.site.config, told.site.path)))
    assert [line for line in report.remains if "cannot be opened" in line] == [
        f"{files[0]}: cannot be opened"
    ]
    assert str(told.site.folder / "cams.evidence") in report.places


def test_a_person_who_was_near_enough_is_taken_for_the_one_in_the_pictures(told: Told) -> None:
    [event, *_] = told.site.finals(person="Ada Lovelace")
    with told.site.gallery() as gallery:
        folder = SealedFolder.of(told.site.folder / "cams.evidence", gallery)
        key = TrackKey(event.camera, event.run, event.track)
        evidence, embeddings, pictures = folder.read_all(key)
        doubtful = tuple(
            msgspec.structs.replace(one, status="ambiguous", person_id=None) for one in evidence.decisions
        )
        folder.write(msgspec.structs.replace(evidence, decisions=doubtful), embeddings, pictures)
        count, remains = KeptEvidence(folder.folder.path).forget(gallery, [told.ada])
    assert remains == []
    assert count >= 1
    assert told.site.reader.of(event) is None


Floats = NDArray[np.float32]
S_NS = 10**9
BOX = (10.0, 100.0, 50.0, 220.0)
BLACK = np.zeros((36, 64, 3), np.uint8)
_Seen = Callable[[int], tuple[RecentPerson, ...]]


def keep_seconds(
    reader: EvidenceReader, camera: str, seen: _Seen, run: str = "run-1", seconds: int = 20
) -> RecentPieces:
    """Keep a picture a second of whoever is seen in it."""
    pieces = RecentPieces(5)
    for second in range(seconds):
        record = RecentFrame(second * S_NS, 640, 360, seen(second), run)
        pieces.add(reader.folder, camera, np.full((36, 64, 3), second, np.uint8), record)
    return pieces


def forget_ada(told: Told) -> list[str]:
    with told.site.gallery() as gallery:
        places = places_of(told.site.config, told.site.path)
        return forget(gallery, "Ada Lovelace", Places(evidence=places)).remains


@pytest.mark.parametrize("run", ["run-1", ""])
def test_pictures_from_before_a_track_was_named_go_and_those_without_it_stay(told: Told, run: str) -> None:
    def seen(second: int) -> tuple[RecentPerson, ...]:
        named = second >= 12
        hers = RecentPerson(77, BOX, "known" if named else None, told.ada if named else None)
        another = RecentPerson(78, BOX, "unknown", None, "below_threshold")
        return (another, *([hers] if second >= 6 else []))

    keep_seconds(told.site.reader, "yard", seen, run)
    assert forget_ada(told) == []
    reader = told.site.reader
    left = reader.recent("yard")
    assert [frame.time_ns // S_NS for frame in left] == list(range(6))
    assert reader.recent_picture("yard", 3 * S_NS).data[:3] == b"\xff\xd8\xff"


def test_the_same_number_in_another_run_or_on_another_camera_is_somebody_else(told: Told) -> None:
    def hers(_: int) -> tuple[RecentPerson, ...]:
        return (RecentPerson(5, BOX, "known", told.ada),)

    def others(_: int) -> tuple[RecentPerson, ...]:
        return (RecentPerson(5, BOX),)

    reader = told.site.reader
    keep_seconds(reader, "yard", hers, seconds=3)
    keep_seconds(reader, "hall", others, seconds=3)
    keep_seconds(reader, "roof", hers, seconds=3)
    folder = reader.folder
    pieces = RecentPieces(5)
    pieces.add(
        folder, "roof", np.zeros((36, 64, 3), np.uint8), RecentFrame(99 * S_NS, 64, 36, others(0), "run-2")
    )
    assert forget_ada(told) == []
    assert reader.recent("yard") == []
    assert len(reader.recent("hall")) == 3
    assert [frame.run for frame in reader.recent("roof")] == ["run-2"]


def test_whose_evidence_shows_the_person_leaves_the_last_minutes_as_well(told: Told) -> None:
    event = next(one for one in told.site.finals() if one.person_id == told.ada)

    def seen(_: int) -> tuple[RecentPerson, ...]:
        return (RecentPerson(event.track, BOX),)

    keep_seconds(told.site.reader, event.camera, seen, event.run, seconds=3)
    assert forget_ada(told) == []
    left = told.site.reader.recent(event.camera)
    assert not [
        one for frame in left if frame.run == event.run for one in frame.people if one.track == event.track
    ]


def test_a_track_that_only_the_journal_names_is_erased_from_the_last_minutes(
    told: Told, tmp_path: Path
) -> None:
    named = IdentityFinal(
        run="run-9", time_ns=S_NS, first_ns=0, camera="yard", track=4, status="known", person="Ada Lovelace",
        person_id=told.ada, frames=9, windows=1,
    )  # fmt: skip
    with closing(Journal(tmp_path / "journal")) as journal:
        journal.append(named.topic, encode(named))
    keep_seconds(told.site.reader, "yard", lambda _: (RecentPerson(4, BOX),), "run-9", seconds=3)
    with told.site.gallery() as gallery:
        places = Places((tmp_path / "journal",), evidence=places_of(told.site.config, told.site.path))
        forget(gallery, "Ada Lovelace", places)
    assert told.site.reader.recent("yard") == []


def test_who_writes_the_last_minutes_goes_on_after_somebody_was_erased(told: Told) -> None:
    reader = told.site.reader
    pieces = keep_seconds(reader, "yard", lambda _: (RecentPerson(5, BOX, "known", told.ada),), seconds=3)
    assert forget_ada(told) == []
    pieces.add(
        reader.folder, "yard", np.zeros((36, 64, 3), np.uint8), RecentFrame(4 * S_NS, 64, 36, (), "run-1")
    )
    assert [frame.time_ns for frame in reader.recent("yard")] == [4 * S_NS]


def test_nothing_is_added_to_a_piece_that_was_erased_between_two_values(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def append(path: Path, value: bytes, sealer: Sealer, place: str, number: int) -> None:
        append_sealed(path, value, sealer, place, number)
        if number == 0 and not erased:
            erased.append(path)
            erase_file(path)

    erased: list[Path] = []
    monkeypatch.setattr(recent, "append_sealed", append)
    keep_seconds(told.site.reader, "yard", lambda _: (), seconds=2)
    assert erased
    assert [frame.time_ns for frame in told.site.reader.recent("yard")] == [0, S_NS]


def test_what_a_run_keeps_says_whose_tracks_they_are(told: Told) -> None:
    runs = {event.run for event in told.site.finals()}
    assert {frame.run for frame in told.site.reader.recent("gate")} <= runs


def test_evidence_from_before_somebody_was_merged_goes_with_whom_they_were_merged_into(told: Told) -> None:
    site = told.site
    event = next(one for one in site.finals() if one.person_id == told.ada)
    with site.gallery() as gallery:
        gallery.enroll("Ada L.", *_as(gallery))
        merge(gallery, "Ada L.", "Ada Lovelace")
        report = forget(gallery, "Ada L.", Places(evidence=places_of(site.config, site.path)))
    assert report.remains == []
    assert site.reader.of(event) is None
    shown = {one.person_id for frame in site.reader.recent("gate") for one in frame.people}
    assert told.ada not in shown


def test_evidence_of_who_was_split_off_again_stays(told: Told) -> None:
    site = told.site
    event = next(one for one in site.finals() if one.person_id == told.ada)
    with site.gallery() as gallery:
        with gallery.store.reading() as reading:
            hers = [row.number for row in reading.templates(person=told.ada)]
        gallery.enroll("Bob Bemer", *_as(gallery))
        merge(gallery, "Bob Bemer", "Ada Lovelace")
        split(gallery, "Bob Bemer", hers, "Ada Lovelace")
        forget(gallery, "Bob Bemer", Places(evidence=places_of(site.config, site.path)))
        assert site.reader.of(event) is not None
        forget(gallery, "Ada Lovelace", Places(evidence=places_of(site.config, site.path)))
    assert site.reader.of(event) is None


def test_what_a_killed_process_had_not_finished_is_erased(told: Told) -> None:
    reader = told.site.reader
    [event, *_] = told.site.finals(person="Ada Lovelace")
    hers = reader.files.track_file(TrackKey(event.camera, event.run, event.track))
    another = next(path for path in reader.files.track_files() if path.parent != hers.parent)
    unfinished = hers.with_name(f".{hers.name}.0a1b2c3d.part")
    shutil.copy(hers, unfinished)
    others = another.with_name(f".{another.name}.0a1b2c3d.part")
    others.write_bytes(another.read_bytes()[:-100])
    rest = reader.files.recent_folder("gate") / ".123-0a1b2c3d.frames.4e5f6a7b.part"
    rest.write_bytes(b"pictures of others, whom a kill kept from being written")
    half, begun = reader.files.recent_folder("gate") / "5-1.frames", hers.with_name("77.evidence")
    half.write_bytes(bytes(100) + b"what had not been overwritten yet")
    begun.touch()
    assert forget_ada(told) == []
    assert not unfinished.exists()
    assert not rest.exists()
    assert not half.exists()
    assert not begun.exists()
    assert others.exists()


def test_one_file_that_cannot_be_erased_keeps_no_other(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def erase(path: Path) -> None:
        if path == locked:
            raise PermissionError(errno.EACCES, "Permission denied")
        erase_file(path)

    reader = told.site.reader
    [event, *_] = told.site.finals(person="Ada Lovelace")
    key = TrackKey(event.camera, event.run, event.track)
    locked = reader.files.track_file(key)
    evidence, *rest = reader.folder.read_all(key)
    more = TrackKey("zoo", event.run, event.track)  # comes after it
    reader.folder.write(msgspec.structs.replace(evidence, key=more), *rest)
    keep_seconds(reader, "yard", lambda _: (RecentPerson(5, BOX, "known", told.ada),), seconds=3)
    (reader.files.path / "recent" / "@eaDir").mkdir()  # as some machines make them anywhere
    monkeypatch.setattr(forgetting, "erase_file", erase)
    assert forget_ada(told) == [f"{locked}: cannot be erased (Permission denied)"]
    assert not reader.files.track_file(more).exists()
    assert reader.recent("yard") == []


def test_what_cannot_be_deleted_keeps_nothing_else_beyond_its_time(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    files = told.site.reader.files
    (files.path / "recent" / "@eaDir").mkdir()
    blocked = files.path / "tracks" / "gate" / "a0" / "0" / "0.evidence"
    blocked.mkdir(parents=True)
    (blocked / "file").touch()
    there = len(list(files.track_files())) - 1
    later_s = time.time() + 40 * 86_400
    assert files.sweep(told.site.config.evidence, lambda: later_s) == there
    assert list(files.track_files()) == [blocked]
    assert files.recent_files("gate") == []
    assert f"{blocked} is past its time and cannot be deleted" in caplog.text


def test_a_file_that_may_not_be_written_is_deleted_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    path = tmp_path / "1.evidence"
    path.write_bytes(b"sealed")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError):
        erase_file(path)
    assert not path.exists()


def _as(gallery: Gallery) -> tuple[str, str, Floats]:
    """Model, fingerprint and templates of somebody else."""
    with gallery.store.reading() as reading:
        [model] = reading.models()
    templates = np.random.default_rng(1).normal(size=(2, model.parts, model.dim))
    return model.name, model.fingerprint, templates.astype(np.float32)


def test_what_is_no_folder_of_evidence_is_refused(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    """As the site's folder in place of the one in it: nothing would be found, and all seem done."""
    where = ["--gallery", str(told.site.folder / "people.gallery")]
    wrong = ["--evidence", str(told.site.folder)]
    assert main(["gallery", "forget", "Ada Lovelace", *where, *wrong]) == 1
    assert "is no folder of evidence" in capsys.readouterr().err
    assert [event for event in told.site.finals() if event.person_id == told.ada]
    right = ["--evidence", str(told.site.folder / "cams.evidence")]
    assert main(["gallery", "forget", "Ada Lovelace", *where, *right]) == 0


def test_a_place_that_cannot_be_looked_into_is_refused(tmp_path: Path) -> None:
    """Its files would seem not to be there."""
    for number, places in enumerate(
        (
            Places(evidence=(KeptEvidence(tmp_path / "0"),)),
            Places(tracklets=(tmp_path / "1",)),
            Places(journals=(tmp_path / "2",)),
        )
    ):
        folder = tmp_path / str(number)
        (folder / "tracks").mkdir(parents=True)
        folder.chmod(0)
        tmp_path.chmod(0o755)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(GalleryError, match=r"cannot be looked into .*Nobody was erased"):
                check_places(places)
        finally:
            os.seteuid(user)
            folder.chmod(0o700)

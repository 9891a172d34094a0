"""Somebody who is forgotten is in no file any more, whoever reads meanwhile; and a report can show it."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import msgspec
import numpy as np
import pytest

from gaitstream.cli import main
from gaitstream.errors import GalleryError
from gaitstream.events import IdentityFinal, Journal, TrackEnded
from gaitstream.events.codec import Wire, decode, encode
from gaitstream.gallery import Gallery
from gaitstream.gallery.audit import read_audit
from gaitstream.gallery.base import Writing
from gaitstream.gallery.editing import merge, rename, split
from gaitstream.gallery.needles import WINDOW, find_needles, find_text, make_needles
from gaitstream.gallery.rekeying import rekey
from gaitstream.gallery.retention import DAY_NS, RetentionRules, sweep
from gaitstream.gallery.transfer import copy, export
from gaitstream.gallery.verifying import verify
from gaitstream.pipeline.forget import (
    Places,
    check_forgotten,
    forget,
    read_report,
    write_report,
)
from tests.gallery.filled import FULL_NAMES, PICTURE, content, fill, walks
from tests.gallery.walking import note, sighting


@pytest.fixture(params=["none", None], ids=["plain", "encrypted"])
def gallery(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gallery]:
    with Gallery(tmp_path / "people.gallery", create=True, key=request.param) as made:
        fill(made, FULL_NAMES)
        yield made


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_nothing_of_the_person_is_left(gallery: Gallery, tmp_path: Path) -> None:
    report = forget(gallery, "Bob Bemer", Places())
    assert report.remains == []
    assert (report.templates, report.pictures) == (3, 1)
    left = everything(tmp_path)
    for secret in (b"Bob Bemer", walks(1)[0].tobytes()[:WINDOW], PICTURE + b"Bob Bemer"):
        assert secret not in left
    assert [entry.name for entry in gallery.persons()] == ["Ada Lovelace", "Cyd Charisse"]
    assert verify(gallery) == []
    assert b"Bob Bemer" not in msgspec.json.encode(report)


def test_a_reader_in_a_transaction_keeps_nothing_on_the_disk(gallery: Gallery, tmp_path: Path) -> None:
    path = tmp_path / "people.gallery"
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM template").fetchone() == (9,)
    report = forget(gallery, "Bob Bemer", Places())
    assert report.remains == []
    left = everything(tmp_path)
    for secret in (b"Bob Bemer", walks(1)[2].tobytes()[-WINDOW:]):
        assert secret not in left
    assert reader.execute("SELECT count(*) FROM template").fetchone() == (9,)  # its own moment
    reader.close()
    gallery.enroll("Dan", "gaitheat", "a" * 64, walks(8))
    with Gallery(path, key=None if gallery.encrypted else "none") as other:
        assert [entry.name for entry in other.persons()] == ["Ada Lovelace", "Cyd Charisse", "Dan"]
        assert verify(other) == []


def test_a_copy_that_was_never_completed_keeps_nobody(gallery: Gallery, tmp_path: Path) -> None:
    """A process that erased somebody else was killed while it wrote the copy that was to replace the file."""
    for part in ("", "-journal"):
        fresh = tmp_path / f"people.gallery.fresh{part}"
        shutil.copy(tmp_path / "people.gallery", fresh)
    report = forget(gallery, "Bob Bemer", Places())
    assert report.remains == []
    assert not list(tmp_path.glob("*.fresh*"))


def test_a_file_with_any_name_is_searched(tmp_path: Path) -> None:
    with Gallery(tmp_path / "site[1].gallery", create=True, key="none") as gallery:
        fill(gallery, FULL_NAMES)
        report = forget(gallery, "Bob Bemer", Places())
    assert str(tmp_path / "site[1].gallery") in report.places


def test_who_was_merged_into_somebody_else_meanwhile_is_not_said_to_be_erased(
    gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process is quicker by the moment between looking and erasing."""
    own = gallery.writing

    def after_a_merge() -> AbstractContextManager[Writing]:
        monkeypatch.undo()
        with Gallery(tmp_path / "people.gallery", key=None if gallery.encrypted else "none") as other:
            merge(other, "Ada Lovelace", "Bob Bemer")
        return own()

    monkeypatch.setattr(gallery, "writing", after_a_merge)
    with pytest.raises(GalleryError, match="'Bob Bemer' is not in"):
        forget(gallery, "Bob Bemer", Places())
    assert [entry.name for entry in gallery.persons()] == ["Ada Lovelace", "Cyd Charisse"]


@pytest.mark.parametrize("what", ["template", "picture", "sighting"])
def test_who_is_damaged_is_forgotten(gallery: Gallery, tmp_path: Path, what: str) -> None:
    [uid] = [entry.uid for entry in gallery.persons() if entry.name == "Bob Bemer"]
    note(gallery, sighting(1, 1, known=uid))
    with closing(sqlite3.connect(tmp_path / "people.gallery")) as db:
        of_bob = "person = (SELECT id FROM person WHERE uid = ?)"
        db.execute(f"UPDATE {what} SET data = zeroblob(500) WHERE {of_bob}", (uid,))
        db.commit()
    report = forget(gallery, "Bob Bemer", Places())
    assert (report.templates, report.pictures, report.sightings) == (3, 1, 1)
    told = ["sighting 1 was damaged, and is erased: evidence of its track may be left"]
    assert report.remains == (told if what == "sighting" else [])
    assert verify(gallery) == []


def damage_record(folder: Path, uid: str) -> None:
    with closing(sqlite3.connect(folder / "people.gallery")) as db:
        db.execute("UPDATE person SET record = zeroblob(80) WHERE uid = ?", (uid,))
        db.commit()


def test_a_damaged_record_keeps_nobody_from_being_erased(gallery: Gallery, tmp_path: Path) -> None:
    ada, bob, cyd = [entry.uid for entry in gallery.persons()]
    damage_record(tmp_path, bob)
    assert forget(gallery, "Ada Lovelace", Places()).remains == []
    assert len(sweep(gallery, RetentionRules(person_days=1), time.time_ns() + 2 * DAY_NS).persons) == 1
    with gallery.store.reading() as reading:
        assert [row.uid for row in reading.persons()] == [bob]
        assert {line.person for _, line in read_audit(reading, gallery.sealer)} == {ada, bob, cyd}


def test_whose_record_is_damaged_is_forgotten_by_the_id(gallery: Gallery, tmp_path: Path) -> None:
    [_, bob, _] = [entry.uid for entry in gallery.persons()]
    damage_record(tmp_path, bob)
    with pytest.raises(GalleryError, match=f"gallery forget {bob}"):
        forget(gallery, "Bob Bemer", Places())
    report = forget(gallery, bob, Places())
    assert report.templates == 3
    assert report.remains == [f"no name of {bob} is known, and none was searched for"]
    assert [entry.name for entry in gallery.persons()] == ["Ada Lovelace", "Cyd Charisse"]
    assert verify(gallery) == []


def test_a_replacement_that_was_cut_short_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "people.gallery"
    with Gallery(path, create=True, key="none") as gallery:
        fill(gallery, FULL_NAMES)
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM template").fetchone()

        def dies(_: Path) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr("gaitstream.gallery.rewrite.finish_rewrite", dies)
            with pytest.raises(KeyboardInterrupt):
                gallery.remove("Bob Bemer")
        reader.close()
    assert (tmp_path / "people.gallery.swap").exists()
    with Gallery(path, key="none") as gallery:
        assert sorted(content(gallery)) == ["Ada Lovelace", "Cyd Charisse"]
        assert verify(gallery) == []
    assert not (tmp_path / "people.gallery.swap").exists()
    assert b"Bob Bemer" not in everything(tmp_path)


@pytest.mark.parametrize("wire", ["json", "msgpack"])
def test_the_journal_keeps_the_id_and_loses_the_name(gallery: Gallery, tmp_path: Path, wire: Wire) -> None:
    uid = next(entry.uid for entry in gallery.persons() if entry.name == "Bob Bemer")
    events = [
        IdentityFinal(
            time_ns=1, camera="gate", track=1, status="known", person="Bob Bemer", person_id=uid,
            candidates=(("Bob Bemer", 0.2), ("Ada Lovelace", 0.7)),
        ),
        IdentityFinal(
            time_ns=2, camera="gate", track=2, status="known", person="Ada Lovelace", person_id="x",
            candidates=(("Ada Lovelace", 0.1), ("Bob Bemer", 0.7)),
        ),
        TrackEnded(
            time_ns=3, camera="gate", track=1, cause="lost", first_ns=1, seen=3, accepted=3, outcome="known",
            person="Bob Bemer",
        ),
    ]  # fmt: skip
    folder = tmp_path / "journal"
    journal = Journal(folder)
    for event in events:
        journal.append(event.topic, encode(event, wire))
    journal.close()
    report = forget(gallery, "Bob Bemer", Places(journals=(folder,)))
    assert (report.events, report.remains) == (3, [])
    assert b"Bob Bemer" not in everything(folder)
    journal = Journal(folder)
    first, second, third = (decode(record.payload) for record in journal.read())
    journal.close()
    assert isinstance(first, IdentityFinal)
    assert isinstance(second, IdentityFinal)
    assert isinstance(third, TrackEnded)
    assert (first.person, first.person_id, first.status) == (None, uid, "known")
    assert [name for name, _ in first.candidates] == ["erased", "Ada Lovelace"]
    assert (second.person, [name for name, _ in second.candidates]) == (
        "Ada Lovelace",
        ["Ada Lovelace", "erased"],
    )
    assert (third.person, third.person_id) == (None, uid)


def test_saved_tracks_of_the_person_go_and_others_lose_the_name(gallery: Gallery, tmp_path: Path) -> None:
    folder = tmp_path / "tracks"
    for track, person in (("1-known-Bob Bemer", "Bob Bemer"), ("2-known-Ada Lovelace", "Ada Lovelace")):
        (folder / "gate" / track).mkdir(parents=True)
        (folder / "gate" / track / "1.jpg").write_bytes(b"jpeg")
        said = {"person": person, "candidates": [["Ada Lovelace", 0.2], ["Bob Bemer", 0.9]]}
        (folder / "gate" / track / "decision.json").write_bytes(msgspec.json.encode(said))
    report = forget(gallery, "bob bemer", Places(tracklets=(folder,)))
    assert (report.tracklets, report.remains) == (1, [])
    assert [path.name for path in (folder / "gate").iterdir()] == ["2-known-Ada Lovelace"]
    assert b"Bob Bemer" not in everything(folder)


def saved(folder: Path, name: str, said: object = None) -> Path:
    """A track's folder as `--save-tracklets` leaves it; without a decision as a full disk did."""
    track = folder / "gate" / "20261128T100000Z-ab12cd" / name
    track.mkdir(parents=True)
    (track / "00000001.jpg").write_bytes(b"jpeg")
    if said is not None:
        (track / "decision.json").write_bytes(said if isinstance(said, bytes) else msgspec.json.encode(said))
    return track


def test_a_track_that_was_somebody_elses_in_the_end_goes_where_an_event_gave_it_to_them(
    gallery: Gallery, tmp_path: Path
) -> None:
    """As its evidence does: the pictures are of whoever the camera took for the person."""
    event = IdentityFinal(
        time_ns=1, camera="gate", track=7, run="ab12cd", status="known", person="Bob Bemer",
        person_id=uids(gallery)["Bob Bemer"],
    )  # fmt: skip
    journal = Journal(tmp_path / "journal")
    journal.append(event.topic, encode(event, "json"))
    journal.close()
    said: dict[str, object] = {"camera": "gate", "status": "unknown", "person": None, "person_id": None}
    theirs = saved(tmp_path / "tracks", "00007-unknown", said | {"track": 7})
    other = saved(tmp_path / "tracks", "00008-unknown", said | {"track": 8})
    places = Places(tracklets=(tmp_path / "tracks",), journals=(tmp_path / "journal",))
    report = forget(gallery, "Bob Bemer", places)
    assert (report.tracklets, report.remains) == (1, [])
    assert (theirs.exists(), other.exists()) == (False, True)


@pytest.mark.parametrize(
    "said", [None, b"", b'{"person": "Bo', b'{"person": "\xff"}'], ids=["none", "empty", "cut off", "no text"]
)
def test_pictures_without_a_decision_are_deleted_or_told(
    gallery: Gallery, tmp_path: Path, said: bytes | None
) -> None:
    theirs = saved(tmp_path / "tracks", "00001-known-Bob_Bemer", said)
    unclear = saved(tmp_path / "tracks", "00002-unknown", said)
    report = forget(gallery, "Bob Bemer", Places(tracklets=(tmp_path / "tracks",)))
    assert report.tracklets == 1
    assert not theirs.exists()
    assert [line for line in report.remains if str(unclear) in line and "look, and delete it" in line]


def test_others_decisions_survive_a_disk_that_is_full(
    gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [uids(gallery)[name] for name in ("Ada Lovelace", "Bob Bemer")]
    near = [["Ada Lovelace", 0.2], ["Bob Bemer", 0.9]]
    said = {"person": "Ada Lovelace", "person_id": ids[0], "candidates": near, "candidate_ids": ids}
    other = saved(tmp_path / "tracks", "00002-known-Ada_Lovelace", said) / "decision.json"
    monkeypatch.setattr("gaitstream.events.durable.os.fsync", _no_room)
    report = forget(gallery, "Bob Bemer", Places(tracklets=(tmp_path / "tracks",)))
    monkeypatch.undo()
    assert any("No space left" in line for line in report.remains)
    assert msgspec.json.decode(other.read_bytes()) == said
    report = forget(gallery, report.person, Places(tracklets=(tmp_path / "tracks",)))
    assert (report.remains, "Bob Bemer" in other.read_text()) == ([], False)


def _no_room(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_remains_is_told(gallery: Gallery, tmp_path: Path) -> None:
    (tmp_path / "tracks").mkdir()
    copy = tmp_path / "tracks" / "a copy of the gallery"
    copy.write_bytes(b"".join((tmp_path / f"people.gallery{end}").read_bytes() for end in ("", "-wal")))
    report = forget(
        gallery, "Bob Bemer", Places(tracklets=(tmp_path / "tracks",), journals=(tmp_path / "no",))
    )
    assert any(str(copy) in line and "template" in line for line in report.remains)
    assert any("there is no such journal" in line for line in report.remains)
    copy.unlink()
    assert check_forgotten(report, "Bob Bemer") == []


def test_a_report_is_checked_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, report = str(tmp_path / "people.gallery"), str(tmp_path / "report.json")
    with Gallery(path, create=True) as gallery:
        fill(gallery, FULL_NAMES)
        with gallery.store.reading() as reading:
            sealed = next(row.data for row in reading.templates())
    assert main(["gallery", "forget", "Ada Lovelace", "--gallery", path, "--report", report]) == 0
    said = capsys.readouterr().out
    assert "3 templates, 1 pictures" in said
    check = ["gallery", "verify", "--gallery", path, "--forgotten", report, "--name", "Ada Lovelace"]
    assert main(check) == 0
    assert "nothing found" in capsys.readouterr().out
    with Path(path).open("ab") as file:
        file.write(b"slack" + sealed)
    assert main(check) == 1
    assert "template 1" in capsys.readouterr().out
    kept = read_report(Path(report))
    with pytest.raises(Exception, match="cannot be written"):
        write_report(kept, Path(report))


def test_needles_are_found_wherever_they_lie(tmp_path: Path) -> None:
    data = walks(5)[0].tobytes()
    needles = make_needles("template", data, "salt")
    assert len(needles) == 3
    assert make_needles("short", b"x" * 23, "salt") == []
    for offset in (0, 1, 2, 3, (1 << 22) - 60):
        file = tmp_path / f"at {offset}"
        file.write_bytes(bytes(offset) + data + b"rest")
        assert len(find_needles([file], needles, "salt")) == 3
        assert find_needles([file], needles, "pepper") == []
    clean = tmp_path / "clean"
    clean.write_bytes(walks(6)[0].tobytes())
    assert find_needles([clean, tmp_path / "gone"], needles, "salt") == []
    clean.write_bytes(bytes((1 << 22) - 1) + "Ädä".encode())
    assert find_text([clean], "Ädä") == [f"{clean}: the name"]


def test_a_short_name_in_sealed_data_is_chance_and_in_text_is_not(tmp_path: Path) -> None:
    noise = np.random.default_rng(5).bytes(1 << 20)
    for number, told in enumerate(
        (b'{"person":"Ada","distance":0.41}', b"\xa6person\xa3Ada\xa8distance\xcb")
    ):
        (tmp_path / f"text-{number}").write_bytes(noise + 9 * told + noise)
    sealed = tmp_path / "sealed"
    sealed.write_bytes(noise + b"Ada" + noise + b"Bela Marek" + noise)
    assert find_text([sealed], "Ada") == []
    assert len(find_text([sealed], "Bela Marek")) == 1
    assert len(find_text(sorted(tmp_path.glob("text-*")), "Ada")) == 2


def uids(gallery: Gallery) -> dict[str, str]:
    return {entry.name: entry.uid for entry in gallery.persons()}


def seen(folder: Path, people: dict[str, str]) -> Places:
    """A journal with an event about each person, and a saved track of each."""
    journal = Journal(folder / "journal")
    for number, (name, uid) in enumerate(sorted(people.items())):
        event = IdentityFinal(
            time_ns=number, camera="gate", track=number, status="known", person=name, person_id=uid,
            candidates=tuple((one, 0.2) for one in people), candidate_ids=tuple(people.values()),
        )  # fmt: skip
        journal.append(event.topic, encode(event, "json"))
        track = folder / "tracks" / "gate" / f"{number}-known-{name}"
        track.mkdir(parents=True)
        said = {"person": name, "person_id": uid, "candidates": event.candidates}
        (track / "decision.json").write_bytes(
            msgspec.json.encode(said | {"candidate_ids": event.candidate_ids})
        )
    journal.close()
    return Places(journals=(folder / "journal",), tracklets=(folder / "tracks",))


def names_left(folder: Path, names: tuple[str, ...] = FULL_NAMES) -> list[str]:
    kept = [everything(folder / "journal"), everything(folder / "tracks")]
    kept.append("".join(str(path) for path in (folder / "tracks").rglob("*")).encode())
    return [name for name in names if any(name.encode() in one for one in kept)]


def merged_twice(gallery: Gallery) -> None:
    merge(gallery, "Bob Bemer", "Cyd Charisse")
    merge(gallery, "Ada Lovelace", "Bob Bemer")


def test_those_who_were_merged_are_forgotten_with_the_person(gallery: Gallery, tmp_path: Path) -> None:
    before = uids(gallery)
    places = seen(tmp_path, before)
    merged_twice(gallery)
    report = forget(gallery, "Ada Lovelace", places)
    assert (report.remains, report.tracklets, report.events) == ([], 3, 3)
    assert sorted([report.person, *report.merged]) == sorted(before.values())
    assert names_left(tmp_path) == []


def test_a_name_that_cannot_be_erased_is_told_though_it_was_merged(gallery: Gallery, tmp_path: Path) -> None:
    (tmp_path / "tracks").mkdir()
    (tmp_path / "tracks" / "notes.txt").write_text("Cyd Charisse was here")
    merged_twice(gallery)
    report = forget(gallery, "Ada Lovelace", Places(tracklets=(tmp_path / "tracks",)))
    assert report.remains == [f"{tmp_path / 'tracks' / 'notes.txt'}: the name"]


@pytest.mark.parametrize("way", ["copy", "export", "rekey", "into another of the name"])
def test_merged_people_are_known_after_moves(gallery: Gallery, tmp_path: Path, way: str) -> None:
    places = seen(tmp_path, uids(gallery))
    merged_twice(gallery)
    target = gallery
    if way == "rekey":
        rekey(gallery, f"file:{tmp_path}/new.key")
    elif way == "export":
        export(gallery, tmp_path / "carried", None)
        target = Gallery(tmp_path / "carried")
    else:
        target = Gallery(tmp_path / "other.gallery", create=True, key="none")
        if way == "into another of the name":
            target.enroll("Ada Lovelace", "gaitheat", "a" * 64, walks(9))
        copy(gallery, target)
    report = forget(target, "Ada Lovelace", places)
    assert report.remains == []
    assert names_left(tmp_path) == []
    if target is not gallery:
        target.close()


def test_who_was_merged_before_records_kept_it_is_known_by_the_log(gallery: Gallery, tmp_path: Path) -> None:
    places = seen(tmp_path, uids(gallery))
    merged_twice(gallery)
    with gallery.writing() as writing:
        uid, record = gallery.person(writing, "Ada Lovelace")
        writing.put_person(gallery.vault.person_row(uid, msgspec.structs.replace(record, merged=())))
    forget(gallery, "Ada Lovelace", places)
    assert names_left(tmp_path) == []


def test_who_was_split_again_stays(gallery: Gallery, tmp_path: Path) -> None:
    places = seen(tmp_path, uids(gallery))
    merge(gallery, "Ada Lovelace", "Bob Bemer")
    split(gallery, "Ada Lovelace", [4, 5, 6], "Bob Bemer")
    forget(gallery, "Ada Lovelace", places)
    assert names_left(tmp_path) == ["Bob Bemer", "Cyd Charisse"]
    forget(gallery, "Bob Bemer", places)
    assert names_left(tmp_path) == ["Cyd Charisse"]


def test_a_name_that_somebody_else_has_now_is_theirs(gallery: Gallery, tmp_path: Path) -> None:
    merge(gallery, "Ada Lovelace", "Bob Bemer")
    gallery.enroll("Bob Bemer", "gaitheat", "a" * 64, walks(9))
    places = seen(tmp_path, uids(gallery))
    report = forget(gallery, "Ada Lovelace", places)
    assert report.remains == []
    assert names_left(tmp_path) == ["Bob Bemer", "Cyd Charisse"]


def test_an_earlier_name_is_looked_for(gallery: Gallery, tmp_path: Path) -> None:
    event = TrackEnded(
        time_ns=3, camera="gate", track=1, cause="lost", first_ns=1, seen=3, accepted=3, outcome="known",
        person='Bob "Bob" Bemer',
    )  # fmt: skip
    rename(gallery, "Bob Bemer", 'Bob "Bob" Bemer')
    rename(gallery, 'Bob "Bob" Bemer', "Robert Bemer")
    journal = Journal(tmp_path / "journal")
    journal.append(event.topic, encode(event, "json"))
    journal.close()
    (tmp_path / "journal" / "notes").write_bytes(b'{"person":"Bob \\"Bob\\" Bemer"}')
    report = forget(gallery, "Robert Bemer", Places(journals=(tmp_path / "journal",)))
    assert (report.events, report.remains) == (1, [f"{tmp_path / 'journal' / 'notes'}: the name"])


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, str]:
    """Uids of three people in an encrypted gallery on disk, with a journal and saved tracks of them."""
    with Gallery(tmp_path / "people.gallery", create=True) as gallery:
        fill(gallery, FULL_NAMES)
        seen(tmp_path, uids(gallery))
        return uids(gallery)


def forget_by_command(folder: Path, name: str, *more: str) -> int:
    places = ["--journal", str(folder / "journal"), "--tracklets", str(folder / "tracks")]
    return main(["gallery", "forget", name, "--gallery", str(folder / "people.gallery"), *(more or places)])


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (["--journal", "jurnal"], "there is no such journal"),
        (["--journal", "tracks"], "is no journal"),
        (["--tracklets", "trakcs"], "there are no saved tracklets"),
        (["--tracklets", "journal"], "has no saved tracklets"),
        (["--evidence", "cams.evidence"], "there is no such evidence"),
        (["--report", "there.json"], "is there already"),
        (["--report", "no/folder/report.json"], "cannot be written"),
    ],
)
def test_nobody_is_erased_where_a_place_is_wrong(
    kept: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], place: list[str], says: str
) -> None:
    (tmp_path / "there.json").write_text("{}")
    assert forget_by_command(tmp_path, "Bob Bemer", place[0], str(tmp_path / place[1])) != 0
    said = capsys.readouterr().err
    assert says in said
    assert "obody was erased" in said
    with Gallery(tmp_path / "people.gallery") as gallery:
        assert uids(gallery) == kept


def test_what_remains_is_told_though_the_report_fails(
    kept: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tracks" / "notes").write_text("Bob Bemer")

    def full(*_: object) -> None:
        raise GalleryError("the report cannot be written (no space)")

    monkeypatch.setattr("gaitstream.cli.commands.gallery.write_report", full)
    places = ["--tracklets", str(tmp_path / "tracks"), "--report", str(tmp_path / "report.json")]
    assert forget_by_command(tmp_path, "Bob Bemer", *places) != 0
    said = capsys.readouterr()
    assert "notes: the name" in said.out
    assert f"gaitstream gallery forget {kept['Bob Bemer']}" in said.out
    assert "no space" in said.err


@pytest.mark.parametrize("by", ["name", "id"])
def test_somebody_who_was_erased_is_forgotten_elsewhere_afterwards(
    kept: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    with Gallery(tmp_path / "people.gallery") as gallery:
        merge(gallery, "Ada Lovelace", "Cyd Charisse")
        gallery.remove("Ada Lovelace")
    name = "Ada Lovelace" if by == "name" else kept["Ada Lovelace"]
    (tmp_path / "tracks" / "notes").write_text("Cyd Charisse")
    assert forget_by_command(tmp_path, name) == 1
    said = capsys.readouterr().out
    assert "2 saved tracks" in said
    assert "the name from 3 events" in said
    assert "notes: the name" in said
    (tmp_path / "tracks" / "notes").unlink()
    assert names_left(tmp_path) == ["Bob Bemer"]
    assert forget_by_command(tmp_path, kept["Ada Lovelace"]) == 0
    with Gallery(tmp_path / "people.gallery") as gallery, gallery.store.reading() as reading:
        lines = [line.action for _, line in read_audit(reading, gallery.sealer)]
    assert lines[-3:] == ["erased", "forgotten", "forgotten"]


def test_the_second_try_says_how_to_go_on(
    kept: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ["--gallery", str(tmp_path / "people.gallery")]
    assert main(["gallery", "forget", kept["Bob Bemer"], *path]) == 0
    assert main(["gallery", "forget", "Bob Bemer", *path]) != 0
    assert "give the id, which 'gaitstream gallery audit' shows" in capsys.readouterr().err
    assert main(["gallery", "forget", "f" * 20, *path]) != 0


def test_a_track_that_cannot_be_deleted_remains_and_the_rest_goes(
    gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = seen(tmp_path, uids(gallery))

    def refuses(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gaitstream.pipeline.forget.shutil.rmtree", refuses)
    report = forget(gallery, "Bob Bemer", places)
    assert report.events == 3
    assert any("Permission denied" in line for line in report.remains)

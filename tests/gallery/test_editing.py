"""Names, merging, splitting, copying, keys and time limits, on every store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gaitstream.errors import GalleryError, GalleryKeyError
from gaitstream.gallery import Enrolment, Gallery
from gaitstream.gallery.agreement import nearest_others
from gaitstream.gallery.audit import read_audit
from gaitstream.gallery.base import PictureRow
from gaitstream.gallery.confirming import MatchState, confirm, reject, state
from gaitstream.gallery.editing import keep_until, merge, note_consent, rename, show, split
from gaitstream.gallery.merged import read_merged, survivor
from gaitstream.gallery.names import clean_name, fold_name
from gaitstream.gallery.rekeying import rekey
from gaitstream.gallery.retention import DAY_NS, RetentionRules, sweep
from gaitstream.gallery.transfer import copy, export
from gaitstream.gallery.vault import Template
from gaitstream.gallery.verifying import duplicates, twins, verify
from tests.gallery.filled import FULL_NAMES, MODEL, PRINT, content, fill, key_in, walks
from tests.gallery.walking import note, sighting

E1, E2 = "0190a3b4-0000-7000-8000-000000000001", "0190a3b4-0000-7000-8000-00000000000a"


@pytest.fixture
def gallery(store_url: str, tmp_path: Path) -> Iterator[Gallery]:
    with Gallery(store_url, create=True, key=key_in(tmp_path)) as made:
        fill(made)
        yield made


def names(gallery: Gallery) -> list[str]:
    return [entry.name for entry in gallery.persons()]


def actions(gallery: Gallery) -> list[str]:
    with gallery.store.reading() as reading:
        return [line.action for _, line in read_audit(reading, gallery.sealer)]


@pytest.mark.parametrize("name", [" ada ", "ADA", "Ａｄａ", "a\u0301d\u0301a"])
def test_a_name_is_one_however_it_is_written(gallery: Gallery, name: str) -> None:
    same = fold_name(name) == fold_name("Ada")
    gallery.enroll(name, MODEL, PRINT, walks(9, 1))
    assert len(names(gallery)) == (3 if same else 4)
    assert same is (name != "a\u0301d\u0301a")


@pytest.mark.parametrize("name", ["visitor-7", " VISITOR-7 ", "ｖｉｓｉｔｏｒ-７"])
def test_nobody_is_called_as_visitors_are(gallery: Gallery, name: str) -> None:
    with gallery.store.reading() as reading:
        uid, _ = gallery.person(reading, "Ada")
        numbers = [row.number for row in reading.templates(person=uid)]
    for work in (
        lambda: gallery.enroll(name, MODEL, PRINT, walks(9, 1)),
        lambda: rename(gallery, "Ada", name),
        lambda: split(gallery, "Ada", numbers[:1], name),
    ):
        with pytest.raises(GalleryError, match="what visitors are called"):
            work()


@pytest.mark.parametrize(
    ("name", "says"),
    [("", "needs a name"), (" \u2003", "needs a name"), ("a\nb", r"U\+000A"), ("\x1b[31m", r"U\+001B"),
     ("x" * 101, "101 characters"), ("ü" * 101, "202 bytes"),
     ("\u202eada", r"U\+202E"), ("\u200b", r"U\+200B"), ("a\u200cda", r"U\+200C"), ("\u200dada", r"U\+200D"),
     ("\u0639\u200c", r"U\+200C"), ("\u0639\u200c\u200c\u0631", r"U\+200C"),
     ("\u0639\u200c ada", r"U\+200C")],
)  # fmt: skip
def test_names_that_cannot_be_shown_are_refused(name: str, says: str) -> None:
    with pytest.raises(GalleryError, match=says):
        clean_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",  # Ali-Reza
        "\u0d30\u0d3e\u0d1c\u0d28\u0d4d\u200d",  # Rajan, in the older spelling
        "\u0936\u094d\u200d\u092f\u093e\u092e",  # Shyam
    ],
)
def test_joiners_that_are_spelled_are_kept_and_make_no_second_name(gallery: Gallery, name: str) -> None:
    plain = name.replace("\u200c", "").replace("\u200d", "")
    gallery.enroll(name, MODEL, PRINT, walks(9, 1))
    gallery.enroll(plain, MODEL, PRINT, walks(9, 1))
    assert [one for one in names(gallery) if one not in ("Ada", "Bob", "Cyd")] == [name]


def test_renaming_keeps_everything_but_the_name(gallery: Gallery) -> None:
    before = content(gallery)
    [uid] = [entry.uid for entry in gallery.persons() if entry.name == "Ada"]
    rename(gallery, "ada", "Ada Lovelace")
    after = content(gallery)
    assert after.pop("Ada Lovelace") == before.pop("Ada")
    assert after == before
    assert next(e.uid for e in gallery.persons() if e.name == "Ada Lovelace") == uid
    with pytest.raises(GalleryError, match="merge them instead"):
        rename(gallery, "Bob", "CYD")
    rename(gallery, "Bob", "bob")  # another spelling of one's own name
    assert verify(gallery) == []


def test_two_who_are_one_are_merged(gallery: Gallery) -> None:
    before = content(gallery)
    assert merge(gallery, "Ada", "Bob") == 3
    after = content(gallery)
    assert names(gallery) == ["Ada", "Cyd"]
    assert after["Ada"] == (before["Ada"][0] + before["Bob"][0], before["Ada"][1] + before["Bob"][1])
    with pytest.raises(GalleryError, match="one person already"):
        merge(gallery, "Ada", "ADA")
    assert verify(gallery) == []
    assert "merged" in actions(gallery)


def test_one_who_is_two_is_split(gallery: Gallery) -> None:
    with gallery.store.reading() as reading:
        _, _, templates = show(gallery, reading, "Ada")
    numbers = [one.number for one in templates if hasattr(one, "number")]
    with pytest.raises(GalleryError, match="rename them instead"):
        split(gallery, "Ada", numbers, "Eve")
    with pytest.raises(GalleryError, match=r"\[99999\] are not of 'Ada'"):
        split(gallery, "Ada", [99999], "Eve")
    assert split(gallery, "Ada", numbers[1:], "Eve") == 2
    found = content(gallery)
    assert (found["Ada"][0], found["Eve"][0]) == (walks(0)[:1].tobytes(), walks(0)[1:].tobytes())
    assert verify(gallery) == []


def test_a_time_limit_goes_with_who_is_split_off(gallery: Gallery) -> None:
    with gallery.store.reading() as reading:
        uid, _ = gallery.person(reading, "Ada")
        numbers = [row.number for row in reading.templates(person=uid)]
    keep_until(gallery, "Ada", 5)
    split(gallery, "Ada", numbers[:1], "Eve")
    split(gallery, "Ada", numbers[1:2], "Bob")  # who has terms of his own
    assert {entry.name: entry.expires_ns for entry in gallery.persons()} == {
        "Ada": 5, "Bob": None, "Cyd": None, "Eve": 5,
    }  # fmt: skip


def test_whom_two_become_was_enrolled_with_the_first(gallery: Gallery) -> None:
    gallery.enroll("Dan", MODEL, PRINT, walks(9))
    before = {entry.name: entry.created_ns for entry in gallery.persons()}
    merge(gallery, "Dan", "Ada")
    assert {entry.name: entry.created_ns for entry in gallery.persons()}["Dan"] == before["Ada"]


@pytest.mark.parametrize(("ada", "bob", "both"), [(5, None, 5), (None, 5, 5), (9, 5, 5), (5, 9, 5)])
def test_the_earlier_limit_holds_for_whom_two_become(
    gallery: Gallery, ada: int | None, bob: int | None, both: int
) -> None:
    keep_until(gallery, "Ada", ada)
    keep_until(gallery, "Bob", bob)
    note_consent(gallery, "Bob", "signed, folder 7")
    merge(gallery, "Ada", "Bob")
    with gallery.store.reading() as reading:
        _, record = gallery.person(reading, "Ada")
    assert (record.expires_ns, record.consent) == (both, "signed, folder 7")


def test_pictures_go_with_the_enrolment_they_came_with(gallery: Gallery) -> None:
    before = len(content(gallery)["Ada"][1])
    gallery.enroll_many([Enrolment("Ada", MODEL, PRINT, walks(9)[:2], "gate #4", (b"jpeg 1", b"jpeg 2"))])
    with gallery.store.reading() as reading:
        _, _, templates = show(gallery, reading, "Ada")
    numbers = [one.number for one in templates if isinstance(one, Template) and one.source == "gate #4"]
    split(gallery, "Ada", numbers[:1], "Eve")
    assert content(gallery)["Eve"][1] == []
    split(gallery, "Ada", numbers[1:], "Fay")
    assert content(gallery)["Fay"][1] == [b"jpeg 1", b"jpeg 2"]
    assert len(content(gallery)["Ada"][1]) == before


def test_a_template_that_is_far_from_the_others_is_told(gallery: Gallery) -> None:
    parts = walks(9)[:1]
    templates = [
        Template(number, "a" * 20, MODEL, 0, "", (parts[0] + 0.001 * number).astype(np.float32))
        for number in (1, 2)
    ]
    far = Template(3, "a" * 20, MODEL, 0, "", walks(8)[0])
    alone = Template(4, "b" * 20, MODEL, 0, "", walks(8)[0])
    found = nearest_others([*templates, far, alone])
    assert set(found) == {1, 2, 3}
    assert found[1] == pytest.approx(found[2])
    assert found[3] > 10 * found[1]


def test_a_copy_has_everything_once(gallery: Gallery, tmp_path: Path) -> None:
    with Gallery(tmp_path / "copy.gallery", create=True) as target:
        done = copy(gallery, target)
        assert (done.persons, done.templates, done.pictures) == (3, 9, 3)
        again = copy(gallery, target)
        assert (again.persons, again.templates, again.pictures) == (0, 0, 0)
        assert content(target) == content(gallery)
        assert {e.uid for e in target.persons()} == {e.uid for e in gallery.persons()}
        assert target.calibration(MODEL) == gallery.calibration(MODEL)
        assert verify(target) == []
        gallery.enroll("Ada", MODEL, PRINT, walks(20, 1))
        assert copy(gallery, target).templates == 1
    assert actions(gallery).count("exported") == 3


def test_an_export_is_one_file_that_another_gallery_takes_in(gallery: Gallery, tmp_path: Path) -> None:
    file = tmp_path / "carried"
    export(gallery, file, None)
    assert sorted(path.name for path in tmp_path.glob("carried*")) == ["carried", "carried.key"]
    assert walks(0)[0].tobytes() not in file.read_bytes()
    with pytest.raises(GalleryError, match="is there already"):
        export(gallery, file, None)
    with Gallery(file) as source, Gallery(tmp_path / "new.gallery", create=True) as target:
        copy(source, target, "imported")
        assert content(target) == content(gallery)
        assert actions(target) == ["imported"]


def test_whoever_has_a_gallery_open_under_its_old_key_writes_nothing(store_url: str, tmp_path: Path) -> None:
    """Not even a row that needs no other: it could not be read by anybody."""
    key = key_in(tmp_path)
    with Gallery(store_url, create=True, key=key) as old, Gallery(store_url, key=key) as other:
        assert old.is_still_there()
        rekey(other, f"file:{tmp_path}/new.key")
        assert not old.is_still_there()
        with pytest.raises(GalleryError, match="open it again"):
            note(old, sighting(1, 1))
        with pytest.raises(GalleryError, match="open it again"):
            old.enroll("Ada", MODEL, PRINT, walks(0))
        assert verify(other) == []
        fill(other)


def test_another_key_seals_everything_anew(gallery: Gallery, store_url: str, tmp_path: Path) -> None:
    before, log = content(gallery), actions(gallery)
    new = f"file:{tmp_path}/new.key"
    rekey(gallery, new)
    assert content(gallery) == before
    gallery.enroll("Dan", MODEL, PRINT, walks(30))
    with pytest.raises(GalleryKeyError, match="does not open with this key"):
        Gallery(store_url, key=key_in(tmp_path))
    with Gallery(store_url, key=new) as opened:
        assert names(opened) == ["Ada", "Bob", "Cyd", "Dan"]
        assert actions(opened) == [*log, "rekeyed", "enrolled"]
        assert verify(opened) == []


def test_a_plain_gallery_is_encrypted_and_keeps_nothing_in_clear(tmp_path: Path) -> None:
    path = tmp_path / "people.gallery"
    with Gallery(path, create=True, key="none") as gallery:
        fill(gallery, FULL_NAMES)
        before = content(gallery)
        rekey(gallery, f"file:{path}.key")
        assert gallery.encrypted
        assert content(gallery) == before
    data = b"".join(file.read_bytes() for file in tmp_path.glob("people.gallery*"))
    for secret in (b"Ada Lovelace", b"gate.mp4", walks(0)[0].tobytes()[:24]):
        assert secret not in data
    with Gallery(path) as gallery:
        assert verify(gallery) == []


def test_what_is_past_its_time_is_erased(gallery: Gallery) -> None:
    now_ns = time.time_ns()
    assert not sweep(gallery, RetentionRules(person_days=1, picture_days=1), now_ns)
    keep_until(gallery, "Bob", now_ns + DAY_NS)
    keep_until(gallery, "Cyd", now_ns + 90 * DAY_NS)
    done = sweep(gallery, RetentionRules(), now_ns + 2 * DAY_NS)
    assert (len(done.persons), done.templates, done.pictures) == (1, 3, 1)
    done = sweep(gallery, RetentionRules(person_days=30, picture_days=10), now_ns + 31 * DAY_NS)
    assert names(gallery) == ["Cyd"]
    assert content(gallery)["Cyd"] == (walks(2).tobytes(), [])
    assert (done.templates, done.pictures) == (3, 2)
    assert verify(gallery) == []


def test_one_person_under_two_names_is_found(gallery: Gallery) -> None:
    assert duplicates(gallery, MODEL, PRINT) == []
    gallery.enroll("Eve", MODEL, PRINT, walks(0) + np.float32(0.01))
    [(distance, one, other)] = duplicates(gallery, MODEL, PRINT)
    assert (one, other) == ("Ada", "Eve")
    assert distance < 0.1
    assert twins(gallery, "Bob") == []
    [said] = twins(gallery, " eve")
    assert said.startswith(f"Eve walks like Ada (distance {distance:.4f}): where they are one person, ")


def test_the_log_tells_what_was_done_and_by_whom(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAITSTREAM_ACTOR", "officer 7")
    gallery.remove("Ada")
    with gallery.store.reading() as reading:
        lines = [line for _, line in read_audit(reading, gallery.sealer)]
    assert [line.action for line in lines] == ["enrolled"] * 3 + ["erased"]
    assert (lines[-1].actor, lines[-1].count) == ("officer 7", 3)
    assert lines[-1].person == lines[0].person
    assert abs(lines[-1].time_ns - time.time_ns()) < 60e9


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_removed_or_changed_line_is_found(tmp_path: Path, encrypted: bool) -> None:
    with Gallery(tmp_path / "g", create=True, key=None if encrypted else "none") as gallery:
        fill(gallery)
        rename(gallery, "Bob", "Bea")
        with gallery.store.reading() as reading:
            kept = dict(reading.audit())
        assert sorted(kept) == [1, 2, 3, 4]

        def with_log(lines: dict[int, bytes]) -> list[str]:
            with gallery.store.writing() as writing:
                writing.clear_audit()
                for number, line in lines.items():
                    writing.append_audit(number, line)
            return verify(gallery)

        assert with_log(kept) == []
        assert "audit lines 2 to 2 are missing" in with_log({n: kept[n] for n in (1, 3, 4)})
        assert "audit lines 4 to 4 are missing" in with_log({n: kept[n] for n in (1, 2, 3)})
        assert with_log({**kept, 2: kept[3]})
        changed = bytearray(kept[3])
        changed[len(changed) // 2] ^= 1
        assert with_log({**kept, 3: bytes(changed)})
        assert with_log({}) == ["audit lines 1 to 4 are missing"]
        with gallery.store.writing() as writing:
            writing.set("audit", None)
        gone = ["the audit log is gone: 3 people were enrolled, and no line says so"]
        assert verify(gallery) == (gone if encrypted else [])


def test_a_match_takes_two_persons(gallery: Gallery) -> None:
    def now(event: str) -> MatchState:
        with gallery.store.reading() as reading:
            return state(gallery, reading, event)

    assert now(E1) is MatchState.PROPOSED
    assert confirm(gallery, E1, "ann") is MatchState.PROPOSED
    with pytest.raises(GalleryError, match=f"ann has confirmed event {E1} already"):
        confirm(gallery, E1, "ann")
    assert confirm(gallery, E1, "ben") is MatchState.CONFIRMED
    assert now(E2) is MatchState.PROPOSED
    confirm(gallery, E2, "ann")
    assert reject(gallery, E2, "cid") is MatchState.REJECTED
    with pytest.raises(GalleryError, match="was rejected by cid"):
        confirm(gallery, E2, "ben")
    assert verify(gallery) == []


def test_damage_is_reported_with_what_survived(tmp_path: Path) -> None:
    with Gallery(tmp_path / "g", create=True) as gallery:
        fill(gallery)
        with gallery.store.writing() as writing:
            [picture, *_] = writing.pictures()
            writing.put_picture(PictureRow(picture.number, picture.person, 1, picture.checksum, b"garbage"))
            [template, *_] = writing.templates()
            data = template.data[:-1] + b"?"
            writing.put_template(type(template)(1, template.person, MODEL, 7, template.source, 0, data))
        found = verify(gallery)
        assert any("picture 1 of person" in line for line in found)
        assert "template 1 of 'Ada' (gaitheat, from gate.mp4) is damaged" in found
        assert names(gallery) == ["Ada", "Bob", "Cyd"]


def test_the_record_keeps_who_was_merged_into_the_person(gallery: Gallery, tmp_path: Path) -> None:
    uids = {entry.name: entry.uid for entry in gallery.persons()}
    rename(gallery, "Cyd", "Cid")
    merge(gallery, "Bob", "Cid")
    merge(gallery, "Ada", "Bob")

    def merged(held: Gallery) -> list[str]:
        with held.store.reading() as reading:
            return [f"{name} {uid}" for uid, name in held.person(reading, "Ada")[1].merged]

    expected = [f"Bob {uids['Bob']}", f"Cid {uids['Cyd']}", f"Cyd {uids['Cyd']}"]
    assert merged(gallery) == expected
    with Gallery(tmp_path / "copy.gallery", create=True) as target:
        target.enroll("ada", MODEL, PRINT, walks(7))
        for _ in range(2):
            copy(gallery, target)
        assert sorted(merged(target)) == sorted([f"Ada {uids['Ada']}", *expected])
        assert verify(target) == []
    rekey(gallery, f"file:{tmp_path}/new.key")
    assert merged(gallery) == expected
    split(gallery, "Ada", [4], "BOB")
    assert merged(gallery) == expected[1:]
    gallery.remove("Ada")
    with gallery.store.reading() as reading:
        [*_, (_, line)] = read_audit(reading, gallery.sealer)
    assert (line.action, line.detail) == ("erased", f"also {uids['Cyd']}")


def part_of(gallery: Gallery) -> dict[str, str]:
    """Names of those who are there, by the uids of those who are part of them."""
    with gallery.store.reading() as reading:
        records, merged = gallery.vault.records(reading), read_merged(reading)
        ends = {gone: survivor(merged, gone) for gone in merged}
        return {gone: records[end].name for gone, end in ends.items() if end in records and end != gone}


def test_whose_part_somebody_is_follows_merges_splits_and_copies(gallery: Gallery, tmp_path: Path) -> None:
    uids = {entry.name: entry.uid for entry in gallery.persons()}
    with gallery.store.reading() as reading:
        bobs = [row.number for row in reading.templates(person=uids["Bob"])]
    rename(gallery, "Cyd", "Cid")
    assert part_of(gallery) == {}
    merge(gallery, "Ada", "Bob")
    merge(gallery, "Cid", "Ada")
    assert part_of(gallery) == {uids["Ada"]: "Cid", uids["Bob"]: "Cid"}
    with Gallery(tmp_path / "copy.gallery", create=True) as target:
        copy(gallery, target)
        assert part_of(target) == part_of(gallery)
    split(gallery, "Cid", bobs, "bob")
    assert part_of(gallery) == {uids["Ada"]: "Cid", uids["Bob"]: "bob"}
    gallery.remove("Cid")
    assert part_of(gallery) == {uids["Bob"]: "bob"}


@pytest.mark.parametrize(
    "event", ["not-an-event", "../../x", "", E1[:-1], "{" + E1 + "}", E1.replace("-", "")]
)
def test_what_is_no_event_is_neither_confirmed_nor_rejected(gallery: Gallery, event: str) -> None:
    for say in (confirm, reject):
        with pytest.raises(GalleryError, match="is no event_id"):
            say(gallery, event, "ann")
    assert set(actions(gallery)) == {"enrolled"}


def test_an_event_is_one_however_its_id_is_written(gallery: Gallery) -> None:
    confirm(gallery, E2.upper(), "ann")
    assert confirm(gallery, E2, "ben") is MatchState.CONFIRMED

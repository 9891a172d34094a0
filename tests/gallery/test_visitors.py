"""Strangers who become visitors: noted, linked, named, kept apart and erased, in every store."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gaitstream.cli import main
from gaitstream.errors import GalleryError
from gaitstream.gallery import Gallery
from gaitstream.gallery.appearances import appearances, like_track, like_visitor
from gaitstream.gallery.audit import read_audit
from gaitstream.gallery.editing import keep_until, merge, rename
from gaitstream.gallery.keeper import Keeper
from gaitstream.gallery.linking import LinkRule
from gaitstream.gallery.records import PersonRecord
from gaitstream.gallery.rekeying import rekey
from gaitstream.gallery.retention import DAY_NS, RetentionRules, sweep
from gaitstream.gallery.sightings import KeptWindows, TrackRef
from gaitstream.gallery.transfer import copy
from gaitstream.gallery.verifying import verify
from gaitstream.gallery.visiting import VisitorBook
from gaitstream.gallery.visitors import (
    delete_visitor,
    keep_apart,
    promote,
    reject_track,
    show_visitor,
    visitors,
)
from gaitstream.pipeline.forget import Places, check_forgotten, forget
from tests.gallery.filled import MODEL, PRINT, fill, key_in
from tests.gallery.walking import RULE, SECOND, book_of, note, sighting, windows


@pytest.fixture
def gallery(store_url: str, tmp_path: Path) -> Iterator[Gallery]:
    with Gallery(store_url, create=True, key=key_in(tmp_path)) as opened:
        yield opened


def test_a_stranger_who_comes_again_is_the_same_visitor(gallery: Gallery) -> None:
    first, second, third = note(gallery, sighting(1, 1), sighting(2, 2, "hall"), sighting(1, 3, "hall"))
    assert [first.visitor, second.visitor, third.visitor] == ["visitor-1", "visitor-2", "visitor-1"]
    assert first.new
    assert second.new
    assert third.distance is not None
    assert third.distance < 1
    [again] = note(gallery, sighting(2, 4))  # another process, which reads what the first has kept
    assert (again.visitor, again.walks) == ("visitor-2", 2)
    latest, other = visitors(gallery)
    assert (latest.name, latest.tracks, latest.cameras) == ("visitor-2", 2, {"gate": 1, "hall": 1})
    assert other.first_ns == 105 * SECOND
    assert gallery.persons() == []
    assert verify(gallery) == []


def test_the_commands_tell_a_visitors_walks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Visitors have no templates."""
    path, key = tmp_path / "people.gallery", key_in(tmp_path)
    where = ["--gallery", str(path), "--key", key]
    with Gallery(path, create=True, key=key) as gallery:
        note(gallery, *(sighting(person, person) for person in (1, 2, 3, 4)), sighting(1, 9, "hall"))
    assert main(["gallery", "merge", "visitor-2", "visitor-1", *where]) == 0
    assert main(["gallery", "remove", "visitor-3", *where]) == 0
    assert main(["gallery", "promote", "visitor-4", "--person", "Eve", *where]) == 0
    said = capsys.readouterr().out
    assert "visitor-2 has 2 walks of visitor-1, who is gone" in said
    assert "erased visitor-3 with 1 walk from" in said
    assert "visitor-4 is Eve now, as is one earlier walk:" in said


def test_a_walk_is_noted_once(gallery: Gallery) -> None:
    assert len(note(gallery, sighting(1, 1))) == 1
    assert note(gallery, sighting(1, 1)) == []
    assert [entry.tracks for entry in visitors(gallery)] == [1]


def test_two_in_one_picture_are_two(gallery: Gallery) -> None:
    noted = note(gallery, sighting(1, 1, at_s=10), sighting(1, 2, at_s=12), sighting(1, 3, "hall", at_s=12))
    assert [one.visitor for one in noted][:2] == ["visitor-1", "visitor-2"]
    assert not noted[2].new


def test_processes_that_note_at_once_agree(store_url: str, tmp_path: Path) -> None:
    key = key_in(tmp_path)
    Gallery(store_url, create=True, key=key).close()
    failures: list[BaseException] = []

    def work(camera: int) -> None:
        try:
            with Gallery(store_url, key=key) as own:
                book = book_of(own)
                for person in range(5):
                    book.note([sighting(person, 10 * camera + person, f"cam{camera}")])
        except BaseException as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(camera,)) for camera in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Gallery(store_url, key=key) as gallery:
        assert sorted(entry.tracks for entry in visitors(gallery)) == [3] * 5
        assert verify(gallery) == []


def test_a_promoted_visitor_is_a_person_and_others_are_told(gallery: Gallery) -> None:
    book = book_of(gallery)
    book.note([sighting(1, 1), sighting(2, 2), sighting(1, 3, "hall")])
    done = promote(gallery, "visitor-1", "Ada")
    assert [str(track) for track in done.tracks] == ["run/gate/1", "run/hall/3"]
    [told] = book.follow()
    assert told == done
    assert book.follow() == []
    [ada] = gallery.persons()
    assert (ada.name, ada.uid, ada.templates) == ("Ada", done.visitor_id, {MODEL: 6})
    assert [entry.name for entry in visitors(gallery)] == ["visitor-2"]
    matcher = gallery.matcher(MODEL, PRINT)
    assert float(matcher.distances(windows(1, 9)[0])[0]) < 3
    assert [one.visitor for one in book.note([sighting(1, 5)])] == ["visitor-3"]  # a number is given once
    assert verify(gallery) == []


def test_a_visitor_becomes_part_of_somebody_who_is_there(gallery: Gallery) -> None:
    gallery.enroll("Ada", MODEL, PRINT, windows(1, 50))
    book = book_of(gallery)
    book.note([sighting(1, 1), sighting(2, 2)])
    done = promote(gallery, "visitor-1", " ada")
    assert done.person == "Ada"
    assert done.person_id != done.visitor_id
    assert [entry.templates for entry in gallery.persons()] == [{MODEL: 6}]
    assert book.follow() == [done]
    uid = gallery.persons()[0].uid
    with gallery.store.reading() as reading:
        assert [row.person for row in reading.sightings(uid)] == [uid]
    assert verify(gallery) == []


def test_what_is_kept_apart_stays_apart(gallery: Gallery) -> None:
    gallery.enroll("Ada", MODEL, PRINT, windows(1, 50))
    note(gallery, sighting(1, 1), sighting(2, 2))
    keep_apart(gallery, "visitor-1", "Ada")
    with pytest.raises(GalleryError, match="visitor-1 is not 'Ada'"):
        promote(gallery, "visitor-1", "Ada")
    keep_apart(gallery, "visitor-1", "visitor-2")
    with pytest.raises(GalleryError, match="'visitor-1' is not 'visitor-2'"):
        merge(gallery, "visitor-1", "visitor-2")
    entry, [seen] = show_visitor(gallery, "visitor-1")
    assert entry.apart == ("Ada", "visitor-2")
    assert seen.track.camera == "gate"
    with pytest.raises(GalleryError, match="same visitor"):
        keep_apart(gallery, "visitor-1", "VISITOR-1")


def test_a_rejected_pair_is_nearer_to_the_visitor_than_to_the_person(
    gallery: Gallery, store_url: str, tmp_path: Path
) -> None:
    gallery.enroll("Ada", MODEL, PRINT, windows(1, 50))
    uid = gallery.persons()[0].uid
    note(gallery, sighting(3, 7, known=uid))  # a stranger who was taken for Ada
    assert visitors(gallery) == []
    assert reject_track(gallery, TrackRef("run", "gate", 7), uid) == "visitor-1"
    assert reject_track(gallery, TrackRef("run", "gate", 8), uid) is None
    assert [entry.apart for entry in visitors(gallery)] == [("Ada",)]
    with Keeper(store_url, key=key_in(tmp_path)) as keeper:
        people = keeper.people()
        stranger, ada = windows(3, 8)[0], windows(1, 51)[0]
        [nearest] = people.search(MODEL, [stranger])
        assert people.names[int(nearest.persons[nearest.high.argmin()])] == "visitor-1"
        [nearest] = people.search(MODEL, [ada])
        assert people.names[int(nearest.persons[nearest.high.argmin()])] == "Ada"
        assert {people.names[index] for index in people.visitors} == {"visitor-1"}
    [again] = note(gallery, sighting(3, 9))
    assert again.visitor == "visitor-1"
    with gallery.store.reading() as reading:
        assert reading.count(person=again.visitor_id) == 6  # the later walk stands beside Ada, too


def test_a_deleted_visitor_leaves_nothing(gallery: Gallery) -> None:
    note(gallery, sighting(1, 1), sighting(1, 2), sighting(2, 3))
    assert delete_visitor(gallery, "visitor-1") == 2
    assert [entry.name for entry in visitors(gallery)] == ["visitor-2"]
    with gallery.store.reading() as reading:
        assert len(list(reading.sightings())) == 1
    with pytest.raises(GalleryError, match="visitor-1"):
        show_visitor(gallery, "visitor-1")


def test_forgetting_takes_sightings_in(tmp_path: Path) -> None:
    with Gallery(tmp_path / "people.gallery", create=True) as gallery:
        note(gallery, sighting(1, 1), sighting(2, 2))
        promote(gallery, "visitor-1", "Ada")
        note(gallery, sighting(1, 3, known=gallery.persons()[0].uid))
        report = forget(gallery, "Ada", Places())
        assert (report.sightings, report.templates, report.remains) == (2, 3, [])
        assert sum(needle.what.startswith("sighting") for needle in report.needles) > 4
        (tmp_path / "people.gallery-old").write_bytes(b"..." + kept_bytes(1, 1))
        report.places.append(str(tmp_path / "people.gallery-old"))
        assert any("sighting" in line for line in check_forgotten(report))


def kept_bytes(person: int, walk: int) -> bytes:
    return KeptWindows.of(list(windows(person, walk)), PRINT).data


def test_sightings_and_visitors_end_in_time(gallery: Gallery) -> None:
    note(gallery, sighting(1, 1), sighting(1, 2, at_s=86_400), sighting(2, 3))
    rules = RetentionRules(sighting_days=1)
    done = sweep(gallery, rules, DAY_NS + 400 * SECOND)
    assert (done.sightings, len(done.persons)) == (2, 1)
    assert [(entry.name, entry.tracks) for entry in visitors(gallery)] == [("visitor-1", 1)]
    assert not sweep(gallery, rules, DAY_NS + 400 * SECOND)
    assert len(sweep(gallery, RetentionRules(visitor_days=1), 3 * DAY_NS).persons) == 1
    assert visitors(gallery) == []


def test_walks_of_a_recording_from_the_future_end_in_time_too(gallery: Gallery) -> None:
    fill(gallery)
    [ada] = [entry.uid for entry in gallery.persons() if entry.name == "Ada"]
    now_ns = time.time_ns()
    ahead_s = now_ns // SECOND + 50 * 365 * 86_400
    note(gallery, sighting(1, 1, at_s=ahead_s), sighting(0, 2, at_s=ahead_s, known=ada))
    [seen] = book_of(gallery).sightings(ada)
    assert now_ns <= seen.track.time_ns <= time.time_ns()
    assert len(sweep(gallery, RetentionRules(visitor_days=1), now_ns + 2 * DAY_NS).persons) == 1
    assert sweep(gallery, RetentionRules(sighting_days=1), now_ns + 2 * DAY_NS).sightings == 1
    soon = sighting(3, 3, at_s=now_ns // SECOND + 20)
    assert note(gallery, soon)[0].sighting.track.time_ns == soon.track.time_ns, "clocks are a little apart"


def test_a_visitor_is_no_person_to_other_commands(gallery: Gallery) -> None:
    fill(gallery)
    before = gallery.calibration(MODEL)
    note(gallery, sighting(1, 1))
    keep_apart(gallery, "visitor-1", "Ada")
    assert len(gallery.persons()) == 3
    assert gallery.matcher(MODEL, PRINT).names == ("Ada", "Bob", "Cyd")
    assert gallery.calibrate(MODEL) == before
    for change in (
        lambda: gallery.enroll("Visitor-1", MODEL, PRINT, windows(1, 9)),
        lambda: gallery.enroll("visitor-99", MODEL, PRINT, windows(1, 9)),
        lambda: rename(gallery, "visitor-1", "Eve"),
        lambda: rename(gallery, "Ada", "visitor-7"),
        lambda: merge(gallery, "Ada", "visitor-1"),
        lambda: promote(gallery, "visitor-1", "visitor-5"),
        lambda: promote(gallery, "Ada", "Eve"),
    ):
        with pytest.raises(GalleryError, match=r"visitor"):
            change()
    assert verify(gallery) == []


def record_of(gallery: Gallery, name: str) -> PersonRecord:
    with gallery.store.reading() as reading:
        return gallery.person(reading, name)[1]


def test_what_was_said_of_a_visitor_holds_under_the_name(gallery: Gallery) -> None:
    fill(gallery)
    first, other = note(gallery, sighting(5, 1), sighting(6, 2))
    merge(gallery, first.visitor, other.visitor)
    keep_until(gallery, first.visitor, 9)
    promote(gallery, first.visitor, "Eve")
    assert record_of(gallery, "Eve").expires_ns == 9
    assert record_of(gallery, "Eve").merged == ((other.visitor_id, ""),)
    [third] = note(gallery, sighting(7, 3))
    keep_until(gallery, third.visitor, 5)
    promote(gallery, third.visitor, "Ada")  # who was there without a limit
    assert record_of(gallery, "Ada").expires_ns == 5


def test_who_a_visitor_is_not_is_kept_when_it_is_merged(gallery: Gallery) -> None:
    fill(gallery)
    first, other = note(gallery, sighting(5, 1), sighting(6, 2))
    keep_apart(gallery, other.visitor, "Ada")
    merge(gallery, first.visitor, other.visitor)
    with pytest.raises(GalleryError, match="is not 'Ada'"):
        promote(gallery, first.visitor, "Ada")


def test_the_limit_of_a_visitor_goes_to_whom_it_joins(gallery: Gallery) -> None:
    strict = VisitorBook(gallery, {MODEL: PRINT}, LinkRule({MODEL: 0.5}))
    strict.note([sighting(5, walk) for walk in (1, 2, 3)])
    merge(gallery, "visitor-2", "visitor-3")  # who has most walks keeps the name
    keep_until(gallery, "visitor-1", 7)
    assert [joined.into for joined in book_of(gallery).settle()] == ["visitor-2"]
    assert record_of(gallery, "visitor-2").expires_ns == 7


def test_two_visitors_are_joined(gallery: Gallery) -> None:
    note(gallery, sighting(1, 1), sighting(2, 2))
    merge(gallery, "visitor-1", "visitor-2")
    assert [(entry.name, entry.tracks) for entry in visitors(gallery)] == [("visitor-1", 2)]


def test_a_visitors_days_count_from_the_first_visit_of_all_that_it_is_made_of(gallery: Gallery) -> None:
    day, rules = DAY_NS // SECOND, RetentionRules(visitor_days=90)
    note(gallery, sighting(1, 1, at_s=day), sighting(2, 2, at_s=80 * day))
    merge(gallery, "visitor-2", "visitor-1")
    assert sweep(gallery, rules, 90 * DAY_NS).persons == []
    assert len(sweep(gallery, rules, 92 * DAY_NS).persons) == 1
    strict = VisitorBook(gallery, {MODEL: PRINT}, LinkRule({MODEL: 0.5}))
    strict.note([sighting(5, 11, at_s=101 * day), *(sighting(5, n, at_s=(150 + n) * day) for n in (12, 13))])
    merge(gallery, "visitor-4", "visitor-5")  # who has most walks keeps the name
    assert [joined.into for joined in book_of(gallery).settle()] == ["visitor-4"]
    assert sweep(gallery, rules, 190 * DAY_NS).persons == []
    assert len(sweep(gallery, rules, 192 * DAY_NS).persons) == 1


def test_earlier_appearances_are_found(gallery: Gallery) -> None:
    gallery.enroll("Ada", MODEL, PRINT, windows(1, 50))
    uid = gallery.persons()[0].uid
    note(gallery, sighting(1, 1, known=uid), sighting(2, 2), sighting(2, 3, "hall"), sighting(3, 4))
    found = appearances(gallery, like_track(gallery, TrackRef("run", "gate", 2)), RULE)
    assert [(one.who, one.same) for one in found[:2]] == [("visitor-1", True)] * 2
    assert not any(one.same for one in found[2:])
    nearest, *_ = appearances(gallery, {MODEL: windows(1, 8)}, RULE)
    assert nearest.sighting.track.track == 1
    late = appearances(gallery, like_visitor(gallery, "visitor-1"), RULE, since_ns=300 * SECOND)
    assert {one.sighting.track.track for one in late} == {3, 4}
    with gallery.store.reading() as reading:
        assert [line.action for _, line in read_audit(reading, gallery.sealer)].count("searched") == 3
    with pytest.raises(GalleryError, match="nothing is kept of track run/gate/99"):
        like_track(gallery, TrackRef.parse("run/gate/99"))


def test_visitors_survive_another_key_and_a_copy(gallery: Gallery, tmp_path: Path) -> None:
    note(gallery, sighting(1, 1), sighting(2, 2))
    rekey(gallery, key_in(tmp_path, "other"))
    assert verify(gallery) == []
    assert len(show_visitor(gallery, "visitor-2")[1]) == 1
    with Gallery(tmp_path / "copy", create=True) as other:
        note(other, sighting(5, 9))
        assert copy(gallery, other).sightings == 2
        assert copy(gallery, other).sightings == 0
        names = {entry.name: entry.tracks for entry in visitors(other)}
        assert names == {"visitor-1": 1, "visitor-2": 1, "visitor-3": 1}
        for name in names:  # what was seen says the same
            assert [one.visitor and one.visitor[0] for one in show_visitor(other, name)[1]] == [name]
        assert verify(other) == []


def test_strangers_get_new_numbers_in_a_copy(gallery: Gallery, tmp_path: Path) -> None:
    note(gallery, sighting(1, 1), sighting(2, 2))
    delete_visitor(gallery, "visitor-2")
    with Gallery(tmp_path / "copy", create=True) as other:
        copy(gallery, other)
        [noted] = note(other, sighting(5, 9))
        assert noted.visitor == "visitor-3"
        assert verify(other) == []


def test_a_number_that_somebody_has_as_a_name_is_left_out(gallery: Gallery) -> None:
    """Galleries of earlier versions may have such people."""
    with gallery.writing() as writing:
        writing.put_person(gallery.vault.person_row("0" * 20, PersonRecord("visitor-1", SECOND)))
    [noted] = note(gallery, sighting(1, 1))
    assert noted.visitor == "visitor-2"


def test_what_somebody_said_is_not_whom_is_copied_by_the_ids_there(gallery: Gallery, tmp_path: Path) -> None:
    gallery.enroll("Ada", MODEL, PRINT, windows(1, 50))
    [ada] = gallery.persons()
    note(gallery, sighting(1, 7, known=ada.uid))
    reject_track(gallery, TrackRef("run", "gate", 7), ada.uid)
    note(gallery, sighting(1, 8, known=ada.uid))
    with Gallery(tmp_path / "copy", create=True) as other:
        other.enroll("Ada", MODEL, PRINT, windows(1, 51))
        [hers] = other.persons()
        assert hers.uid != ada.uid
        copy(gallery, other)
        [visitor] = visitors(other)
        assert visitor.apart == ("Ada",)
        assert show_visitor(other, visitor.name)[1][0].rejected == (hers.uid,)
        with other.store.reading() as reading:
            [kept] = [other.vault.sighting(row) for row in reading.sightings(hers.uid)]
        assert kept.known == hers.uid


def test_a_visitor_who_has_got_a_name_has_it_in_a_copy_that_knew_the_visitor(
    gallery: Gallery, tmp_path: Path
) -> None:
    note(gallery, sighting(1, 1))
    with Gallery(tmp_path / "copy", create=True) as other:
        copy(gallery, other)
        promote(gallery, "visitor-1", "Eve")
        copy(gallery, other)
        assert other.persons() == gallery.persons()
        assert visitors(other) == []
        assert verify(other) == []


def test_rejecting_a_walk_again_takes_nothing_from_whom_it_shows_by_now(gallery: Gallery) -> None:
    gallery.enroll("Ada", MODEL, PRINT, windows(1, 50))
    [ada] = gallery.persons()
    note(gallery, sighting(2, 7, known=ada.uid))
    track = TrackRef("run", "gate", 7)
    reject_track(gallery, track, ada.uid)
    promote(gallery, "visitor-1", "Eve")
    gallery.enroll("Eve", MODEL, PRINT, windows(2, 51, count=5))
    before = {entry.name: entry.templates for entry in gallery.persons()}
    assert reject_track(gallery, track, ada.uid) == "Eve"
    assert {entry.name: entry.templates for entry in gallery.persons()} == before
    assert visitors(gallery) == []


def test_a_promoted_visitors_walk_can_be_rejected(gallery: Gallery) -> None:
    note(gallery, sighting(1, 7), sighting(1, 8))
    eve = promote(gallery, "visitor-1", "Eve").person_id
    gallery.enroll("Eve", MODEL, PRINT, windows(1, 51, count=5))
    [before] = gallery.persons()
    assert reject_track(gallery, TrackRef("run", "gate", 7), eve) == "visitor-2"
    assert gallery.persons() == [before]
    assert [(one.name, one.tracks, one.apart) for one in visitors(gallery)] == [("visitor-2", 1, ("Eve",))]


def test_a_walk_of_somebody_who_was_merged_is_rejected_by_the_old_id(gallery: Gallery) -> None:
    gallery.enroll("Ada", MODEL, PRINT, windows(1, 50))
    gallery.enroll("Eve", MODEL, PRINT, windows(1, 51))
    _, eve = gallery.persons()
    note(gallery, sighting(2, 7, known=eve.uid))
    merge(gallery, "Ada", "Eve")
    assert reject_track(gallery, TrackRef("run", "gate", 7), eve.uid) == "visitor-1"
    [visitor] = visitors(gallery)
    assert (visitor.tracks, visitor.apart) == (1, ("Ada",))


def test_windows_are_kept_in_half_precision_spread_over_the_walk() -> None:
    held = windows(1, 1, count=9)
    kept = KeptWindows.of(list(held), PRINT)
    assert kept.shape == (3, 16, 32)
    np.testing.assert_allclose(kept.open(), held[[0, 4, 8]], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("text", ["", "gate/3", "run/gate/x", "run//3", "/gate/3"])
def test_a_track_is_named_by_run_camera_and_number(text: str) -> None:
    with pytest.raises(GalleryError, match="names no track"):
        TrackRef.parse(text)
    assert TrackRef.parse("1a/cam/2/17").key == ("1a", "cam/2", 17)

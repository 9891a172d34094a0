"""Ended tracks are noted beside the pipeline, and what becomes of strangers is told."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.data import Decision, Embedding, Person, Status, Tracklet
from gaitstream.errors import ConfigError
from gaitstream.events import Event, VisitorJoined, VisitorNamed, VisitorSeen
from gaitstream.gallery import Gallery
from gaitstream.gallery.keeper import Keeper
from gaitstream.gallery.linking import LinkRule
from gaitstream.gallery.rekeying import rekey
from gaitstream.gallery.sightings import Sighting
from gaitstream.gallery.upstream import UpstreamModel
from gaitstream.gallery.verifying import verify
from gaitstream.gallery.visiting import Noted, VisitorBook
from gaitstream.gallery.visitors import Promotion, promote, visitors
from gaitstream.pipeline.identify import Identifier, TrackState
from gaitstream.pipeline.known import DecisionLimits, KnownPeople
from gaitstream.pipeline.visits import VisitDesk, open_desk, settle_after, sighting_of, site_rule
from tests.gallery.filled import MODEL, PRINT
from tests.gallery.walking import SECOND, sighting, windows

BOX = np.array([0, 0, 40, 100], np.float32)


def site(path: Path, **visitors: object) -> Config:
    return Config.model_validate(
        {
            "cameras": [{"id": "gate", "url": "synth://?seed=1"}],
            "gallery": {"path": str(path), "threshold": 3.0, "visitors": {"enabled": True, **visitors}},
        }
    )


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery(tmp_path / "people.gallery", create=True) as opened:
        opened.enroll("Ada", MODEL, PRINT, windows(1, 50))
        opened.enroll("Bob", MODEL, PRINT, windows(2, 50))
        yield opened


@pytest.fixture
def desk(gallery: Gallery, tmp_path: Path) -> Iterator[VisitDesk]:
    with Keeper(tmp_path / "people.gallery") as keeper:
        keeper.start()
        opened = VisitDesk(site(tmp_path / "people.gallery"), {MODEL: PRINT}, keeper.feed.path, "now")
        yield opened
        opened.close()


def told(desk: VisitDesk, enough: Callable[[list[Event]], bool]) -> list[Event]:
    found: list[Event] = []
    deadline_s = time.monotonic() + 10
    while not enough(found) and time.monotonic() < deadline_s:
        found += desk.events()
        time.sleep(0.01)
    return found


def test_each_stranger_s_walk_is_told_with_its_visitor(desk: VisitDesk) -> None:
    for walk, person in enumerate((5, 6, 5), 1):
        desk.put(sighting(person, walk))
    events = [one for one in told(desk, lambda found: len(found) == 3) if isinstance(one, VisitorSeen)]
    assert [(one.visitor, one.new, one.walks) for one in events] == [
        ("visitor-1", True, 1), ("visitor-2", True, 1), ("visitor-1", False, 2),
    ]  # fmt: skip
    assert events[2].topic == "visitor/gate"
    assert (events[2].run, events[2].track, events[2].time_ns) == ("run", 3, 305 * SECOND)
    assert events[2].distance is not None


def test_a_name_that_somebody_gave_is_told_once_with_the_earlier_tracks(
    desk: VisitDesk, gallery: Gallery
) -> None:
    desk.put(sighting(5, 1))
    desk.put(sighting(5, 2, "hall"))
    told(desk, lambda found: len(found) == 2)
    promote(gallery, "visitor-1", "Eve")
    [named] = told(desk, lambda found: bool(found))
    assert isinstance(named, VisitorNamed)
    assert (named.person, named.by, named.run) == ("Eve", "promotion", "now")
    assert named.tracks == (("run", "gate", 1, 105 * SECOND), ("run", "hall", 2, 205 * SECOND))
    desk.put(sighting(9, 3))
    assert len(told(desk, lambda found: bool(found))) == 1


def test_what_several_walks_show_together_is_told(desk: VisitDesk) -> None:
    desk.put(sighting(1, 1))  # a stranger to a stricter threshold, say, who is Ada
    [first] = told(desk, lambda found: len(found) == 1)
    assert isinstance(first, VisitorSeen)
    assert first.person is None
    desk.put(sighting(1, 2))
    named, second = told(desk, lambda found: len(found) == 2)
    assert isinstance(named, VisitorNamed)
    assert (named.by, named.person, len(named.tracks)) == ("fusion", "Ada", 2)
    assert isinstance(second, VisitorSeen)
    assert second.person == "Ada"
    desk.put(sighting(1, 3))
    [third] = told(desk, lambda found: bool(found))
    assert isinstance(third, VisitorSeen)
    assert third.person == "Ada"


def test_walks_wait_for_a_store_that_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "blocked"
    path.mkdir()  # no gallery can be made here
    desk = VisitDesk(site(path / "people.gallery", distance=3.0), {MODEL: PRINT}, None, "now")
    (path / "people.gallery").mkdir()
    desk.put(sighting(5, 1))
    deadline_s = time.monotonic() + 60
    while "people.gallery" not in caplog.text and time.monotonic() < deadline_s:
        time.sleep(0.02)
    (path / "people.gallery").rmdir()
    [seen] = told(desk, lambda found: bool(found))
    assert isinstance(seen, VisitorSeen)
    assert desk.close() == []
    with Gallery(path / "people.gallery") as gallery:
        assert len(visitors(gallery)) == 1


@pytest.mark.parametrize(
    "error", [OSError("no file is left"), MemoryError(), sqlite3.DatabaseError("?"), KeyError("?")], ids=repr
)
def test_no_fault_ends_the_noting_of_walks(
    desk: VisitDesk, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    faults = iter([error, error])
    follow, note = VisitorBook.follow, VisitorBook.note

    def failing_follow(book: VisitorBook) -> list[Promotion]:
        if (fault := next(faults, None)) is not None:
            raise fault
        return follow(book)

    def failing_note(book: VisitorBook, sightings: Sequence[Sighting]) -> list[Noted]:
        passing = not isinstance(error, KeyError)
        if (passing and (fault := next(later, None))) or any(one.track.track == 1 for one in sightings):
            raise fault if passing and fault else KeyError("a strange walk")
        return note(book, sightings)

    later = iter([error])
    monkeypatch.setattr(VisitorBook, "follow", failing_follow)
    monkeypatch.setattr(VisitorBook, "note", failing_note)
    for walk in (1, 2, 3):
        desk.put(sighting(5, walk))
    events = [one for one in told(desk, lambda found: len(found) == 2) if isinstance(one, VisitorSeen)]
    assert [one.track for one in events] == [2, 3]  # the first is one that nobody can note


def test_walks_are_noted_after_the_gallery_has_got_another_key(desk: VisitDesk, gallery: Gallery) -> None:
    desk.put(sighting(5, 1))
    told(desk, lambda found: len(found) == 1)
    rekey(gallery, f"file:{gallery.url}.key")  # the operator's stays, the gallery's own is another
    desk.put(sighting(5, 2))
    [seen] = told(desk, lambda found: bool(found))
    assert isinstance(seen, VisitorSeen)
    assert (seen.visitor, seen.walks) == ("visitor-1", 2)
    assert verify(gallery) == []


def test_visitors_are_looked_at_together_soon_where_there_are_few(desk: VisitDesk, gallery: Gallery) -> None:
    strict = VisitorBook(gallery, {MODEL: PRINT}, LinkRule({MODEL: 0.5}))
    strict.note([sighting(5, walk) for walk in range(1, 5)])  # the same person, as four visitors
    assert len(visitors(gallery)) == 4
    for walk in range(11, 21):
        desk.put(sighting(6, walk))
    joined = [one for one in told(desk, lambda found: len(found) == 13) if isinstance(one, VisitorJoined)]
    assert [(one.visitor, one.into) for one in joined] == [(f"visitor-{n}", "visitor-1") for n in (2, 3, 4)]


def test_the_more_walks_there_are_the_longer_until_they_are_looked_at_again() -> None:
    assert [settle_after(walks) for walks in (0, 50, 60, 300, 499, 500, 10_000)] == [
        10, 10, 12, 60, 99, 100, 100
    ]  # fmt: skip


def state_of(full: int) -> TrackState:
    """A track of so many full windows."""
    known = KnownPeople()
    identifier = Identifier("gate", known, DecisionLimits(None))
    identifier.observe([Person("gate", 7, 0, 100, BOX, 0.9), Person("gate", 7, 1, 900, BOX, 0.9)])
    for number in range(full):
        tracklet = Tracklet(
            MODEL, "gate", 7, 100, 900, 30, np.empty((0, 0, 0), np.float32), provisional=False
        )
        embedding = Embedding(tracklet, windows(1, number)[0], PRINT)
        [window] = known.match([embedding])
        identifier.add(embedding, window)
    return identifier.tracks[7]


def decided(status: Status) -> Decision:
    return Decision(
        camera="gate", track=7, time_ns=900, first_ns=100, status=status, person=None, distance=2.0,
        margin=None, threshold=1.0, frames=60, windows=2, provisional=False, final=True, reason=None, box=BOX,
        candidates=(("Ada", 2.0), ("Bob", 5.0)), candidate_ids=("a", "b"),
    )  # fmt: skip


def test_only_tracks_that_show_somebody_for_sure_are_kept() -> None:
    upstream = (UpstreamModel("pose", "demo", "0" * 12),)
    kept = sighting_of("run", state_of(2), decided(Status.UNKNOWN), {MODEL: PRINT}, {MODEL: upstream})
    assert kept is not None
    assert (str(kept.track), kept.known, kept.distance, kept.other) == ("run/gate/7", "", 2.0, 5.0)
    assert kept.windows[MODEL].shape == (2, 16, 32)
    assert kept.windows[MODEL].upstream == upstream
    known = replace(decided(Status.KNOWN), person="Ada", person_id="a")
    kept = sighting_of("run", state_of(1), known, {MODEL: PRINT}, {})
    assert kept is not None
    assert kept.known == "a"
    assert sighting_of("run", state_of(2), decided(Status.AMBIGUOUS), {MODEL: PRINT}, {}) is None
    assert sighting_of("run", state_of(0), decided(Status.UNKNOWN), {MODEL: PRINT}, {}) is None


def test_visitors_are_off_unless_a_site_asks_for_them(tmp_path: Path) -> None:
    off = Config.model_validate({"cameras": [{"id": "gate", "url": "synth://?seed=1"}]})
    assert open_desk(off, {MODEL: PRINT}, None, "now") is None
    file = tmp_path / "cams.yaml"
    file.write_text(
        "cameras: [{id: gate, url: 'synth://?seed=1'}]\n"
        "gallery: {path: p.gallery, watchlist_only: true, visitors: {enabled: true}}\n"
    )
    with pytest.raises(ConfigError, match=r"gallery\.visitors.*watchlist_only forbids"):
        load_config(file)


def test_the_linking_distance_follows_the_threshold(tmp_path: Path) -> None:
    config = site(tmp_path / "p.gallery")
    at_threshold = site_rule(config, {MODEL: 9.0}).distances[MODEL]
    assert at_threshold == pytest.approx(3.0 * site_rule(config, {MODEL: None}).distances[MODEL] / 3.0)
    assert site_rule(site(tmp_path / "p.gallery", distance=2.0), {MODEL: None}).distances == {MODEL: 2.0}
    both = site_rule(site(tmp_path / "p.gallery", distance=1.1), {MODEL: 2.0, "biggait": 4.0, "x": None})
    assert both.distances == pytest.approx({MODEL: 2.2, "biggait": 4.4})

"""Hand-off: one person in one place, over cameras whose distances leave a doubt."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from benchmarks.handoff import final_names, score, shift
from benchmarks.handoff_record import Record
from benchmarks.handoff_simulated import SimulatedSite, simulate
from gaitstream.events import (
    CameraHandoff,
    CameraOnline,
    Event,
    GalleryChanged,
    IdentityConfirmed,
    IdentityCorrected,
    IdentityFinal,
    TrackStarted,
)
from gaitstream.fleet.handoff import HandOff, HandOffRules
from tests.fleet.speaking import Cameras, S

RULES = HandOffRules(lost_s=1.0)


class Site(Cameras):
    """Cameras whose events a hand-off takes in at once."""

    def __init__(self) -> None:
        super().__init__(RULES.lost_s)
        self.handing = HandOff(RULES)
        self.told: list[Event] = []

    def tell(self, event: Event, at_s: float) -> list[Event]:
        said = self.handing.take(event, round(at_s * S))
        self.told += said
        return said

    def teach(self, way_s: float = 20.0, times: int = 20) -> float:
        at_s = super().teach(way_s, times)
        self.told.clear()
        return at_s


@pytest.fixture
def site() -> Site:
    return Site()


def corrections(events: list[Event]) -> list[tuple[str, str | None, str]]:
    return [(one.camera, one.person_id, one.cause) for one in events if isinstance(one, IdentityCorrected)]


def test_a_person_who_is_expected_is_known_though_the_camera_doubts(site: Site) -> None:
    at_s = site.teach()
    site.walk("gate", at_s, ada=0.5, ben=1.4)
    said = site.walk("hall", at_s + 24, ada=0.9, ben=0.89)
    assert corrections(said)[0] == ("hall", "ada", "transit")
    corrected = next(one for one in said if isinstance(one, IdentityCorrected))
    assert (corrected.person, corrected.status, corrected.distance, corrected.was_id) == (
        "Ada",
        "known",
        0.9,
        None,
    )
    assert corrected.confidence > 0.9
    [handed] = [one for one in said if isinstance(one, CameraHandoff)]
    assert (handed.person_id, handed.from_camera, handed.camera) == ("ada", "gate", "hall")
    assert handed.transit_s == pytest.approx(20.0)
    assert handed.expected_s == pytest.approx(20.0, rel=0.15)


def test_a_wrong_name_gives_way_to_who_is_expected(site: Site) -> None:
    at_s = site.teach()
    site.walk("gate", at_s, ada=0.5, ben=1.4)
    site.walk("roof", at_s + 20, ben=0.5, ada=1.4)
    said = site.walk("hall", at_s + 24, ben=0.88, ada=0.93)
    assert corrections(said)[0] == ("hall", "ada", "transit")
    assert next(one for one in said if isinstance(one, IdentityCorrected)).was_id == "ben"


def test_the_last_word_of_the_camera_is_corrected_too(site: Site) -> None:
    at_s = site.teach()
    site.walk("gate", at_s, ada=0.5, ben=1.4)
    site.walk("hall", at_s + 24, ada=0.9, ben=0.89)
    named = [one for one in site.told if isinstance(one, IdentityCorrected) and one.camera == "hall"]
    assert [one.person_id for one in named] == ["ada", "ada"]


def test_nobody_is_at_two_far_cameras_at_once(site: Site) -> None:
    far = site.begin("yard", 0.0)
    site.say(far, 2.0, ada=0.55, ben=1.4)
    near = site.begin("gate", 4.0)
    site.say(near, 4.9, ada=0.95, ben=1.4)
    assert corrections(site.told) == []  # the other track may have lost its person before
    site.tell(CameraOnline(time_ns=0, camera="roof"), 5.1)
    assert corrections(site.told) == [("gate", None, "elsewhere")]


def test_where_nothing_is_at_stake_cameras_are_left_alone(site: Site) -> None:
    site.walk("gate", 0.0, ada=0.6, ben=1.3)
    site.walk("yard", 1.0, ben=0.8, ada=1.3)
    site.walk("hall", 50.0, cleo=0.99, ada=1.1)
    site.walk("hall", 90.0, dora=0.9, ada=0.91)
    assert corrections(site.told) == []


def test_strangers_stay_strangers_even_where_somebody_is_expected(site: Site) -> None:
    at_s = site.teach()
    site.walk("gate", at_s, ada=0.5, ben=1.4)
    assert corrections(site.walk("hall", at_s + 24, ada=1.45, ben=1.5)) == []


def test_two_cameras_that_see_the_same_place_may_show_the_same_person(site: Site) -> None:
    for number in range(12):
        at_s = number * 100.0
        one, other = site.begin("left", at_s), site.begin("right", at_s + 1)
        site.say(one, at_s + 4, ada=0.5, ben=1.4)
        site.say(other, at_s + 5, ada=0.6, ben=1.4)
        site.say(one, at_s + 9, IdentityFinal, ada=0.5, ben=1.4)
        site.end(one, at_s + 9)
        said = site.say(other, at_s + 10, IdentityFinal, ada=0.6, ben=1.4)
        site.end(other, at_s + 10)
    assert corrections(said) == []


def test_pieces_of_a_track_are_the_same_person(site: Site) -> None:
    first = site.begin("gate", 0.0)
    site.say(first, 3.0, ada=0.5, ben=1.4)
    second = site.begin("gate", 3.4)
    site.say(second, 5.4, ada=0.7, ben=1.4)
    site.end(first, 3.0)
    site.say(second, 8.0, IdentityConfirmed, ada=0.6, ben=1.4)
    assert corrections(site.told) == []


def test_a_track_that_breaks_is_no_reason_to_doubt_the_second_piece(site: Site) -> None:
    at_s = site.teach()  # that people who leave the gate are seen in the hall next
    site.walk("gate", at_s, ada=0.5, ben=1.4)
    assert corrections(site.walk("gate", at_s + 6, ada=0.99, ben=1.4)) == []


def test_a_worker_that_died_leaves_no_track_behind(site: Site) -> None:
    lost = site.begin("gate", 0.0, run="died")
    site.say(lost, 2.0, ada=0.5, ben=1.4)
    site.begin("gate", 30.0, run="new")
    assert [key[0] for key in site.handing._tracks.open] == ["new"]


def open_runs(site: Site) -> list[str]:
    return [key[0] for key in site.handing._tracks.open]


def test_what_a_dead_worker_said_opens_no_track_and_ends_none_when_it_comes_late(site: Site) -> None:
    lost = site.begin("gate", 0.0, run="died")
    site.begin("gate", 30.0, run="new")
    site.say(lost, 20.0, ada=0.5, ben=1.4)
    site.begin("gate", 21.0, run="died")
    site.tell(CameraOnline(time_ns=0, camera="gate", run="died"), 22.0)
    assert open_runs(site) == ["new"]
    site.tell(CameraOnline(time_ns=0, camera="gate", run="died"), 40.0)  # it has the camera again
    site.begin("gate", 41.0, run="died")
    assert open_runs(site) == ["died"]


def test_the_later_lease_has_the_camera_whatever_the_clocks_say(site: Site) -> None:
    def begun(run: str, lease: int, at_s: float) -> None:
        site.track += 1
        started = TrackStarted(time_ns=0, run=run, camera="gate", track=site.track, lease=lease)
        site.tell(started, at_s)

    begun("before", 4, 10.0)
    begun("after", 7, 9.5)
    begun("before", 4, 10.1)
    assert open_runs(site) == ["after"]
    begun("before", 9, 9.4)
    assert open_runs(site) == ["before"]


def test_a_camera_that_is_taken_over_holds_nobody_whom_the_dead_worker_saw(site: Site) -> None:
    at_s = site.teach()
    lost = site.begin("gate", at_s, run="died")
    site.say(lost, at_s + 2, ada=0.5, ben=1.4)
    site.tell(CameraOnline(time_ns=0, camera="gate", run="new"), at_s + 10)
    site.walk("hall", at_s + 30, ada=0.62, ben=1.4)
    assert corrections(site.told) == []


def test_a_track_that_nobody_speaks_of_any_more_holds_nobody_for_ever(site: Site) -> None:
    at_s = site.teach()
    lost = site.begin("gate", at_s, run="died")
    site.say(lost, at_s + 2, ada=0.5, ben=1.4)
    site.walk("hall", at_s + 30, ada=0.62, ben=1.4)
    assert corrections(site.told) != []  # until then it may well go on
    site.told.clear()
    site.walk("hall", at_s + 2 * RULES.horizon_s, ada=0.62, ben=1.4)
    assert corrections(site.told) == []
    assert site.handing._tracks.open == {}


def test_people_who_left_the_gallery_are_forgotten(site: Site) -> None:
    at_s = site.teach()
    site.walk("gate", at_s, ada=0.5, ben=1.4)
    site.tell(GalleryChanged(time_ns=0, people=1, removed=("ada",)), at_s + 10)
    said = site.walk("hall", at_s + 24, ada=0.9, ben=0.89)
    assert corrections(said) == []
    assert not [one for one in said if isinstance(one, CameraHandoff)]


def test_what_it_publishes_is_not_taken_in_again(site: Site) -> None:
    at_s = site.teach()
    site.walk("gate", at_s, ada=0.5, ben=1.4)
    for event in site.walk("hall", at_s + 24, ada=0.9, ben=0.89):
        assert site.tell(event, at_s + 40) == []


@functools.cache
def drawn(hours: float = 0.35, slower_from: float | None = None) -> Record:
    return simulate(SimulatedSite(seed=2, hours=hours), slower_from)


CLOCKS = {"cam2": -45.0, "cam5": 30.0}


@pytest.mark.parametrize(
    "record",
    [lambda: drawn(), lambda: shift(drawn(), CLOCKS), lambda: drawn(0.6, 0.5)],
    ids=["as it is", "clocks shifted", "ways that change"],
)
def test_a_site_knows_more_than_its_cameras(record: Any) -> None:
    played = record()
    alone = score(played, final_names(played, handing=None))
    together = score(played, final_names(played, handing=HandOff(RULES)))
    assert together.idf1 > alone.idf1 + 0.015
    assert together.wrong < 0.85 * alone.wrong
    assert together.right > alone.right


def test_a_name_that_comes_after_those_who_are_taken_is_left_alone(site: Site) -> None:
    """The camera lists five, and may name the sixth where five others are in the picture."""
    track = site.begin("gate", 0.0)
    ranked: dict[str, Any] = {f"p{number}": 0.5 + 0.01 * number for number in range(5)}
    site.say(track, 2.0, **ranked)
    said = site.tell(
        IdentityFinal(
            time_ns=3 * S, **track, status="known", person="Ada", person_id="ada", distance=0.6,
            threshold=1.0, windows=1, margin=0.2,
            candidates=tuple((name.title(), far) for name, far in ranked.items()),
            candidate_ids=tuple(ranked),
        ),
        3.5,
    )  # fmt: skip
    assert corrections(said) == []


def test_a_correction_is_withdrawn_when_what_spoke_against_it_changes(site: Site) -> None:
    far = site.begin("yard", 0.0)
    site.say(far, 2.0, ada=0.55, ben=1.4)
    near = site.begin("gate", 4.0)
    site.say(near, 7.0, ada=0.95, ben=1.4)
    site.say(far, 9.0, ben=0.5, ada=1.4)
    assert corrections(site.told) == [("gate", None, "elsewhere"), ("gate", "ada", "withdrawn")]


def test_a_correction_ends_when_the_camera_says_the_same(site: Site) -> None:
    at_s = site.teach()
    site.walk("gate", at_s, ada=0.5, ben=1.4)
    track = site.begin("hall", at_s + 24)
    site.say(track, at_s + 26, ben=0.88, ada=0.93)
    assert corrections(site.told)[-1] == ("hall", "ada", "transit")
    assert corrections(site.say(track, at_s + 28, IdentityFinal, ada=0.7, ben=0.9)) == []

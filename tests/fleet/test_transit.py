"""Transit times: what is learned, what is forgotten, what nothing is known of."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from gaitstream.fleet.transit import REMEMBERED, TransitState, TransitTimes


def taught(transits: np.ndarray, origin: str = "gate", camera: str = "hall") -> TransitTimes:
    times = TransitTimes()
    for other in ("yard", "stairs", "lift", "roof"):
        times.see(other)
    for transit_s in transits:
        times.learn(origin, camera, float(transit_s))
    return times


@pytest.fixture
def walks_s() -> np.ndarray:
    return np.random.default_rng(3).lognormal(np.log(20.0), 0.2, 60)


def test_of_ways_that_nobody_went_nothing_is_known() -> None:
    times = taught(np.array([]))
    for transit_s in (0.5, 20.0, 300.0):
        assert abs(times.log_ratio("gate", "hall", transit_s)) < 0.8
    assert times.expected_s("gate", "hall") is None


def test_somebody_cannot_be_in_two_places_before_anything_is_learned() -> None:
    assert taught(np.array([])).log_ratio("gate", "hall", -5.0) < -2


def test_what_is_usual_speaks_for_and_what_is_not_against(walks_s: np.ndarray) -> None:
    times = taught(walks_s)
    assert times.expected_s("gate", "hall") == pytest.approx(20.0, rel=0.15)
    assert times.log_ratio("gate", "hall", 20.0) > 3
    assert times.log_ratio("gate", "hall", 3.0) < -1
    assert times.log_ratio("gate", "yard", 20.0) < -1


def test_after_a_long_time_the_last_place_says_nothing(walks_s: np.ndarray) -> None:
    times = taught(walks_s)
    assert abs(times.log_ratio("gate", "yard", 400.0)) < 1
    assert times.log_ratio("gate", "hall", 600.0) == 0.0


def test_clocks_that_differ_are_learned_as_times_before_zero(walks_s: np.ndarray) -> None:
    times = taught(walks_s - 60.0)
    assert times.expected_s("gate", "hall") == pytest.approx(-40.0, rel=0.15)
    assert times.log_ratio("gate", "hall", -40.0) > 2
    assert times.log_ratio("gate", "hall", -100.0) < -1


def test_a_way_that_changes_is_followed(walks_s: np.ndarray) -> None:
    times = taught(walks_s)
    before = times.log_ratio("gate", "hall", 60.0)
    for transit_s in walks_s[:15] * 3:
        times.learn("gate", "hall", float(transit_s))
    assert times.log_ratio("gate", "hall", 60.0) > before + 1
    for transit_s in np.tile(walks_s, 4)[: 2 * REMEMBERED] * 3:
        times.learn("gate", "hall", float(transit_s))
    assert times.expected_s("gate", "hall") == pytest.approx(60.0, rel=0.15)


def test_one_wrong_match_among_many_changes_little(walks_s: np.ndarray) -> None:
    times = taught(walks_s)
    before = times.log_ratio("gate", "hall", 20.0)
    times.learn("gate", "yard", 2.0)
    assert times.log_ratio("gate", "hall", 20.0) == pytest.approx(before, abs=0.2)
    assert times.log_ratio("gate", "yard", 2.0) < times.log_ratio("gate", "hall", 20.0)


def test_cameras_that_see_the_same_place_are_found() -> None:
    times = TransitTimes()
    for _ in range(6):
        times.learn("gate", "hall", -1.0, at_once=True)
        times.learn("gate", "yard", 9.0)
    assert times.see_together("hall", "gate")
    assert not times.see_together("gate", "yard")
    assert not times.see_together("hall", "yard")


def test_what_was_learned_can_be_kept(walks_s: np.ndarray) -> None:
    times = taught(walks_s)
    times.learn("gate", "yard", -1.0, at_once=True)
    kept = msgspec.json.decode(msgspec.json.encode(times.state()), type=TransitState)
    again = TransitTimes(state=kept)
    for other in ("yard", "stairs", "lift", "roof"):
        again.see(other)
    for camera, transit_s in (("hall", 20.0), ("hall", 3.0), ("yard", -1.0)):
        expected = times.log_ratio("gate", camera, transit_s)
        assert again.log_ratio("gate", camera, transit_s) == pytest.approx(expected, abs=0.02)
    assert again.expected_s("gate", "hall") == times.expected_s("gate", "hall")

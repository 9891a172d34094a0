from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitstream.fleet.balance import (
    Taker,
    Totals,
    camera_weight,
    can_move,
    fewest,
    fitting,
    room_to_take,
    surplus,
)

WEIGHTS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3), st.floats(0.1, 5), min_size=1, max_size=8
)


def test_the_usual_camera_weighs_one_and_a_frame_without_people_half_of_it() -> None:
    assert camera_weight(15, 1) == 1.0
    assert camera_weight(15, 0) == 0.5
    assert camera_weight(7.5, 3) == 1.0


def test_shares_follow_capacity() -> None:
    totals = Totals(workers=3, capacity=40, weight=10, waiting=10, cameras=40)
    assert totals.fair_share(20) == 10
    assert totals.fair_share(10) == 5
    assert totals.unit == 0.5


def test_a_patient_worker_leaves_to_others_what_is_theirs() -> None:
    totals = Totals(workers=2, capacity=16, weight=0, waiting=8, cameras=8)
    assert 4 <= room_to_take(0, 8, totals, patient=True) < 5
    assert room_to_take(0, 8, totals, patient=False) == 8
    assert room_to_take(6, 8, totals, patient=True) < 0


@pytest.mark.parametrize(("room", "chosen"), [(0, []), (1, ["b"]), (3, ["a", "b"]), (9, ["a", "b", "c"])])
def test_cameras_are_taken_in_order_and_too_large_ones_passed_over(room: float, chosen: list[str]) -> None:
    assert fitting([("a", 2), ("b", 1), ("c", 4)], room) == chosen


def test_an_even_fleet_moves_nothing_and_an_uneven_one_little() -> None:
    totals = Totals(workers=4, capacity=32, weight=16, waiting=0, cameras=16)
    assert surplus(4, 8, totals) == 0
    assert surplus(6, 8, totals) == 0  # within tolerance and a camera
    assert surplus(8, 8, totals) == pytest.approx(2)
    assert surplus(9, 8, totals) == pytest.approx(3)


@given(WEIGHTS, st.floats(0, 20))
def test_what_is_given_back_is_enough_and_no_camera_of_it_is_needless(
    weights: dict[str, float], excess: float
) -> None:
    chosen = fewest(weights, excess)
    given = sum(weights[camera] for camera in chosen)
    assert len(set(chosen)) == len(chosen)
    assert given >= min(excess, sum(weights.values())) - 1e-5
    largest = sorted(weights.values(), reverse=True)
    assert sum(largest[: max(0, len(chosen) - 1)]) < excess or not chosen  # fewer would not do


def test_a_camera_moves_only_where_somebody_has_its_labels_and_room() -> None:
    totals = Totals(workers=2, capacity=16, weight=9, waiting=0, cameras=9)
    plain, north = Taker(8, 1, frozenset()), Taker(8, 7.9, frozenset({"north"}))
    assert can_move(1, frozenset(), [plain], totals)
    assert not can_move(1, frozenset({"north"}), [plain], totals)
    assert not can_move(1, frozenset({"north"}), [plain, north], totals)

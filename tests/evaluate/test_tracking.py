"""Tracking scores on tracks whose faults are known."""

from __future__ import annotations

import pytest

from gaitstream.evaluate.tracking import TrackedFrame, frame, score_tracks

LEFT, RIGHT = [0, 0, 10, 20], [100, 0, 110, 20]


def perfect(frames: int, left: int = 7, right: int = 9) -> list[TrackedFrame]:
    return [frame([1, 2], [LEFT, RIGHT], [left, right], [LEFT, RIGHT]) for _ in range(frames)]


def test_perfect_tracks_score_one() -> None:
    score = score_tracks([perfect(10)])
    assert (score.hota, score.idf1, score.mota, score.id_switches) == (1.0, 1.0, 1.0, 0)
    assert score.frames == 10


def test_exchanged_numbers_half_way_are_two_switches_and_half_the_identity() -> None:
    score = score_tracks([perfect(10) + perfect(10, left=9, right=7)])
    assert score.id_switches == 2
    assert score.switches_per_1000 == pytest.approx(1000 * 2 / 40)
    assert score.idf1 == pytest.approx(0.5)
    assert 0.5 < score.hota < 1.0


def test_a_missed_person_halves_the_recall() -> None:
    score = score_tracks([[frame([1, 2], [LEFT, RIGHT], [7], [LEFT]) for _ in range(10)]])
    assert score.idf1 == pytest.approx(2 / 3)
    assert score.mota == pytest.approx(0.5)
    assert (score.truths, score.misses, score.strays, score.fragments) == (20, 10, 0, 0)


def test_frames_without_people_or_tracks() -> None:
    empty = frame([], [], [], [])
    score = score_tracks([[empty, *perfect(5), frame([1], [LEFT], [], []), empty]])
    assert score.frames == 8
    assert score.idf1 == pytest.approx(2 * 10 / (11 + 10))


def test_the_same_number_on_two_cameras_is_two_tracks() -> None:
    assert score_tracks([perfect(5), perfect(5, left=9, right=7)]).idf1 == 1.0

"""Evidence of tracks that belong together or do not: joined and split by how they walk."""

from __future__ import annotations

import numpy as np
import pytest

from gaitstream.data import Embedding, Person, Status, Tracklet
from gaitstream.gallery.matching import Matcher
from gaitstream.pipeline.identify import Identifier
from gaitstream.pipeline.known import DecisionLimits, KnownPeople
from gaitstream.pipeline.pieces import MOST_TRACKS, MOST_WINDOWS, REMEMBERED_NS, Pieces, unlikeness
from gaitstream.pipeline.ranking import ComparedWindow, ScoreScale
from gaitstream.pipeline.source.clock import SECOND_NS

LIMITS = DecisionLimits(threshold=3.0, margin=1.0)


def at(value: float) -> np.ndarray:
    """An embedding of two parts on a line: distances are differences."""
    return np.array([[value, 0], [value, 0]], np.float32)


KNOWN = KnownPeople.of({"gait": Matcher.build([("Ada", at(0)[None]), ("Bob", at(10)[None])])})


class Site:
    """One camera's tracks, by hand."""

    def __init__(self, limits: DecisionLimits = LIMITS) -> None:
        self.identifier = Identifier("gate", KNOWN, limits)

    def see(self, track: int, second: float) -> None:
        box = np.array([0, 0, 10, 30], np.float32)
        self.identifier.observe([Person("gate", track, 0, round(second * SECOND_NS), box, 0.9)])

    def add(self, track: int, value: float, *, provisional: bool = False) -> None:
        empty = np.empty((0, 0, 0), np.float32)
        embedding = Embedding(
            Tracklet("gait", "gate", track, 1, 2, 30, empty, provisional), at(value), "print"
        )
        [compared] = KNOWN.match([embedding])
        self.identifier.add(embedding, compared)

    def name(self, track: int) -> str | None:
        return self.identifier.decide(track).person

    def windows(self, track: int) -> int:
        return self.identifier.decide(track).windows


def came_back(limits: DecisionLimits = LIMITS) -> Site:
    """Track 1 showed Ada and ended; track 2 may go on with it."""
    site = Site(limits)
    site.see(1, 0)
    site.add(1, 1.0)
    site.add(1, 1.4)
    site.identifier.end(1)
    site.see(2, 5)
    site.identifier.join(2, 1)
    return site


def test_nothing_counts_before_the_walks_agree() -> None:
    site = came_back()
    assert site.identifier.decide(2).status is Status.INSUFFICIENT


@pytest.mark.parametrize("provisional", [True, False])
def test_walks_that_agree_bring_the_earlier_windows_back(provisional: bool) -> None:
    site = came_back()
    site.add(2, 3.4, provisional=provisional)  # on its own too far from Ada
    assert site.name(2) == "Ada"
    assert site.windows(2) == (2 if provisional else 3)


def test_walks_that_do_not_agree_stay_apart() -> None:
    site = came_back()
    site.add(2, 9.0)
    assert (site.name(2), site.windows(2)) == ("Bob", 1)
    site.add(2, 9.0)
    assert site.windows(2) == 2


def test_a_doubtful_provisional_window_leaves_the_question_open() -> None:
    site = came_back()
    site.add(2, 5.0, provisional=True)
    assert site.name(2) is None
    site.add(2, 1.0)
    assert (site.name(2), site.windows(2)) == ("Ada", 3)


def test_without_a_threshold_nothing_is_joined() -> None:
    site = came_back(DecisionLimits(threshold=None))
    site.add(2, 1.0)
    assert site.windows(2) == 1


def test_a_window_of_somebody_else_splits_a_track() -> None:
    site = Site()
    site.see(1, 0)
    site.add(1, 0.0)
    site.add(1, 0.5)
    assert site.name(1) == "Ada"
    site.add(1, 9.5)
    assert (site.name(1), site.windows(1)) == ("Bob", 1)


def test_windows_that_vary_as_one_person_does_split_nothing() -> None:
    site = Site()
    site.see(1, 0)
    for value in (0.0, 2.5, -1.0):
        site.add(1, value)
    assert site.windows(1) == 3


def test_windows_that_name_the_same_person_split_nothing() -> None:
    site = Site()
    site.see(1, 0)
    site.add(1, 2.5)
    site.add(1, -2.0)
    assert (site.name(1), site.windows(1)) == ("Ada", 2)


def test_a_chain_of_pieces_holds() -> None:
    site = came_back()
    site.add(2, 1.0)
    site.identifier.end(2)
    site.see(3, 10)
    site.identifier.join(3, 2)
    site.add(3, 1.0)
    assert site.windows(3) == 4


def window(value: float) -> ComparedWindow:
    return ComparedWindow(at(value))


def test_what_is_remembered_is_bounded_in_number_and_time() -> None:
    pieces = Pieces()
    for track in range(MOST_TRACKS + 10):
        pieces.keep(track, 0, {"gait": [window(0)] * (MOST_WINDOWS + 5)})
    assert pieces.of(0) is None
    last = pieces.of(MOST_TRACKS + 9)
    assert last is not None
    assert len(last["gait"]) == MOST_WINDOWS
    pieces.keep(1000, REMEMBERED_NS + 1, {"gait": [window(0)]})
    assert pieces.of(MOST_TRACKS + 9) is None
    assert pieces.of(1000) is not None
    pieces.keep(1001, REMEMBERED_NS + 1, {"gait": []})
    assert pieces.of(1001) is None


def test_models_are_compared_in_units_of_their_own_thresholds() -> None:
    scales = {"a": ScoreScale(weight=3.0, unit=2.0), "b": ScoreScale(weight=1.0, unit=4.0)}
    one = {"a": [window(0)], "b": [window(0)]}
    other = {"a": [window(2)], "b": [window(8)]}
    limits = DecisionLimits(threshold=1.0)
    assert unlikeness(one, other, scales, limits) == pytest.approx((3 * 1 + 1 * 2) / 4)
    assert unlikeness(one, {}, scales, limits) is None

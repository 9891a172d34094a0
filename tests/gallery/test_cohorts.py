"""How near strangers come: by what the walks say where there are many, as usual where there are few."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream.gallery.cohorts import FARTHEST, MEDIAN, NEAREST, USUAL, Doubles, in_cohorts, linking_unit


def apart(count: int, distance: float) -> Doubles:
    """Walks that are all so far from each other."""
    means = np.full((count, count), distance)
    np.fill_diagonal(means, np.inf)
    return means


def test_a_linking_distance_that_is_wide_for_the_site_s_strangers_is_brought_down() -> None:
    means = apart(500, MEDIAN)
    assert linking_unit(means, np.arange(500), 1.5) == pytest.approx(1.0, abs=0.02)
    assert linking_unit(means, np.arange(500), 0.8) == 0.8  # and never put up
    half = linking_unit(apart(11, MEDIAN), np.arange(11), 1.5)
    assert half == pytest.approx(1.25)


def test_who_alone_comes_says_nothing_about_strangers() -> None:
    assert linking_unit(apart(40, 0.5), np.zeros(40, np.intp), 1.5) == 1.5
    alone = np.repeat([0, 1], [99, 1])
    assert linking_unit(apart(100, 0.5), alone, 1.5) == pytest.approx(1.5, abs=0.01)


def everybody(count: int) -> NDArray[np.intp]:
    """Each walk another person's."""
    return np.arange(count)


def test_distances_are_in_relation_to_those_before_the_same_camera() -> None:
    means = apart(400, 1.4)
    cameras = ["gate", "hall"] * 200
    here = np.array([one == "hall" for one in cameras])
    means[np.ix_(here, here)] = 1.2
    np.fill_diagonal(means, np.inf)
    relative = in_cohorts(means, everybody(400), cameras)
    assert relative[0, 1] == relative[1, 0] == pytest.approx(1.0, abs=0.05)
    assert relative[1, 3] == pytest.approx(1.0, abs=0.05)
    assert in_cohorts(means, everybody(400), ["gate"] * 400)[0, 1] > relative[0, 1] + 0.05


@pytest.mark.parametrize(("distance", "cohort"), [(0.5, NEAREST), (1.3, USUAL), (5.0, FARTHEST)])
def test_a_cohort_is_not_nearer_or_farther_than_strangers_are(distance: float, cohort: float) -> None:
    relative = in_cohorts(apart(300, distance), everybody(300), ["gate"] * 300)
    assert relative[0, 1] == pytest.approx(distance / cohort)


def test_few_people_are_seen_as_usual_however_many_walks_they_make() -> None:
    assert in_cohorts(apart(2, 1.0), everybody(2), ["gate"] * 2)[0, 1] == pytest.approx(1 / USUAL)
    often = np.repeat([0, 1], [290, 10])
    assert in_cohorts(apart(300, 1.0), often, ["gate"] * 300)[0, 1] == pytest.approx(1 / USUAL, abs=0.01)


def test_who_has_no_window_of_a_model_stays_without_a_distance() -> None:
    means = apart(30, 1.3)
    means[4], means[:, 4] = np.inf, np.inf
    relative = in_cohorts(means, everybody(30), ["gate"] * 30)
    assert np.isinf(relative[4]).all()
    assert relative[0, 1] == pytest.approx(1.0)

"""Verification and open-set rates on cases small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitstream.errors import GaitstreamError
from gaitstream.evaluate.openset import search
from gaitstream.evaluate.verification import pairs, verify

DISTANCES = st.lists(st.floats(0, 10, allow_subnormal=False), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("genuine", "impostor", "eer"),
    [
        ([1, 2], [3, 4], 0.0),
        ([3, 4], [1, 2], 1.0),
        ([1, 2, 3, 9], [4, 5, 6, 7], 0.25),
        ([1, 3, 5, 7], [2, 4, 6, 8], 0.5),
        ([1], [1], 0.5),
    ],
)
def test_equal_error_rate(genuine: list[float], impostor: list[float], eer: float) -> None:
    assert verify(genuine, impostor).eer == pytest.approx(eer)


def test_rates_at_each_threshold() -> None:
    result = verify([1.0, 2.0, 5.0], [3.0, 4.0, 6.0])
    rates = np.column_stack([result.far, result.frr])
    at = dict(zip(result.thresholds.tolist(), rates.tolist(), strict=True))
    np.testing.assert_allclose(at[2.0], (0, 1 / 3))
    np.testing.assert_allclose(at[4.0], (2 / 3, 1 / 3))
    assert at[6.0] == [1.0, 0.0]
    np.testing.assert_allclose(result.frr_at_far(0.0), (1 / 3, 2.0))
    assert result.eer == pytest.approx(1 / 3)
    assert 2.0 < result.eer_threshold <= 3.0


@given(DISTANCES, DISTANCES)
def test_curves_are_monotonic_and_the_crossing_lies_between(
    genuine: list[float], impostor: list[float]
) -> None:
    result = verify(genuine, impostor)
    assert (np.diff(result.far) >= 0).all()
    assert (np.diff(result.frr) <= 0).all()
    assert (result.far[0], result.frr[0]) == (0.0, 1.0)
    assert (result.far[-1], result.frr[-1]) == (1.0, 0.0)
    assert 0.0 <= result.eer <= 1.0


def test_pairs_respect_the_mask() -> None:
    dist = np.arange(6.0).reshape(2, 3)
    genuine, impostor = pairs(dist, ["a", "b"], ["a", "b", "a"], [[1, 1, 0], [1, 1, 1]])
    assert genuine.tolist() == [0.0, 4.0]
    assert impostor.tolist() == [1.0, 3.0, 5.0]


def test_empty_or_undefined_distances_are_errors() -> None:
    with pytest.raises(GaitstreamError, match="0 genuine and 1 impostor"):
        verify([], [1.0])
    with pytest.raises(GaitstreamError, match="finite"):
        verify([float("nan")], [1.0])


def test_open_set_counts() -> None:
    # Enrolled a, b; probes: a right at 1, b misnamed at 2, b right at 6; strangers at 3 and 5.
    dist = [[1, 9], [2, 4], [8, 6], [3, 7], [9, 5]]
    result = search(dist, ["a", "b", "b", "x", "y"], ["a", "b"])
    assert result.fpir(4) == 0.5
    assert result.fnir(4) == pytest.approx(2 / 3)
    assert result.misidentified(4) == pytest.approx(1 / 3)
    assert result.threshold_at_fpir(0.0) < 3 <= result.threshold_at_fpir(0.5) < 5
    assert result.fnir_at_fpir(0.0) == pytest.approx(2 / 3)
    assert result.threshold_at_fpir(1.0) == float("inf")
    assert result.fnir_at_fpir(1.0) == pytest.approx(1 / 3)


def test_open_set_needs_strangers_and_enrolled() -> None:
    with pytest.raises(GaitstreamError, match="1 of 1 probes are enrolled"):
        search([[1.0]], ["a"], ["a"])

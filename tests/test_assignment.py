"""One to one at the least cost: as SciPy finds it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from gaitstream.assignment import assign


def test_it_finds_what_scipy_finds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(2000):
        cost = rng.random(rng.integers(1, 12, 2)) * 30 - 5
        cost[rng.random(cost.shape) < 0.4] = 1e6  # pairs that must not be
        found, wanted = assign(cost), linear_sum_assignment(cost)
        assert [len(one) for one in found] == [len(one) for one in wanted]
        assert cost[found].sum() == pytest.approx(cost[wanted].sum())
        pairs, theirs = ({*zip(*one, strict=True)} for one in (found, wanted))
        assert {pair for pair in pairs if cost[pair] < 1e6} == {pair for pair in theirs if cost[pair] < 1e6}
        assert (np.diff(found[0]) > 0).all()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (1, 1)])
def test_nobody_and_one_alone(shape: tuple[int, int]) -> None:
    rows, columns = assign(np.zeros(shape))
    assert rows.tolist() == columns.tolist() == list(range(min(shape)))
    assert rows.dtype == columns.dtype == np.intp

"""A few seconds of `benchmarks/fuzz.py`, and everything its longer runs kept."""

from __future__ import annotations

import pytest

from benchmarks.fuzz import TARGETS, blindly, corpus


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_unexpected_is_raised(name: str) -> None:
    for data in corpus(name):
        TARGETS[name](data)
    assert blindly(name, 0.5, seed=1) > 3

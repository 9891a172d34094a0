"""The small form of `benchmarks/chaos.py`, in every run: all its attacks at once, a few thousand events."""

from __future__ import annotations

import pytest

from benchmarks.chaos import run


@pytest.mark.parametrize("curve", [False, True], ids=["open", "curve"])
def test_every_event_arrives_once_and_in_order_whatever_happens(curve: bool) -> None:
    outcome = run(events=4_000, seconds=6.0, seed=7, curve=curve)
    assert outcome.flawless, outcome
    for action in ("kill publisher", "kill subscriber", "full disk", "clock step", "restore"):
        assert outcome.actions[action], outcome
    assert outcome.notices.get("rewound"), outcome
    assert not outcome.notices.get("lost"), outcome
    assert outcome.rss_mib < 200, outcome

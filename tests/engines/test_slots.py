"""Slots that take turns: order, errors, closing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from gaitstream.engines.base import Array
from gaitstream.engines.slots import SlotPool
from gaitstream.errors import EngineError


class Recorder:
    """A slot that gives back what it was fed, and refuses or fails on negative values."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log
        self.busy: Array | None = None

    def start(self, feeds: dict[str, Array], into: Mapping[str, Array]) -> None:
        assert not into
        assert self.busy is None
        if feeds["x"][0] == -1:
            raise EngineError("refused")
        self.busy = feeds["x"]
        self.log.append(f"start {self.name}")

    def wait(self) -> dict[str, Array]:
        assert self.busy is not None
        value, self.busy = self.busy, None
        self.log.append(f"wait {self.name}")
        if value[0] == -2:
            raise EngineError("failed")
        return {"y": value}

    def free(self) -> None:
        self.log.append(f"free {self.name}")


def feed(value: int) -> dict[str, Array]:
    return {"x": np.array([value])}


def test_the_oldest_makes_room_and_every_caller_gets_its_own() -> None:
    log: list[str] = []
    turns = SlotPool([Recorder("b", log), Recorder("a", log)])
    pending = [turns.submit(feed(value)) for value in range(4)]
    assert log == ["start a", "start b", "wait a", "start a", "wait b", "start b"]
    assert [int(one.result()["y"][0]) for one in reversed(pending)] == [3, 2, 1, 0]
    assert [int(one.result()["y"][0]) for one in pending] == [0, 1, 2, 3]
    assert log.count("wait a") == log.count("wait b") == 2


def test_a_refusal_and_a_failure_leave_the_slot_free() -> None:
    turns = SlotPool([Recorder("a", [])])
    with pytest.raises(EngineError, match="refused"):
        turns.submit(feed(-1))
    failing = turns.submit(feed(-2))
    assert turns.submit(feed(5)).result()["y"][0] == 5
    for _ in range(2):
        with pytest.raises(EngineError, match="failed"):
            failing.result()


def test_settling_finishes_what_runs_and_leaves_the_slots() -> None:
    log: list[str] = []
    turns = SlotPool([Recorder("a", log), Recorder("b", log)])
    pending = [turns.submit(feed(value)) for value in (1, 2)]
    turns.settle()
    turns.settle()
    assert log[2:] == ["wait b", "wait a"]
    assert [int(one.result()["y"][0]) for one in pending] == [1, 2]
    assert turns.submit(feed(3)).result()["y"][0] == 3


def test_closing_finishes_what_runs() -> None:
    log: list[str] = []
    turns = SlotPool([Recorder("a", log), Recorder("b", log)])
    pending = turns.submit(feed(1))
    turns.close()
    turns.close()
    assert pending.result()["y"][0] == 1
    assert sorted(log[-2:]) == ["free a", "free b"]
    with pytest.raises(EngineError, match="closed: open it again"):
        turns.submit(feed(1))

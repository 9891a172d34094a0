"""Events that wait for room: order, bounds, counts and recovery, with time driven by hand."""

from __future__ import annotations

import logging

import pytest

from gaitstream.errors import EventError, JournalWriteError
from gaitstream.pipeline.backlog import RETRY_S, EventBacklog


class Journal:
    """Takes items while it has room."""

    def __init__(self) -> None:
        self.room = True
        self.written: list[int] = []
        self.attempts = 0

    def write(self, item: int) -> None:
        self.attempts += 1
        if not self.room:
            raise JournalWriteError("the disk is full", full=True)
        if item < 0:
            raise EventError(f"{item} is larger than a megabyte")
        self.written.append(item)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True)
def _log_reaches_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("gaitstream"), "propagate", True)


def test_what_cannot_be_written_waits_in_order_and_is_written_when_there_is_room(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal, clock = Journal(), Clock()
    backlog = EventBacklog(journal.write, clock=clock)
    backlog.put(1)
    journal.room = False
    for item in (2, 3, 4):
        backlog.put(item)
    assert (journal.written, backlog.waiting, backlog.lost) == ([1], 3, 0)
    assert journal.attempts == 2, "a journal that takes nothing is not asked at every event"
    backlog.retry()
    assert journal.attempts == 2
    clock.now_s += RETRY_S
    backlog.retry()
    assert journal.attempts == 3
    journal.room = True
    backlog.put(5)
    assert journal.written == [1], "the pause is not over"
    clock.now_s += RETRY_S
    backlog.put(6)
    assert (journal.written, backlog.waiting, backlog.lost) == ([1, 2, 3, 4, 5, 6], 0, 0)
    assert sum("cannot be written now (the disk is full)" in line for line in caplog.messages) == 1
    assert sum("are written again" in line for line in caplog.messages) == 1


def test_each_time_that_it_fails_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    journal, clock = Journal(), Clock()
    backlog = EventBacklog(journal.write, clock=clock)
    for _ in range(3):
        journal.room = False
        for item in range(5):
            backlog.put(item)
            clock.now_s += RETRY_S
        journal.room = True
        backlog.retry()
    assert sum("cannot be written now" in line for line in caplog.messages) == 3
    assert journal.written == [0, 1, 2, 3, 4] * 3


def test_too_many_push_the_oldest_out_and_are_counted() -> None:
    journal, clock = Journal(), Clock()
    backlog = EventBacklog(journal.write, limit=4, clock=clock)
    journal.room = False
    for item in range(10):
        backlog.put(item)
    assert (backlog.waiting, backlog.lost) == (4, 6)
    journal.room = True
    clock.now_s += RETRY_S
    backlog.retry()
    assert journal.written == [6, 7, 8, 9]


def test_what_is_refused_for_good_holds_nothing_up() -> None:
    journal = Journal()
    backlog = EventBacklog(journal.write, clock=Clock())
    for item in (1, -2, 3):
        backlog.put(item)
    assert (journal.written, backlog.waiting, backlog.lost) == ([1, 3], 0, 1)


def test_the_end_tries_once_more_and_counts_the_rest() -> None:
    journal, clock = Journal(), Clock()
    backlog = EventBacklog(journal.write, clock=clock)
    journal.room = False
    backlog.put(1)
    backlog.put(2)
    backlog.close()
    assert (backlog.waiting, backlog.lost) == (0, 2)
    backlog.close()
    assert backlog.lost == 2
    other = EventBacklog(journal.write, clock=clock)
    other.put(3)
    journal.room = True
    other.close()
    assert (journal.written, other.lost) == ([3], 0)

"""How much is encoded in one call."""

from __future__ import annotations

import numpy as np
import pytest

from gaitstream.data import Frame, Person, Reason
from gaitstream.pipeline.gather import Work
from gaitstream.pipeline.pace import CHUNK_S, EncodePacer, count_people


def work(accepted: int, rejected: int = 0) -> Work:
    box = np.array([0, 0, 50, 100], np.float32)
    reasons = [None] * accepted + [Reason.TRUNCATED] * rejected
    persons = tuple(Person("a", track, 0, 0, box, 0.9, reason) for track, reason in enumerate(reasons))
    frame = Frame("a", 0, 0, np.zeros((4, 4, 3), np.uint8))
    return Work(frame, persons)


def sizes(pace: EncodePacer, works: list[Work], batch: int = 16) -> list[int]:
    chunks = pace.chunks(works, batch)
    assert [one for chunk in chunks for one in chunk] == works
    return [count_people(chunk) for chunk in chunks]


@pytest.mark.parametrize(
    ("people", "batch", "expected"),
    [
        ([], 16, []),
        ([0], 16, [0]),
        ([3, 3, 2], 16, [8]),
        ([3, 3, 3], 16, [6, 3]),
        ([3, 3, 3], 4, [3, 3, 3]),
        ([20, 1], 16, [20, 1]),  # one frame's persons stay together
    ],
)
def test_frames_fill_calls_of_bounded_size(people: list[int], batch: int, expected: list[int]) -> None:
    assert sizes(EncodePacer(), [work(count) for count in people], batch) == expected


def test_nobody_rejected_takes_room() -> None:
    assert sizes(EncodePacer(), [work(4, rejected=50), work(4, rejected=50)]) == [8]


def test_calls_shrink_at_once_and_grow_slowly() -> None:
    pace = EncodePacer()
    frames = [work(1)] * 32
    pace.learn(1, CHUNK_S)
    assert max(sizes(pace, frames)) == 1
    for _ in range(10):
        pace.learn(10, 0.01)
    assert 1 < max(sizes(pace, frames)) < 16
    for _ in range(40):
        pace.learn(10, 0.01)
    assert max(sizes(pace, frames)) == 16

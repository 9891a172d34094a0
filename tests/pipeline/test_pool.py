"""Windows: block maxima equal the maximum over the raw frames, whatever stride, gaps and switches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gaitstream.pipeline.pool import Emitted, FrameWindow, MapWindow, WindowRule

Floats = NDArray[np.float32]
FRAME_NS = 66_000_000


def feature(seed: int) -> Floats:
    return np.random.default_rng(seed).normal(size=(2, 3, 2)).astype(np.float32)


@st.composite
def rules(draw: st.DrawFn) -> WindowRule:
    length = draw(st.integers(2, 24))
    stride = draw(st.sampled_from([n for n in range(1, length + 1) if length % n == 0]))
    return WindowRule(length, stride, draw(st.integers(1, length)), 1.0)


class Naive:
    """The definition: keep every frame, take the maximum over the last `length`."""

    def __init__(self, rule: WindowRule) -> None:
        self.rule = rule
        self.frames: list[tuple[int, Floats]] = []
        self.completed = 0

    def add(self, time_ns: int, frame: Floats) -> tuple[Floats, int, int, int, bool] | None:
        if self.frames and time_ns - self.frames[-1][0] > self.rule.max_gap_s * 1e9:
            self.frames = []
        self.frames.append((time_ns, frame))
        count = len(self.frames)
        full = count == self.rule.length
        if not full and (self.completed or not self.rule.is_provisional_due(count)):
            return None
        pooled = np.max([map_ for _, map_ in self.frames], axis=0)
        out = (pooled, self.frames[0][0], self.frames[-1][0], count, not full)
        if full:
            self.completed += 1
            self.frames = self.frames[self.rule.stride :]
        return out


@settings(max_examples=150, deadline=None)
@given(rules(), st.lists(st.sampled_from(["frame"] * 8 + ["pause", "gap", "switch"]), max_size=90))
def test_block_maxima_equal_the_maximum_over_the_raw_window(rule: WindowRule, script: list[str]) -> None:
    window, naive, buffered = MapWindow(rule), Naive(rule), FrameWindow(rule, np.dtype(np.float16))
    now = 0
    for number, what in enumerate(script):
        now += {"pause": 900_000_000, "gap": 1_100_000_000}.get(what, FRAME_NS)
        if what == "switch":
            window.reset()
            buffered.reset()
            naive.frames = []
            continue
        frame = feature(number).astype(np.float16).astype(np.float32)
        got, expected, raw = window.add(now, frame), naive.add(now, frame), buffered.add(now, frame)
        assert (got is None) == (expected is None) == (raw is None)
        if got is not None and expected is not None and raw is not None:
            np.testing.assert_array_equal(got.data, expected[0])
            assert got[1:] == expected[1:]
            np.testing.assert_array_equal(raw.data.max(axis=0), expected[0])
            assert raw[1:] == expected[1:]


def feed(window: MapWindow, count: int) -> Iterator[tuple[int, Emitted]]:
    for number in range(1, count + 1):
        emitted = window.add(number * FRAME_NS, feature(number))
        if emitted is not None:
            yield number, emitted


def test_provisional_from_frame_ten_then_full_every_fifteen() -> None:
    emitted = list(feed(MapWindow(WindowRule()), 75))
    assert [(number, window.provisional) for number, window in emitted] == [
        (10, True),
        (15, True),
        (20, True),
        (25, True),
        (30, False),
        (45, False),
        (60, False),
        (75, False),
    ]
    assert all(window.frames == 30 for _, window in emitted[4:])


def test_two_blocks_are_kept_whatever_the_length_of_the_track() -> None:
    window = MapWindow(WindowRule())
    list(feed(window, 500))
    assert len(window._blocks) <= 2


@pytest.mark.parametrize(("frames", "expected"), [(9, None), (10, 10), (27, 27), (30, None), (44, None)])
def test_finish_gives_what_a_short_track_has(frames: int, expected: int | None) -> None:
    window = MapWindow(WindowRule())
    list(feed(window, frames))
    last = window.finish()
    assert (last.frames if last else None) == expected
    assert window.finish() is None


def test_the_frame_given_is_copied() -> None:
    window = MapWindow(WindowRule(2, 1, 2))
    frame = feature(1)
    window.add(0, frame)
    frame[:] = 99
    emitted = window.add(1, feature(2))
    assert emitted is not None
    assert emitted.data.max() < 99

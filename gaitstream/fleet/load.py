"""What a worker carries, measured from its counters: frames, delay, people, and what was not managed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from gaitstream.fleet.balance import camera_weight
from gaitstream.telemetry.stats import CameraCounters, Histogram, Snapshot

MOST_DROPPED = 0.1
"""Share of frames that may be pushed out of the queues before a worker counts as overloaded."""
EASY_LAG = 0.25
"""Of the largest delay: below it, and without drops, a worker could carry more."""
WINDOWS = 3
"""Measurements in a row that must agree before a capacity is changed."""
SHRINK, GROW = 0.9, 1.0
LEAST = 1.0
"""Carried at least, however overloaded: a camera that is too heavy for every worker may stay for long."""
_SMOOTHING = 0.3


class Load(msgspec.Struct, frozen=True):
    """A worker over the last measurement.

    Attributes:
        fps: analysed frames a second, all cameras together.
        lag_ms: 95th percentile from capture to the end of analysis; 0 without frames.
        people: in view, all cameras together.
        dropped: share of the frames that were not managed.
    """

    fps: float = 0.0
    lag_ms: float = 0.0
    people: float = 0.0
    dropped: float = 0.0


class LoadMeter:
    """Makes loads and weights of successive snapshots; touches no clock.

    Args:
        wanted_fps: the rate a camera is to be analysed at; None for every frame.

    Attributes:
        weights: measured cost by camera, smoothed.
    """

    def __init__(self, wanted_fps: Callable[[str], float | None]) -> None:
        self.weights: dict[str, float] = {}
        self._wanted_fps = wanted_fps
        self._before: Snapshot | None = None

    def measure(self, snapshot: Snapshot, cameras: Iterable[str]) -> Load:
        """The load since the last call; nothing the first time."""
        before, self._before = self._before, snapshot
        spent_s = snapshot.uptime_s - before.uptime_s if before is not None else 0.0
        if before is None or spent_s <= 0:
            return Load()
        lag, frames, dropped, people = Histogram(), 0, 0, 0.0
        for camera in cameras:
            now = snapshot.cameras.get(camera)
            if now is None:
                continue
            then = before.cameras.get(camera, CameraCounters())
            lag.merge(_since(now.latency, then.latency))
            analysed = now.analysed - then.analysed
            frames += analysed
            dropped += now.dropped - then.dropped
            seen = (now.person_frames - then.person_frames) / analysed if analysed else 0.0
            people += seen
            if analysed:
                self._learn(camera, analysed / spent_s, seen)
        return Load(
            fps=round(frames / spent_s, 2),
            lag_ms=round(lag.quantile(0.95) or 0.0, 1),
            people=round(people, 2),
            dropped=round(dropped / (frames + dropped), 4) if frames + dropped else 0.0,
        )

    def _learn(self, camera: str, fps: float, people: float) -> None:
        """An overloaded worker sees fewer frames than the camera is to give: its cost is what was wanted."""
        measured = camera_weight(max(fps, self._wanted_fps(camera) or 0.0), people)
        before = self.weights.get(camera, measured)
        self.weights[camera] = before + _SMOOTHING * (measured - before)


class Capacity:
    """How much a worker carries: what it was told, less what it turned out not to manage.

    Args:
        told: in units of the usual camera; None: found out, beginning at `first`.
        first: where finding out begins.
        max_lag_ms: largest 95th percentile of the delay.
    """

    def __init__(self, told: float | None, first: float, max_lag_ms: float) -> None:
        self.now = told if told is not None else first
        self._most = told
        self._max_lag_ms = max_lag_ms
        self._over = self._easy = 0

    def learn(self, load: Load, held: float) -> bool:
        """Take one measurement in; whether the worker is found overloaded by it."""
        over = load.dropped > MOST_DROPPED or load.lag_ms > self._max_lag_ms
        easy = load.dropped < MOST_DROPPED / 10 and load.lag_ms < self._max_lag_ms * EASY_LAG
        self._over = self._over + 1 if over else 0
        self._easy = self._easy + 1 if easy and load.fps > 0 else 0
        if self._over >= WINDOWS:
            self._over = 0
            self.now = max(min(self.now, held) * SHRINK, min(self.now, LEAST))
            return True
        if self._easy >= WINDOWS and held + GROW > self.now:
            self._easy = 0
            self.now = self.now + GROW if self._most is None else min(self._most, self.now + GROW)
        return False


def _since(now: Histogram, then: Histogram) -> Histogram:
    """Observations of `now` that `then` has not."""
    return Histogram(now.bounds, [a - b for a, b in zip(now.counts, then.counts, strict=True)])

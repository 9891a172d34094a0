"""The cameras of one process: opened and closed, and a batch taken from all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from gaitstream.config.schema import Config
from gaitstream.data import Frame
from gaitstream.pipeline.base import IDLE_S
from gaitstream.pipeline.front import CameraLine
from gaitstream.pipeline.source.reader import StateChange
from gaitstream.telemetry.stats import Stats

JOIN_S = 0.2
"""How long all decode threads together are waited for at the end."""

Taken = list[tuple[CameraLine, Frame]]


class Cameras:
    """Used by the pipeline's thread, except `wake`.

    Args:
        stats: each camera's counters are in it.
        on_state: told of cameras that come and go, from their decode threads.
        realtime: pace files by their timestamps.
    """

    def __init__(self, stats: Stats, on_state: Callable[[StateChange], None], *, realtime: bool) -> None:
        self._stats = stats
        self._on_state = on_state
        self._realtime = realtime
        self._lines: dict[str, CameraLine] = {}
        self._turn = 0
        self._waiting = threading.Event()
        self._closed = False

    def __iter__(self) -> Iterator[CameraLine]:
        return iter(self._lines.values())

    def get(self, camera: str) -> CameraLine | None:
        """A camera that is open, or None."""
        return self._lines.get(camera)

    def __getitem__(self, camera: str) -> CameraLine:
        return self._lines[camera]

    def open(self, camera: str, config: Config) -> None:
        """Start reading a camera."""
        self._lines[camera] = CameraLine.start(
            config.camera(camera),
            config,
            self._stats.camera(camera),
            self._on_state,
            self._waiting.set,
            realtime=self._realtime,
        )

    def remove(self, camera: str) -> CameraLine:
        """Stop a camera and forget it; what it read so far is dropped."""
        line = self._lines.pop(camera)
        line.reader.stop()
        return line

    @property
    def finished(self) -> bool:
        """Nothing more will come from any of them."""
        return all(line.reader.finished for line in self._lines.values())

    def gather(self, limit: int, wait_s: float) -> Taken:
        """A full batch, or what came within `wait_s` of the first frame; empty when nothing comes for long.

        Args:
            limit: most frames.
            wait_s: longest time the first one waits for others.
        """
        frames: Taken = []
        deadline_s: float | None = None
        while not self._closed:
            self._waiting.clear()
            self._take_round(frames, limit)
            now = time.monotonic()
            if deadline_s is None and frames:
                deadline_s = now + wait_s
            if len(frames) >= limit or (deadline_s is not None and now >= deadline_s):
                break
            self._waiting.wait(IDLE_S if deadline_s is None else deadline_s - now)
            if deadline_s is None and not self._waiting.is_set():
                break
            if deadline_s is None and any(line.reader.finished for line in self._lines.values()):
                self._take_round(frames, limit)
                break
        return frames

    def wake(self) -> None:
        """End a `gather` that waits, and all later ones; from any thread."""
        self._closed = True
        self._waiting.set()

    def watch(self) -> None:
        """Look for cameras that stall, and count what the readers did."""
        for line in self._lines.values():
            line.reader.watch()
            line.count()

    def stop(self) -> None:
        """Tell every reader to stop."""
        for line in self._lines.values():
            line.reader.stop()

    def drain(self) -> None:
        """Wait for the readers and count what nobody will look at any more."""
        for line in self._lines.values():
            line.reader.join(JOIN_S / len(self._lines))
            while line.reader.get() is not None:
                line.stats.abandoned += 1
            line.count()

    def _take_round(self, frames: Taken, limit: int) -> None:
        """One frame of each camera in turn until nothing waits; nobody is always first."""
        lines = list(self._lines.values())
        self._turn += 1
        first = self._turn % len(lines) if lines else 0
        waiting = lines[first:] + lines[:first]
        while waiting and len(frames) < limit:
            still = []
            for line in waiting:
                frame = line.reader.get() if len(frames) < limit else None
                if frame is not None:
                    frames.append((line, frame))
                    still.append(line)
            waiting = still

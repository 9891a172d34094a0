"""Running a pipeline for so long and no longer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from gaitstream.data import Decision, Frame, Person
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.runner import Pipeline
from gaitstream.pipeline.source.clock import SECOND_NS


class CaptureLimit(Observer):
    """Stops a run of one file after so much of it: the same on a fast and on a slow machine.

    Args:
        seconds: of capture time, from the first picture on.

    Attributes:
        stop: what ends the run, once it is there.
    """

    def __init__(self, seconds: float) -> None:
        self.stop: Callable[[str], None] = lambda _cause: None
        self._seconds = seconds
        self._first_ns: int | None = None

    def on_frame(self, frame: Frame, persons: Sequence[Person], labels: Mapping[int, Decision]) -> None:  # noqa: ARG002
        """Look at its time."""
        if self._first_ns is None:
            self._first_ns = frame.time_ns
        if frame.time_ns - self._first_ns >= self._seconds * SECOND_NS:
            self.stop("shutdown")


@contextmanager
def stopping_after(pipeline: Pipeline, seconds: float, patience_s: float) -> Iterator[None]:
    """Stop a pipeline some time after the first picture of any camera, or when none came for long.

    Args:
        pipeline: which; run it within the context.
        seconds: from the first picture on.
        patience_s: how long the first picture may take.
    """
    over = threading.Event()

    def stop() -> None:
        started_s, first_s = time.monotonic(), None
        while not over.wait(0.1):
            now_s = time.monotonic()
            if first_s is None and any(one.analysed for one in list(pipeline.stats.now.cameras.values())):
                first_s = now_s
            if now_s - (first_s or started_s) > (seconds if first_s else patience_s):
                pipeline.stop("shutdown")
                return

    thread = threading.Thread(target=stop, name="gaitstream-enough", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()

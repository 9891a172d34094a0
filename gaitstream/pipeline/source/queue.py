"""The hand-off from a camera's decode thread to the pipeline."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from gaitstream.data import Frame


class FrameQueue:
    """Bounded: a decoded 1080p frame is 6 MB, so a camera holds `limit` of them at most.

    A live camera must not wait, or its frames grow stale in the network's buffers: the oldest makes room. A
    file waits, so that no frame is lost. One thread puts, one gets.

    Attributes:
        limit: most frames that wait.
        dropped: frames that made room for newer ones, here or once they were taken.
    """

    def __init__(self, limit: int, notify: Callable[[], None] | None = None) -> None:
        self.dropped = 0
        self.limit = limit
        self._frames: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._notify = notify

    def put(self, frame: Frame, *, live: bool) -> bool:
        """Hand a frame over; False when the queue was closed meanwhile."""
        with self._changed:
            if live and len(self._frames) >= self.limit:
                self._frames.popleft()
                self.dropped += 1
            self._changed.wait_for(lambda: self._closed or len(self._frames) < self.limit)
            if self._closed:
                return False
            self._frames.append(frame)
            self._changed.notify_all()
        if self._notify is not None:
            self._notify()
        return True

    def get(self, timeout_s: float = 0.0) -> Frame | None:
        """The oldest frame, waiting at most `timeout_s`; None when there is none."""
        with self._changed:
            if timeout_s > 0:
                self._changed.wait_for(lambda: self._closed or bool(self._frames), timeout_s)
            if not self._frames:
                return None
            frame = self._frames.popleft()
            self._changed.notify_all()
            return frame

    def pass_over(self) -> None:
        """Count a frame that was taken and is not looked at, because newer ones wait."""
        with self._changed:
            self.dropped += 1

    def close(self) -> None:
        """Wake whoever waits; frames already handed over stay readable."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._frames)

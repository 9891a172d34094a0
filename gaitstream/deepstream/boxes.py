"""The tracker's own boxes, kept while the encoders see other rectangles.

Filled by the probe after the tracker, emptied by the one that copies out: different threads, because queues
lie between them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from gaitstream.deepstream.geometry import Rect

Key = tuple[int, int]
"""Slot and presentation time of a frame."""


class OriginalBoxes:
    """Boxes by frame and object id; frames that never come out are forgotten after `capacity` others."""

    def __init__(self, capacity: int = 1024) -> None:
        self._capacity = capacity
        self._frames: OrderedDict[Key, dict[int, Rect]] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, frame: Key, boxes: dict[int, Rect]) -> None:
        """Keep a frame's boxes."""
        with self._lock:
            self._frames[frame] = boxes
            while len(self._frames) > self._capacity:
                self._frames.popitem(last=False)

    def get(self, frame: Key) -> dict[int, Rect]:
        """A frame's boxes, which stay kept; empty when unknown."""
        with self._lock:
            return self._frames.get(frame, {})

    def pop(self, frame: Key) -> dict[int, Rect]:
        """A frame's boxes, which are forgotten; empty when unknown."""
        with self._lock:
            return self._frames.pop(frame, {})

    def __len__(self) -> int:
        return len(self._frames)

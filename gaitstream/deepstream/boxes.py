"""The boxes of people, kept while others look at other rectangles.

The detector's box is what the pipeline works on, as in the native front end. nvtracker overwrites it with its
own smoothed one, and the encoders are given the rectangle to cut. Filled by the probes around the tracker,
emptied by the one that copies out: different threads, because queues lie between them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

from gaitstream.deepstream.api import SHADOW_CONFIDENCE, FrameMeta, ObjectMeta
from gaitstream.deepstream.geometry import Rect

FrameKey = tuple[int, int, int]
"""Pad, place in the batch and presentation time of a frame."""

Kept = TypeVar("Kept")

BORDER_PX = 3
"""Border of a box in the annotated picture, as nvinfer draws it."""
FIRST_TAG = 1000
"""Borders from here on are the numbers of detections: the tracker leaves this field of a box alone."""


class FrameBoxes(Generic[Kept]):
    """Something about each frame; frames that never come out are forgotten after `capacity` others."""

    def __init__(self, capacity: int = 1024) -> None:
        self._capacity = capacity
        self._frames: OrderedDict[FrameKey, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, frame: FrameKey, boxes: Kept) -> None:
        """Keep a frame's boxes."""
        with self._lock:
            self._frames[frame] = boxes
            while len(self._frames) > self._capacity:
                self._frames.popitem(last=False)

    def get(self, frame: FrameKey) -> Kept | None:
        """A frame's boxes, which stay kept; None when unknown."""
        with self._lock:
            return self._frames.get(frame)

    def pop(self, frame: FrameKey) -> Kept | None:
        """A frame's boxes, which are forgotten; None when unknown."""
        with self._lock:
            return self._frames.pop(frame, None)

    def __len__(self) -> int:
        return len(self._frames)


class Boxes:
    """The boxes of all frames on their way.

    Attributes:
        detected: of each frame the detector's, by the number they were tagged with.
        kept: of each frame those the pipeline works on, by object id.
    """

    def __init__(self) -> None:
        self.detected: FrameBoxes[list[Rect]] = FrameBoxes()
        self.kept: FrameBoxes[dict[int, Rect]] = FrameBoxes()


def frame_key(frame: FrameMeta) -> FrameKey:
    """What tells a frame from all others on their way."""
    return frame.pad_index, frame.batch_id, frame.buffer_pts


def is_shadow(person: ObjectMeta) -> bool:
    """Whether the tracker predicted this box without a detection."""
    return person.confidence <= SHADOW_CONFIDENCE / 2


def rect_of(person: ObjectMeta) -> Rect:
    """A person's rectangle, copied: the wrapper is used again for the next one."""
    rect = person.rect_params
    return Rect(rect.left, rect.top, rect.width, rect.height)


def set_rect(person: ObjectMeta, rect: Rect) -> None:
    """Overwrite a person's rectangle."""
    params = person.rect_params
    params.left, params.top, params.width, params.height = rect


def tag(person: ObjectMeta, number: int) -> None:
    """Number a detection so that it is known again after the tracker."""
    person.rect_params.border_width = FIRST_TAG + number


def untag(person: ObjectMeta) -> int:
    """The number of a detection, negative when it has none; its border becomes a border again.

    The tracker gives predicted boxes the fields of the first detection it ever saw: theirs is no number.
    """
    params = person.rect_params
    number = params.border_width - FIRST_TAG
    if number >= 0:
        params.border_width = BORDER_PX
    return -1 if is_shadow(person) else number

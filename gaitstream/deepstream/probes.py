"""The small probes: count buffers, keep the detector's boxes, give each encoder its rectangles.

They run in DeepStream's streaming threads and hold the interpreter: they loop over persons, copy numbers
and call nothing else. Each is a plain `handle(batch_meta)`; `child.py` wraps it for pyservicemaker.
"""

from __future__ import annotations

from gaitstream.deepstream.api import UNTRACKED, BatchMeta
from gaitstream.deepstream.boxes import Boxes, frame_key, is_shadow, rect_of, set_rect, tag, untag
from gaitstream.deepstream.geometry import Rect, encoder_rect
from gaitstream.deepstream.plan import EncoderPlan
from gaitstream.deepstream.sources import PadSources


class MuxerProbe:
    """Where buffers leave the muxer: counts them, so that a camera's last one is known."""

    def __init__(self, sources: PadSources) -> None:
        self._sources = sources

    def handle(self, _batch: BatchMeta) -> None:
        """Count the buffer."""
        self._sources.leave_muxer()


class DetectionProbe:
    """Before the tracker: keeps the detector's boxes, which the tracker overwrites with its own."""

    def __init__(self, boxes: Boxes) -> None:
        self._boxes = boxes

    def handle(self, batch: BatchMeta) -> None:
        """Number every detection."""
        for frame in batch.frame_items:
            detected: list[Rect] = []
            for person in frame.object_items:
                tag(person, len(detected))
                detected.append(rect_of(person))
            self._boxes.detected.put(frame_key(frame), detected)


class CropProbe:
    """After the tracker: keeps everybody's box, gives the first encoder its rectangles."""

    def __init__(self, boxes: Boxes, encoder: EncoderPlan, sources: PadSources) -> None:
        self._boxes = boxes
        self._encoder = encoder
        self._sources = sources

    def handle(self, batch: BatchMeta) -> None:
        """Rewrite every person's rectangle."""
        for frame in batch.frame_items:
            key = frame_key(frame)
            detected = self._boxes.detected.pop(key) or []
            width, height = frame.pipeline_width, frame.pipeline_height
            kept: dict[int, Rect] = {}
            for person in frame.object_items:
                number, box = untag(person), rect_of(person)
                if 0 <= number < len(detected):
                    box = detected[number]
                elif not is_shadow(person):
                    self._sources.count("", "detections_lost")
                if person.object_id != UNTRACKED:
                    kept[person.object_id] = box
                set_rect(person, encoder_rect(self._encoder, box, width, height))
            self._boxes.kept.put(key, kept)


class NextProbe:
    """Between two encoders: gives the next one its rectangles, from the kept boxes."""

    def __init__(self, boxes: Boxes, encoder: EncoderPlan) -> None:
        self._boxes = boxes
        self._encoder = encoder

    def handle(self, batch: BatchMeta) -> None:
        """Rewrite every person's rectangle."""
        for frame in batch.frame_items:
            kept = self._boxes.kept.get(frame_key(frame)) or {}
            width, height = frame.pipeline_width, frame.pipeline_height
            for person in frame.object_items:
                box = kept.get(person.object_id)
                if box is not None:
                    set_rect(person, encoder_rect(self._encoder, box, width, height))

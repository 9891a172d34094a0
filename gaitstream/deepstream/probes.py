"""The three probes: set an encoder's rectangles, set the next one's, copy out.

They run in DeepStream's streaming threads and hold the interpreter: they loop over persons, copy numbers
and call nothing else. Each is a plain `handle(batch_meta)`; `child.py` wraps it for pyservicemaker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.deepstream.api import SHADOW_CONFIDENCE, UNTRACKED, BatchMeta, FrameMeta, ObjectMeta
from gaitstream.deepstream.boxes import OriginalBoxes
from gaitstream.deepstream.dlpack import CopyFromDevice, copy_to_host
from gaitstream.deepstream.geometry import Rect, encoder_rect
from gaitstream.deepstream.plan import EncoderKind, EncoderPlan, feature_layer
from gaitstream.deepstream.records import NOTHING, FrameRecord, Gone, PersonRecord
from gaitstream.deepstream.slots import Slot, Slots, Track

ASPECT_TOLERANCE = 0.02
"""Relative difference of aspect ratios above which a frame was stretched by the muxer."""

LOOP_NS = 40_000_000
"""Time between the last frame of a file and its first one when it starts again."""

Emit = Callable[[list[FrameRecord], list[Gone], dict[str, dict[str, int]], list[NDArray[Any]]], None]
"""Takes one buffer's frames, cameras gone, counters and arrays; must not block."""


class CropProbe:
    """After the tracker: keeps the boxes, gives the first encoder its rectangles."""

    def __init__(self, boxes: OriginalBoxes, encoder: EncoderKind) -> None:
        self._boxes = boxes
        self._encoder = encoder

    def handle(self, batch: BatchMeta) -> None:
        """Rewrite every person's rectangle."""
        for frame in batch.frame_items:
            originals: dict[int, Rect] = {}
            for person in frame.object_items:
                if person.object_id != UNTRACKED:
                    originals[person.object_id] = _rect(person)
                _set_rect(
                    person,
                    encoder_rect(self._encoder, _rect(person), frame.pipeline_width, frame.pipeline_height),
                )
            self._boxes.put(_key(frame), originals)


class NextProbe:
    """Between two encoders: gives the next one its rectangles, from the kept boxes."""

    def __init__(self, boxes: OriginalBoxes, encoder: EncoderKind) -> None:
        self._boxes = boxes
        self._encoder = encoder

    def handle(self, batch: BatchMeta) -> None:
        """Rewrite every person's rectangle."""
        for frame in batch.frame_items:
            originals = self._boxes.get(_key(frame))
            for person in frame.object_items:
                box = originals.get(person.object_id)
                if box is not None:
                    _set_rect(
                        person, encoder_rect(self._encoder, box, frame.pipeline_width, frame.pipeline_height)
                    )


class CopyProbe:
    """After the last encoder: restores the boxes and copies out what the pipeline needs."""

    def __init__(
        self,
        boxes: OriginalBoxes,
        slots: Slots,
        encoders: Sequence[EncoderPlan],
        *,
        predictions: int,
        copy: CopyFromDevice,
        emit: Emit,
        now_ns: Callable[[], int],
        camera_clock: bool = False,
        starts: Mapping[str, int] | None = None,
        label: Callable[[str, int], str | None] = lambda _camera, _track: None,
    ) -> None:
        """Hang between the graph and the pipeline.

        Args:
            boxes: filled by the probe after the tracker.
            slots: cameras and tracks.
            encoders: in the order they run; their layers are told apart by name and shape.
            predictions: how many frames after a detection the tracker's boxes are evidence: 0 when the
                detector runs on every frame.
            copy: from the GPU.
            emit: where a buffer's records go.
            now_ns: the wall clock.
            camera_clock: the frames' wall clock is the camera's own.
            starts: capture time of the first frame, UTC ns, of cameras that are files.
            label: what the overlay writes for a camera's track; None leaves DeepStream's text.
        """
        self._boxes = boxes
        self._slots = slots
        self._encoders = encoders
        self._predictions = predictions
        self._copy = copy
        self._emit = emit
        self._now_ns = now_ns
        self._camera_clock = camera_clock
        self._starts = dict(starts or {})
        self._film_ns: dict[str, int] = {}
        self._label = label
        self._gone: deque[Gone] = deque()

    def occupy(self, number: int, camera: str, fps: float | None) -> None:
        """A camera takes a slot."""
        self._gone.extend(Gone(name) for name in self._slots.occupy(number, camera, fps))

    def vacate(self, number: int) -> None:
        """A slot's camera is removed."""
        self._gone.extend(Gone(name) for name in self._slots.vacate(number))

    def handle(self, batch: BatchMeta) -> None:
        """Restore the boxes, copy one buffer out, send it."""
        blocks = [_Block(encoder) for encoder in self._encoders]
        frames = []
        for meta in batch.frame_items:
            originals = self._boxes.pop(_key(meta))
            slot = self._slots.slot(meta.pad_index)
            if slot is None:
                continue
            frame = self._frame(meta, slot, originals, blocks)
            if frame is not None:
                frames.append(frame)
        gone = [self._gone.popleft() for _ in range(len(self._gone))]
        arrays = [array for block in blocks for array in block.arrays()]
        self._emit(frames, gone, self._slots.take_counters(), arrays)

    def _frame(
        self, meta: FrameMeta, slot: Slot, originals: dict[int, Rect], blocks: list[_Block]
    ) -> FrameRecord | None:
        slots, camera = self._slots, slot.camera
        slots.restarted(slot, meta.frame_number, meta.buffer_pts)
        time_ns = self._time(meta, slot)
        index = slots.next_index(camera)
        analysed = slot.gate.due(time_ns)
        if not analysed:
            slots.count(camera, "frames_skipped")
        width, height = meta.source_width, meta.source_height
        scale_x, scale_y = width / meta.pipeline_width, height / meta.pipeline_height
        if abs(scale_x / scale_y - 1) > ASPECT_TOLERANCE:
            slots.count(camera, "frames_stretched")
        persons = []
        for person in meta.object_items:
            box = originals.get(person.object_id)
            if box is None:
                slots.count(camera, "untracked" if person.object_id == UNTRACKED else "boxes_lost")
                continue
            _set_rect(person, box)
            track = self._track(person, slot, time_ns)
            if track is None or not analysed:
                continue
            rows = self._rows(person, blocks, camera)
            xyxy = (
                box.left * scale_x,
                box.top * scale_y,
                (box.left + box.width) * scale_x,
                (box.top + box.height) * scale_y,
            )
            persons.append(PersonRecord(track.number, xyxy, track.score, track.since_detection > 0, rows))
            text = self._label(camera, track.number)
            if text is not None:
                person.text_params.display_text = text
        return FrameRecord(camera, index, time_ns, width, height, tuple(persons)) if analysed else None

    def _time(self, meta: FrameMeta, slot: Slot) -> int:
        if slot.camera in self._starts:
            return self._film_time(slot.camera, meta.buffer_pts)
        arrival_ns = self._now_ns() if self._camera_clock else meta.ntp_timestamp
        if self._camera_clock and meta.ntp_timestamp:
            slot.clock.sender_report(meta.buffer_pts, meta.ntp_timestamp, arrival_ns)
        return slot.clock.stamp(meta.buffer_pts, arrival_ns)

    def _film_time(self, camera: str, pts_ns: int) -> int:
        """A file is read as fast as it can be, so its own time line is the only one; a loop goes on."""
        last_ns = self._film_ns.get(camera)
        if last_ns is not None and self._starts[camera] + pts_ns <= last_ns:
            self._starts[camera] = last_ns + LOOP_NS - pts_ns
        self._film_ns[camera] = self._starts[camera] + pts_ns
        return self._film_ns[camera]

    def _track(self, person: ObjectMeta, slot: Slot, time_ns: int) -> Track | None:
        shadow = person.confidence <= SHADOW_CONFIDENCE / 2
        track = self._slots.track(slot, person.object_id, time_ns, None if shadow else person.confidence)
        if not shadow:
            return track
        if track is not None and track.since_detection <= self._predictions:
            return track
        self._slots.count(slot.camera, "shadows")
        return None

    def _rows(self, person: ObjectMeta, blocks: list[_Block], camera: str) -> tuple[int, ...]:
        rows = [NOTHING] * len(blocks)
        for item in person.tensor_items:
            layers = item.as_tensor_output().get_layers()
            for number, block in enumerate(blocks):
                if rows[number] == NOTHING and block.fits(layers):
                    rows[number] = block.take(layers, self._copy)
                    break
        missing = rows.count(NOTHING)
        self._slots.count(camera, "tensors_missing", missing)
        return tuple(rows)


class _Block:
    """One encoder's outputs of all persons of a buffer."""

    def __init__(self, encoder: EncoderPlan) -> None:
        self._feature, self._keypoints = feature_layer(encoder.kind), encoder.keypoints
        self._maps = np.empty((0, *encoder.shape), np.float16)
        self._points: list[NDArray[np.float32]] = []
        self._count = 0

    def fits(self, layers: Any) -> bool:
        return self._feature in layers

    def take(self, layers: Any, copy: CopyFromDevice) -> int:
        row = self._count
        if row == len(self._maps):
            grown = np.empty((max(2 * row, 8), *self._maps.shape[1:]), np.float16)
            grown[:row] = self._maps
            self._maps = grown
        copy_to_host(layers[self._feature], self._maps[row], copy)
        if self._keypoints is not None:
            self._points.append(np.asarray(copy_to_host(layers[self._keypoints], None, copy), np.float32))
        self._count += 1
        return row

    def arrays(self) -> tuple[NDArray[Any], NDArray[Any]]:
        points = np.stack(self._points) if self._points else np.empty((0, 0, 3), np.float32)
        return self._maps[: self._count], points


def _key(frame: FrameMeta) -> tuple[int, int]:
    return frame.pad_index, frame.buffer_pts


def _rect(person: ObjectMeta) -> Rect:
    rect = person.rect_params
    return Rect(rect.left, rect.top, rect.width, rect.height)


def _set_rect(person: ObjectMeta, rect: Rect) -> None:
    params = person.rect_params
    params.left, params.top, params.width, params.height = rect

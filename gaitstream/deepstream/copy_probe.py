"""The last probe: restores the boxes and copies out what the pipeline needs.

It hangs behind a queue of its own, so that copying holds no encoder's thread. The batch's memory ends with
its call: everything is copied before it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from numpy.typing import NDArray

from gaitstream.deepstream.api import UNTRACKED, BatchMeta, FrameMeta, ObjectMeta
from gaitstream.deepstream.boxes import Boxes, frame_key, is_shadow, set_rect
from gaitstream.deepstream.copying import Copier
from gaitstream.deepstream.geometry import SMALLEST_PX, Rect, Scale, encoder_rect
from gaitstream.deepstream.outputs import EncoderOutputs, OutputBlock, copy_outputs
from gaitstream.deepstream.plan import EncoderPlan
from gaitstream.deepstream.records import NOTHING, FrameRecord, Gone, TrackedBox
from gaitstream.deepstream.sources import ObjectTrack, PadSource, PadSources
from gaitstream.pipeline.source.base import shown_size

ASPECT_TOLERANCE = 0.02
"""Relative difference of aspect ratios above which a frame was stretched by the muxer."""

LOOP_NS = 40_000_000
"""Time between the last frame of a file and its first one when it starts again."""

Emit = Callable[[list[FrameRecord], list[Gone], dict[str, dict[str, int]], list[NDArray[Any]]], None]
"""Takes one buffer's frames, cameras gone, counters and arrays."""


class _Uncopied(NamedTuple):
    """A person whose tensors wait to be copied."""

    number: int
    """Of the track."""
    box: tuple[float, float, float, float]
    score: float
    predicted: bool
    numbers: tuple[int, ...]
    """Place among each encoder's outputs; NOTHING where there is none."""


class CopyProbe:
    """Hangs between the graph and the pipeline.

    Args:
        boxes: filled by the probes around the tracker.
        sources: cameras and tracks.
        encoders: in the order they run; their layers are told apart by name.
        predictions: how many frames after a detection the tracker's boxes are evidence: 0 when the
            detector runs on every frame.
        copier: from the GPU.
        emit: where a buffer's records go.
        now_ns: the wall clock.
        camera_clock: the frames' wall clock is the camera's own.
        starts: capture time of the first frame, UTC ns, of cameras that are files.
        label: what the overlay writes for a camera's track; None leaves DeepStream's text.
    """

    def __init__(
        self,
        boxes: Boxes,
        sources: PadSources,
        encoders: Sequence[EncoderPlan],
        *,
        predictions: int,
        copier: Copier,
        emit: Emit,
        now_ns: Callable[[], int],
        camera_clock: bool = False,
        starts: Mapping[str, int] | None = None,
        label: Callable[[str, int], str | None] = lambda _camera, _track: None,
    ) -> None:
        self._boxes = boxes
        self._sources = sources
        self._encoders = encoders
        self._predictions = predictions
        self._copier = copier
        self._emit = emit
        self._now_ns = now_ns
        self._camera_clock = camera_clock
        self._starts = dict(starts or {})
        self._file_ns: dict[str, int] = {}
        self._label = label

    def handle(self, batch: BatchMeta) -> None:
        """Restore the boxes, copy one buffer out, send it."""
        outputs = [EncoderOutputs(encoder) for encoder in self._encoders]
        seen: list[tuple[FrameRecord, list[_Uncopied]]] = []
        self._sources.come_out()
        for meta in batch.frame_items:
            kept = self._boxes.kept.pop(frame_key(meta)) or {}
            source = self._sources.source(meta.pad_index, meta.frame_number)
            if source is not None:
                seen += self._frame(meta, source, kept, outputs)
        blocks = copy_outputs(outputs, self._copier)
        frames = [_record(frame, persons, blocks) for frame, persons in seen]
        gone = [Gone(camera) for camera in self._sources.take_gone()]
        arrays = [array for block in blocks for array in (block.maps, block.joints)]
        self._emit(frames, gone, self._sources.take_counters(), arrays)

    def _frame(
        self, meta: FrameMeta, source: PadSource, kept: dict[int, Rect], outputs: list[EncoderOutputs]
    ) -> list[tuple[FrameRecord, list[_Uncopied]]]:
        """The frame without its persons, and its persons; nothing for a frame that is not analysed."""
        sources, camera = self._sources, source.camera
        sources.restarted(source, meta.frame_number, meta.buffer_pts)
        time_ns = self._time(meta, source)
        index = sources.next_index(camera)
        analysed = source.gate.due(time_ns)
        if not analysed:
            sources.count(camera, "frames_skipped")
        width, height = shown_size(meta.source_width, meta.source_height, sources.aspects.get(camera, 1.0))
        scale = Scale(width / meta.pipeline_width, height / meta.pipeline_height)
        if abs(scale.x / scale.y - 1) > ASPECT_TOLERANCE:
            sources.count(camera, "frames_stretched")
        persons = []
        for person in meta.object_items:
            box = kept.get(person.object_id)
            if box is None:
                sources.count(camera, "untracked" if person.object_id == UNTRACKED else "boxes_lost")
                continue
            set_rect(person, box)
            track = self._track(person, source, time_ns)
            if track is None or not analysed:
                continue
            numbers = self._outputs(person, box, meta, scale, outputs, camera)
            predicted = track.since_detection > 0
            persons.append(_Uncopied(track.number, scale.box(box), track.score, predicted, numbers))
            text = self._label(camera, track.number)
            if text is not None:
                person.text_params.display_text = text
        return [(FrameRecord(camera, index, time_ns, width, height, ()), persons)] if analysed else []

    def _outputs(
        self,
        person: ObjectMeta,
        box: Rect,
        meta: FrameMeta,
        scale: Scale,
        outputs: list[EncoderOutputs],
        camera: str,
    ) -> tuple[int, ...]:
        """The person's place among each encoder's outputs."""
        rects = [encoder_rect(one.encoder, box, meta.pipeline_width, meta.pipeline_height) for one in outputs]
        numbers = [NOTHING] * len(outputs)
        for item in person.tensor_items:
            layers = item.as_tensor_output().get_layers()
            for place, one in enumerate(outputs):
                if numbers[place] == NOTHING and one.fits(layers):
                    numbers[place] = one.take(layers, rects[place], scale)
                    break
        for number, rect in zip(numbers, rects, strict=True):
            if number == NOTHING:
                small = min(rect.width, rect.height) < SMALLEST_PX
                self._sources.count(camera, "crops_too_small" if small else "tensors_missing")
        return tuple(numbers)

    def _time(self, meta: FrameMeta, source: PadSource) -> int:
        if source.camera in self._starts:
            return self._file_time(source.camera, meta.buffer_pts)
        arrival_ns = self._now_ns() if self._camera_clock else meta.ntp_timestamp
        if self._camera_clock and meta.ntp_timestamp:
            source.clock.sender_report(meta.buffer_pts, meta.ntp_timestamp, arrival_ns)
        time_ns = source.clock.stamp(meta.buffer_pts, arrival_ns)
        if source.clock.set_back_ns:
            self._sources.set_back(source)
        return time_ns

    def _file_time(self, camera: str, pts_ns: int) -> int:
        """A file is read as fast as it can be, so its own time line is the only one; a loop goes on."""
        last_ns = self._file_ns.get(camera)
        if last_ns is not None and self._starts[camera] + pts_ns <= last_ns:
            self._starts[camera] = last_ns + LOOP_NS - pts_ns
        self._file_ns[camera] = self._starts[camera] + pts_ns
        return self._file_ns[camera]

    def _track(self, person: ObjectMeta, source: PadSource, time_ns: int) -> ObjectTrack | None:
        shadow = is_shadow(person)
        score = None if shadow else person.confidence
        track = self._sources.track(source, person.object_id, time_ns, score)
        if not shadow:
            return track
        if track is not None and track.since_detection <= self._predictions:
            return track
        self._sources.count(source.camera, "shadows")
        return None


def _record(frame: FrameRecord, persons: Sequence[_Uncopied], blocks: Sequence[OutputBlock]) -> FrameRecord:
    """The frame with its persons, now that it is known where their features are."""
    records = tuple(
        TrackedBox(
            one.number,
            one.box,
            one.score,
            one.predicted,
            tuple(
                number if number == NOTHING else block.rows[number]
                for number, block in zip(one.numbers, blocks, strict=True)
            ),
        )
        for one in persons
    )
    return msgspec.structs.replace(frame, persons=records)

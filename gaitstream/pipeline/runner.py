"""The pipeline in one process: cameras in, identity events out.

    from gaitstream.config.reading import load_config
    from gaitstream.pipeline.observe import Observer
    from gaitstream.pipeline.runner import Pipeline

    class Show(Observer):
        def on_decision(self, decision): print(decision.track, decision.status, decision.person)

    with Pipeline(load_config("cams.yaml"), observers=[Show()]) as pipeline:
        outcome = pipeline.run()          # returns when all files have ended, or after `stop()`

Without `sink` the events go nowhere but to the observers; `publish.open_publisher` makes the real one.
`pipeline.snapshot()` gives the counters at any time and from any thread.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.config.schema import Config
from gaitstream.config.watching import Changes
from gaitstream.data import Detections
from gaitstream.errors import ConfigError
from gaitstream.events import CameraOffline
from gaitstream.pipeline.base import Outcome, Runner
from gaitstream.pipeline.cameras import Cameras, FrameBatch
from gaitstream.pipeline.encode import Encoded, Encoder, Work
from gaitstream.pipeline.judge import EvidenceJudge
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.pace import Pace, count_people
from gaitstream.pipeline.publish import EventSink
from gaitstream.pipeline.source.reader import State, StateChange
from gaitstream.pipeline.track import CameraTracker

if TYPE_CHECKING:
    from gaitstream.models.detector import DetectorModel

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrackedFrame:
    """One frame after tracking: its persons, judged by their boxes, and the tracks that ended with it."""

    work: Work
    ended: tuple[int, ...]


class Pipeline(Runner):
    """Runs the stages of one process.

    Args:
        config: what to run.
        sink: where events go.
        observers: hooks, called in the pipeline's thread.
        watch: the configuration's file; changes of it are taken over while running.
        realtime: pace files by their timestamps.
        cameras: which of the enabled cameras are run, by id; all when None.
        run: id of the run in every event; a new one when empty.
        detector: an open detector, which the caller closes; loaded when None.
        encoder: open recognizers and pose model, likewise.

    Attributes:
        stats: counters.
        run_id: id of the run.

    Raises:
        ConfigError: a model is missing, or a camera id is unknown.
        GalleryError: the gallery was filled by another model.
    """

    def __init__(
        self,
        config: Config,
        *,
        sink: EventSink | None = None,
        observers: Sequence[Observer] = (),
        watch: str | Path | None = None,
        realtime: bool = False,
        cameras: Callable[[str], bool] | None = None,
        run: str = "",
        detector: DetectorModel | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        self._detector = detector or load_detector(config)
        self._encoder = encoder or Encoder.load(config)
        opened = ((self._detector, detector is None), (self._encoder, encoder is None))
        self._own = [model for model, own in opened if own]
        super().__init__(
            config, self._encoder.recognizers, sink=sink, observers=observers, watch=watch, run=run
        )
        self._judge = EvidenceJudge(config, self._encoder.recognizers.values())
        self._is_mine = cameras or (lambda _: True)
        self._states: queue.SimpleQueue[StateChange] = queue.SimpleQueue()
        self._cameras = Cameras(self.stats, self._states.put, realtime=realtime)
        self._pace = Pace()
        warm_up(self._detector, config)

    def run(self) -> Outcome:
        """Run until every file has ended or `stop` is called; then end all tracks.

        This is the whole loop: `source detect track encode`, then `pool embed identify publish` in the
        backend.
        """
        self._begin()
        while not (self._stop.is_set() or self._cameras.finished):
            self._keep_house()
            frames = self._gather()
            if not frames:
                continue
            found = self._detect(frames)
            tracked = self._track(frames, found)
            encoded = self._encode([one.work for one in tracked])
            self._finish(tracked, encoded)
        return self._end()

    def stop(self, cause: str = "shutdown") -> None:
        """Ask the run to end soon; from any thread, also from a signal handler."""
        super().stop(cause)
        self._cameras.wake()

    # The stages, in order.

    def _gather(self) -> FrameBatch:
        """Frames of all cameras: a full batch, or what came within the deadline of the first."""
        runtime = self.config.runtime
        frames = self._cameras.gather(runtime.batch, runtime.deadline_ms / 1e3)
        if frames:
            self.stats.batch("detect", len(frames))
        return frames

    def _detect(self, frames: FrameBatch) -> list[Detections | None]:
        """People in every frame that is due for detection, in one batch across cameras."""
        due = []
        for index, (stream, frame) in enumerate(frames):
            if stream.needs_detection():
                due.append(index)
            stream.note_taken(frame)
            self._backend.set_skew(frame.camera, stream.skew_ns or 0)
        images = [frames[index][1].image for index in due]
        limits = [self.config.detection_score(frames[index][0].camera) for index in due]
        with self.stats.stage("detect"):
            detections = self._detector.detect(images, limits)
        found: list[Detections | None] = [None] * len(frames)
        for index, one in zip(due, detections, strict=True):
            found[index] = one
        return found

    def _track(self, frames: FrameBatch, found: list[Detections | None]) -> list[TrackedFrame]:
        """Ids, and a first judgement by the boxes, frame by frame."""
        tracked = []
        with self.stats.stage("track"):
            for (stream, frame), one in zip(frames, found, strict=True):
                size = (frame.image.shape[1], frame.image.shape[0])
                seen = stream.track(frame, one)
                persons = self._judge.judge_boxes(frame.camera, size, seen.persons)
                tracked.append(TrackedFrame(Work(frame, persons), seen.ended))
        return tracked

    def _encode(self, works: list[Work]) -> Encoded:
        """Features of everybody who is evidence, in calls short enough to hear a stop."""
        out = Encoded([], [])
        for chunk in self._pace.chunks(works, self.config.runtime.batch):
            if self._stop.is_set():
                break
            started = time.perf_counter()
            encoded = self._encoder.encode(chunk, self._judge)
            people = count_people(chunk)
            if people:
                self.stats.batch("encode", people)
                self._pace.took(people, time.perf_counter() - started)
            out.persons += encoded.persons
            out.features += encoded.features
            for step, seconds in encoded.seconds.items():
                self.stats.observe(step, seconds * 1e3)
        return out

    def _finish(self, tracked: list[TrackedFrame], encoded: Encoded) -> None:
        """Pool, embed, identify, publish; then show and count the frames."""
        done = tracked[: len(encoded.persons)]
        frames = [
            (one.work.frame.camera, persons) for one, persons in zip(done, encoded.persons, strict=True)
        ]
        ended = [(one.work.frame.camera, track) for one in tracked for track in one.ended]
        self._backend.take(frames, encoded.features, ended)
        for camera, track in ended:
            self._judge.forget(camera, [track])
        now_ns = time.time_ns()
        for one, persons in zip(done, encoded.persons, strict=True):
            frame = one.work.frame
            stream = self._cameras[frame.camera]
            stream.stats.analysed += 1
            delay_ns = now_ns - frame.time_ns - (stream.skew_ns or 0)
            stream.stats.latency.observe(max(0, delay_ns) / 1e6)
            for observer in self._observers:
                observer.on_frame(frame, persons, self._backend.labels(frame.camera))
        for one in tracked[len(done) :]:
            self._cameras[one.work.frame.camera].stats.abandoned += 1

    # Around the stages.

    def _begin(self) -> None:
        cameras = [camera.id for camera in self.config.cameras if camera.enabled and self._is_mine(camera.id)]
        if not cameras:
            raise ConfigError("no camera is enabled: set enabled: true on one")
        if not self.config.models.recognizers:
            log.warning(
                "no recognizer is configured: people are tracked and nobody is identified; set models"
            )
        self._greet(cameras)
        for camera in cameras:
            self._cameras.open(camera, self.config)

    def _end(self) -> Outcome:
        """Stop the cameras, end all tracks, say goodbye."""
        self._cameras.stop()
        self._cameras.drain()
        self._tell_states()
        failed = {one.camera.id: one.reader.reason for one in self._cameras if one.failed}
        return self._say_goodbye(failed)

    def _release(self) -> None:
        self._cameras.stop()
        for model in self._own:
            model.close()

    def _attend(self) -> None:
        self._tell_states()

    def _inspect(self) -> None:
        self._cameras.watch()

    def _tell_states(self) -> None:
        while not self._states.empty():
            change = self._states.get()
            stream = self._cameras.get(change.camera)
            size = stream.reader.size if stream else None
            self._tell_state(change, size, stream.camera.fps if stream else None)
            if stream is not None and change.state is State.OFFLINE:
                self._judge.forget(change.camera, stream.end_tracks())
                self._backend.end_camera(change.camera, "camera_offline")

    def _change_cameras(self, _before: Config, changes: Changes, /) -> None:
        self._judge.adjust(self.config)
        for camera in filter(self._is_mine, changes.adjusted):
            self._cameras[camera].adjust(self.config.camera(camera))
        for camera in filter(self._is_mine, (*changes.removed, *changes.reopened)):
            self._leave(camera)
        for camera in filter(self._is_mine, (*changes.added, *changes.reopened)):
            self._cameras.open(camera, self.config)

    def _leave(self, camera: str) -> None:
        """Stop a camera and end its tracks."""
        stream = self._cameras.remove(camera)
        self._judge.remove(camera)
        self._backend.end_camera(camera, "camera_removed")
        self._emit(CameraOffline(time_ns=time.time_ns(), run=self.run_id, camera=camera, cause="removed"))
        stream.count()
        stream.stats.state = "ended"


def load_detector(config: Config) -> DetectorModel:
    """Open the detector of a configuration."""
    from gaitstream.models.detector import DetectorModel

    chosen, runtime = config.models.detector, config.runtime
    return DetectorModel.load(
        chosen.model,
        layout=chosen.layout,
        nms_iou=chosen.nms_iou,
        runtime=runtime.name,
        precision=runtime.precision,
        threads=runtime.threads,
        batch=runtime.batch,
    )


def warm_up(detector: DetectorModel, config: Config) -> None:
    """Pay for lazy imports and first calls before the cameras deliver, so that no frame waits for them."""
    import numpy as np

    detector.detect([np.zeros((64, 64, 3), np.uint8)])
    tracker = CameraTracker("", config.tracking, None)
    nothing = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32))
    tracker.update(0, 0, (64, 64), nothing)

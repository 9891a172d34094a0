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
from typing import Self

import numpy as np

from gaitstream.config.schema import Config
from gaitstream.config.watching import Changes, Watcher
from gaitstream.data import Detections, Frame
from gaitstream.errors import ConfigError
from gaitstream.events import CameraOffline
from gaitstream.events.publishing import Publishing
from gaitstream.models.detector import DetectorModel
from gaitstream.pipeline.base import Outcome, Roster, RunnerSpec, RunOptions
from gaitstream.pipeline.cameras import Cameras, CameraStream, FrameBatch
from gaitstream.pipeline.closing import close_all
from gaitstream.pipeline.encode import Encoded, Encoder
from gaitstream.pipeline.gather import Work
from gaitstream.pipeline.latency import LatencyControl
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.pace import EncodePacer, count_people
from gaitstream.pipeline.publish import EventSink
from gaitstream.pipeline.saving import make_observers
from gaitstream.pipeline.session import RunSession
from gaitstream.pipeline.shedding import WorkSelector
from gaitstream.pipeline.source.reader import CameraReader, State, StateChange
from gaitstream.pipeline.source.select import may_be_live
from gaitstream.pipeline.track import CameraTracker
from gaitstream.pipeline.visits import VisitSink
from gaitstream.telemetry.stats import Snapshot, Stats

log = logging.getLogger(__name__)

PEOPLE_EXPECTED = 4
"""In a picture, for what is made ready before the cameras are opened."""


@dataclass(frozen=True, slots=True)
class TrackedWork:
    """One frame after tracking: its persons, judged by their boxes, and the tracks that ended with it."""

    work: Work
    ended: tuple[int, ...]
    joined: tuple[tuple[int, int], ...] = ()


class Pipeline:
    """Runs the stages of one process.

    Args:
        config: what to run.
        sink: where events go.
        observers: hooks, called in the pipeline's thread.
        watch: the configuration's file, or what watches it; changes of it are taken over while running.
        stale: the file may have changed since `config` was read.
        realtime: pace files by their timestamps.
        cameras: which of the enabled cameras are run, by id; all when None.
        linger: go on without cameras, or when all have ended, until `stop`: the file may bring others.
        run: id of the run in every event; a new one when empty.
        gallery_feed: of the process that keeps the gallery in memory; None keeps it here.
        roster: who decides while it runs which cameras are run, in place of `cameras`.
        visits: where walks are noted; None makes it here, where the site keeps visitors.
        detector: an open detector, which the caller closes; loaded when None.
        encoder: open recognizers and pose model, likewise.

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
        watch: str | Path | Watcher | None = None,
        stale: bool = False,
        realtime: bool = False,
        cameras: Callable[[str], bool] | None = None,
        linger: bool = False,
        run: str = "",
        gallery_feed: str | None = None,
        roster: Roster | None = None,
        visits: VisitSink | None = None,
        detector: DetectorModel | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        self._detector = detector or load_detector(config)
        self._encoder = encoder or Encoder.load(config)
        opened = ((self._detector, detector is None), (self._encoder, encoder is None))
        self._own = [model for model, own in opened if own]
        self._session = RunSession(
            config, self._encoder.recognizers,
            sink=sink, observers=observers, watch=watch, stale=stale, run=run,
            gallery_feed=gallery_feed, mark=roster.mark if roster else None, visits=visits,
        )  # fmt: skip
        self._linger = linger
        self._idle = False
        self._roster = roster
        self._is_mine = roster.runs if roster else cameras or (lambda _: True)
        self._states: queue.SimpleQueue[tuple[CameraReader, StateChange]] = queue.SimpleQueue()
        self._cameras = Cameras(
            self.stats, lambda reader, change: self._states.put((reader, change)), realtime=realtime
        )
        self._pacer = EncodePacer()
        self._selector = WorkSelector(self._session.decider.labels)
        self._control = LatencyControl(config.runtime.latency_ms)
        try:
            warm_up(self._detector, config)
            if realtime or any(may_be_live(camera) for camera in config.cameras):
                self._detector.prepare(len(config.cameras))
                self._encoder.prepare(PEOPLE_EXPECTED * len(config.cameras))
        except BaseException:  # nobody has the pipeline to close it
            close_all(*(model.close for model in self._own), self._session.close)
            raise

    @property
    def config(self) -> Config:
        """What runs now."""
        return self._session.config

    @property
    def stats(self) -> Stats:
        """The counters."""
        return self._session.stats

    @property
    def run_id(self) -> str:
        """Id of the run, in every event."""
        return self._session.run_id

    @property
    def idle(self) -> bool:
        """Whether there is nothing left to do, as far as the cameras of now go; from any thread."""
        return self._idle

    def run(self) -> Outcome:
        """Run until every file has ended or `stop` is called; then end all tracks.

        This is the whole loop: `source detect track encode`, then `pool embed identify publish` in the
        decider. An exception ends all tracks before it leaves here.
        """
        cameras = self._begin()
        try:
            for camera in cameras:
                self._cameras.open(camera, self.config)
            while not (self._session.stopping or (self._cameras.finished and not self._linger)):
                self._maintain()
                frames = self._gather()
                self._idle = not frames and self._cameras.finished
                if not frames:
                    continue
                started = time.perf_counter()
                found = self._detect(frames)
                tracked = self._track(frames, found)
                encoded = self._encode(self._select([one.work for one in tracked]))
                self._decide(tracked, encoded)
                self._show(tracked, encoded)
                self._control.batch_done(time.perf_counter() - started)
            return self._end()
        except BaseException as error:
            self._cameras.stop()
            self._session.break_off(error)
            raise

    def stop(self, cause: str = "shutdown") -> None:
        """Ask the run to end soon; from any thread, also from a signal handler."""
        self._session.stopping.ask(cause)
        self._cameras.wake()

    def stop_reading(self) -> None:
        """Stop every camera's decode thread at once, from any thread; the roster takes them out later."""
        self._cameras.stop()

    def snapshot(self) -> Snapshot:
        """The counters now; from any thread."""
        return self.stats.snapshot()

    def close(self) -> None:
        """Free cameras, engines and gallery."""
        close_all(self._cameras.stop, *(model.close for model in self._own), self._session.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The stages, in order.

    def _gather(self) -> FrameBatch:
        """Frames of all cameras: a full batch, or what came within the deadline of the first."""
        runtime, plan, effort = self.config.runtime, self._control.plan, self._control.effort
        offered = self._cameras.gather(runtime.batch, runtime.deadline_ms / 1e3, plan.files)
        frames = [(stream, frame) for stream, frame in offered if stream.may_look(plan.frames)]
        taken = sum(not stream.is_live for stream, _ in frames)
        effort.offered += len(offered) - taken
        effort.looked += len(frames) - taken
        effort.files.offered += taken + self._cameras.held
        effort.files.taken += taken
        if frames:
            self.stats.batch("detect", len(frames))
        return frames

    def _detect(self, frames: FrameBatch) -> list[Detections | None]:
        """People in every frame that is due for detection, in one batch across cameras."""
        due, effort, share = [], self._control.effort, self._control.plan.detected
        for index, (stream, frame) in enumerate(frames):
            if stream.is_due(frame):
                if stream.is_live:
                    effort.due += 1
                else:
                    effort.files.due += 1
                if stream.may_detect(share):
                    due.append(index)
            stream.note_taken(frame)
            self._session.decider.set_skew(frame.camera, stream.skew_ns or 0)
        images = [frames[index][1].image for index in due]
        limits = [self.config.detection_score(frames[index][0].camera) for index in due]
        started = time.perf_counter()
        with self.stats.stage("detect"):
            detections = self._detector.detect(images, limits)
        if due:
            effort.detected(len(due), time.perf_counter() - started)
        found: list[Detections | None] = [None] * len(frames)
        for index, one in zip(due, detections, strict=True):
            found[index] = one
        return found

    def _track(self, frames: FrameBatch, found: list[Detections | None]) -> list[TrackedWork]:
        """Ids, and a first judgement by the boxes, frame by frame."""
        tracked = []
        with self.stats.stage("track"):
            for (stream, frame), one in zip(frames, found, strict=True):
                try:
                    tracked.append(self._track_one(stream, frame, one))
                except ConfigError as error:  # its regions do not fit its frames
                    tracked.append(self._fail(stream, frame, str(error)))
                except Exception as error:
                    log.debug("camera %s", frame.camera, exc_info=True)
                    reason = f"{stream.camera.url}: unexpected {type(error).__name__}: {error}"
                    tracked.append(self._fail(stream, frame, reason))
        return tracked

    def _track_one(self, stream: CameraStream, frame: Frame, found: Detections | None) -> TrackedWork:
        size = (frame.image.shape[1], frame.image.shape[0])
        seen = stream.track(frame, found)
        persons = self._session.judge.judge_boxes(frame.camera, size, seen.persons)
        return TrackedWork(Work(frame, persons), seen.ended, seen.joined)

    def _fail(self, stream: CameraStream, frame: Frame, reason: str) -> TrackedWork:
        """Stop one camera whose frames cannot be used; the others go on."""
        stream.reader.fail(reason)
        return TrackedWork(Work(frame, ()), stream.end_tracks())

    def _select(self, works: list[Work]) -> list[Work]:
        """Whoever is worth encoding under the load of now."""
        rule = self.config.tracklets
        self._selector.every = rule.every
        self._selector.settled_after, self._selector.settled_every = rule.settled_after, rule.settled_every
        self._control.objective_ms = self.config.runtime.latency_ms
        files = {stream.camera.id for stream in self._cameras if not stream.is_live}
        selected = self._selector.select(works, self._control.plan.encoded, files)
        self._control.effort.want(self._selector.wanted)
        self._control.effort.files.people += self._selector.patient
        return selected

    def _encode(self, works: list[Work]) -> Encoded:
        """Features of everybody who is evidence, in calls short enough to hear a stop."""
        out = Encoded([], [])
        most = max(self.config.runtime.batch, self._encoder.people_at_once)
        for chunk in self._pacer.chunks(works, most):
            if self._session.stopping:
                break
            started = time.perf_counter()
            encoded = self._encoder.encode(chunk, self._session.judge)
            people = count_people(chunk)
            if people:
                self.stats.batch("encode", people)
                seconds = time.perf_counter() - started
                self._pacer.learn(people, seconds)
                self._control.effort.encoded(people, seconds)
            out.persons += encoded.persons
            out.features += encoded.features
            out.looks += encoded.looks
            for step, step_s in encoded.seconds.items():
                self.stats.observe(step, step_s * 1e3)
        return out

    def _decide(self, tracked: list[TrackedWork], encoded: Encoded) -> None:
        """Pool, embed, identify, publish."""
        done = tracked[: len(encoded.persons)]
        frames = [
            (one.work.frame.camera, persons) for one, persons in zip(done, encoded.persons, strict=True)
        ]
        ended = [(one.work.frame.camera, track) for one in tracked for track in one.ended]
        joined = [(one.work.frame.camera, *pair) for one in done for pair in one.joined]
        self._session.decider.take(frames, encoded.features, ended, joined=joined)
        for camera, track in ended:
            self._session.judge.forget(camera, [track])
            self._selector.forget(camera, track)

    def _show(self, tracked: list[TrackedWork], encoded: Encoded) -> None:
        """Count the frames and show them to the observers."""
        done = tracked[: len(encoded.persons)]
        now_ns = time.time_ns()
        for observer in self._session.observers:
            observer.on_looks(encoded.looks)
        for one, persons in zip(done, encoded.persons, strict=True):
            frame = one.work.frame
            stream = self._cameras[frame.camera]
            stream.stats.analysed += 1
            delay_ns = now_ns - frame.time_ns - (stream.skew_ns or 0)
            delay_ms = max(0, delay_ns) / 1e6
            stream.stats.latency.observe(delay_ms)
            if stream.is_live:
                self._control.observe(delay_ms)
            for observer in self._session.observers:
                observer.on_frame(frame, persons, self._session.decider.labels(frame.camera))
        for one in tracked[len(done) :]:
            self._cameras[one.work.frame.camera].stats.abandoned += 1

    # Around the stages.

    def _begin(self) -> list[str]:
        """Publish that the run begins; which cameras are to be opened."""
        cameras = [camera.id for camera in self.config.cameras if camera.enabled and self._is_mine(camera.id)]
        if not cameras and not self._linger:
            raise ConfigError("no camera is enabled: set enabled: true on one")
        if not self.config.models.recognizers:
            log.warning(
                "no recognizer is configured: people are tracked and nobody is identified; set models"
            )
        self._session.begin(cameras)
        return cameras

    def _maintain(self) -> None:
        """What is due between batches."""
        self._publish_states()
        self._end_finished()
        self._follow_roster()
        if self._session.is_due():
            self._cameras.watch()
            self._session.maintain(self._change_cameras)

    def _end(self) -> Outcome:
        """Stop the cameras and end all tracks."""
        self._cameras.stop()
        self._cameras.drain()
        self._publish_states()
        failed = {one.camera.id: one.reader.reason for one in self._cameras if one.failed}
        return self._session.end(failed)

    def _publish_states(self) -> None:
        """Publish which cameras came and went; one that went takes its tracks along."""
        while not self._states.empty():
            reader, change = self._states.get()
            stream = self._cameras.get(change.camera)
            if stream is None or stream.reader is not reader:
                continue  # said by a reader that was replaced or removed meanwhile
            self._session.publish_state(change, reader.size, stream.camera.fps)
            if change.state is State.OFFLINE:
                if reader.state is State.OFFLINE:
                    stream.abandon()  # else they would begin tracks that nobody ends
                self._end_tracks(stream, "camera_offline")

    def _end_finished(self) -> None:
        """End the tracks of files that are over; other cameras may go on for long."""
        for stream in self._cameras:
            if stream.has_come_to_its_end():
                self._end_tracks(stream, "camera_offline" if stream.failed else "end_of_stream")

    def _end_tracks(self, stream: CameraStream, cause: str) -> None:
        camera = stream.camera.id
        for track in stream.end_tracks():
            self._session.judge.forget(camera, [track])
            self._selector.forget(camera, track)
        self._session.decider.end_camera(camera, cause)

    def _follow_roster(self) -> None:
        """Give cameras up and take others, as the roster has it."""
        if self._roster is None:
            return
        leaving, coming = self._roster.poll()
        for camera in leaving:
            if self._cameras.get(camera) is not None:
                self._remove(camera, "moved")
            self._roster.left(camera)
        if not coming:
            return
        there = {camera.id for camera in self.config.cameras if camera.enabled}
        for camera in coming:
            if camera in there and self._roster.entered(camera):  # else its configuration has not come yet
                self._cameras.open(camera, self.config)

    def _change_cameras(self, _before: Config, changes: Changes) -> None:
        for camera in filter(self._is_mine, changes.adjusted):
            self._cameras[camera].adjust(self.config.camera(camera))
        for camera in filter(self._is_mine, (*changes.removed, *changes.reopened)):
            self._remove(camera)
        for camera in filter(self._is_mine, (*changes.added, *changes.reopened)):
            self._cameras.open(camera, self.config)

    def _remove(self, camera: str, cause: str = "removed") -> None:
        """Stop a camera and end its tracks."""
        stream = self._cameras.remove(camera)
        self._end_tracks(stream, f"camera_{cause}")
        self._session.judge.remove(camera)
        self._session.events.emit(
            CameraOffline(time_ns=time.time_ns(), run=self.run_id, camera=camera, cause=cause)
        )
        stream.count()
        stream.stats.state, stream.stats.removed = "ended", True


def load_detector(config: Config) -> DetectorModel:
    """Open the detector of a configuration."""
    chosen, runtime = config.models.detector, config.runtime
    return DetectorModel.load(
        chosen.model,
        layout=chosen.layout,
        nms_iou=chosen.nms_iou,
        runtime=runtime.name,
        precision="auto" if runtime.precision in ("int8", "fp8") else runtime.precision,
        threads=runtime.threads,
        batch=runtime.batch,
        device=runtime.device,
    )


def warm_up(detector: DetectorModel, config: Config) -> None:
    """Pay for lazy imports and first calls before the cameras deliver, so that no frame waits for them."""
    detector.detect([np.zeros((64, 64, 3), np.uint8)])
    tracker = CameraTracker("", config.tracking, None)
    nothing = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32))
    tracker.update(0, 0, (64, 64), nothing)


def open_native(options: RunOptions, config: Config, publisher: Publishing) -> Pipeline:
    """The runner for all cameras in this process."""
    return Pipeline(
        config,
        sink=publisher,
        observers=make_observers(options, config),
        watch=options.config,
        realtime=options.realtime,
    )


NATIVE = RunnerSpec(suits=lambda _options, _config: True, open=open_native)
"""Runs any site."""

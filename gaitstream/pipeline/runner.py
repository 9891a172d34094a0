"""The pipeline in one process: cameras in, identity events out.

    from gaitstream.pipeline.config_file import load_config
    from gaitstream.pipeline.observe import Observer
    from gaitstream.pipeline.runner import Pipeline

    class Show(Observer):
        def on_decision(self, decision): print(decision.track, decision.status, decision.person)

    with Pipeline(load_config("cams.yaml"), observers=[Show()]) as pipeline:
        outcome = pipeline.run()          # returns when all files have ended, or after `stop()`

Without `sink` the events go nowhere but to the observers; `open_publisher(config, path)` makes the real one.
`pipeline.stats.snapshot()` gives the counters at any time and from any thread.
"""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from gaitstream import __version__
from gaitstream.errors import ConfigError, GaitstreamError
from gaitstream.events import CameraOffline, Event, Journal, Publisher, RunStarted, RunStopped
from gaitstream.events.wire import next_endpoint
from gaitstream.pipeline.backend import Backend
from gaitstream.pipeline.config import Config
from gaitstream.pipeline.config_watch import Changes, ConfigWatcher
from gaitstream.pipeline.data import Detections, Frame
from gaitstream.pipeline.encode import Encoded, Encoder, Work
from gaitstream.pipeline.front import CameraLine, Looked
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.publish import EventMaker, EventSink
from gaitstream.pipeline.source.reader import State, StateChange
from gaitstream.pipeline.stats import Snapshot, Stats
from gaitstream.pipeline.track import CameraTracker

if TYPE_CHECKING:
    from gaitstream.pipeline.detect import DetectorModel

log = logging.getLogger(__name__)

IDLE_S = 0.2
"""Longest sleep of the loop: signals, reloads and ended cameras are looked at this often."""
HOUSEKEEPING_S = 1.0
CHUNK_S = 0.4
"""Time one encoding call may take, so that a stop is heard soon on a slow machine."""


class Discard:
    """An event sink that keeps nothing."""

    def publish(self, event: Event) -> None:
        """Drop it."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        cause: `end_of_stream`, or what `stop` was given.
        frames: analysed frames.
        tracks: tracks that ended.
        outcomes: ended tracks by final status.
        failed: cameras that could not be read, with the reason.
    """

    cause: str
    frames: int
    tracks: int
    outcomes: Counter[str]
    failed: dict[str, str]


class Pipeline:
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
        self.config = config
        self.stats = Stats()
        self.run_id = run or secrets.token_hex(4)
        self._is_mine = cameras or (lambda _: True)
        self._realtime = realtime
        self._observers = observers
        self._sink = sink or Discard()
        self._watcher = ConfigWatcher(watch, config) if watch is not None else None
        self._detector = detector or load_detector(config)
        self._encoder = encoder or Encoder.load(config)
        opened = ((self._detector, detector is None), (self._encoder, encoder is None))
        self._own = [model for model, own in opened if own]
        fingerprints = {kind: model.fingerprint for kind, model in self._encoder.recognizers.items()}
        self._maker = EventMaker(self.run_id, fingerprints)
        self._backend = Backend(
            config, self._encoder.recognizers, self._sink, self._maker, self.stats, observers
        )
        warm_up(self._detector, config)
        self._lines: dict[str, CameraLine] = {}
        self._turn = 0
        self._states: queue.SimpleQueue[StateChange] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._cause = ""
        self._person_s = 0.05
        self._due_s = 0.0

    def run(self) -> Outcome:
        """Run until every file has ended or `stop` is called; then end all tracks.

        This is the whole loop: `source detect track encode`, then `pool embed identify publish` in the
        backend.
        """
        self._begin()
        while not self._done():
            self._keep_house()
            frames = self._gather()
            if not frames:
                continue
            found = self._detect(frames)
            looked = self._track(frames, found)
            encoded = self._encode([one.work for one in looked])
            self._finish(looked, encoded)
        return self._end()

    def stop(self, cause: str = "shutdown") -> None:
        """Ask the run to end soon; from any thread, also from a signal handler."""
        self._cause = self._cause or cause
        self._stop.set()
        self._wake.set()

    def snapshot(self) -> Snapshot:
        """The counters now; from any thread."""
        return self.stats.snapshot()

    def close(self) -> None:
        """Free engines and gallery."""
        for line in self._lines.values():
            line.reader.stop()
        for model in self._own:
            model.close()
        self._backend.close()
        for observer in self._observers:
            observer.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The stages, in order.

    def _gather(self) -> list[tuple[CameraLine, Frame]]:
        """Frames of all cameras: a full batch, or what came within the deadline of the first."""
        limit = self.config.runtime.batch
        frames: list[tuple[CameraLine, Frame]] = []
        deadline_s: float | None = None
        while not self._stop.is_set():
            self._wake.clear()
            self._take_round(frames, limit)
            now = time.monotonic()
            if deadline_s is None and frames:
                deadline_s = now + self.config.runtime.deadline_ms / 1e3
            if len(frames) >= limit or (deadline_s is not None and now >= deadline_s):
                break
            self._wake.wait(IDLE_S if deadline_s is None else deadline_s - now)
            if deadline_s is None and not self._wake.is_set():
                break
            if deadline_s is None and any(line.reader.finished for line in self._lines.values()):
                self._take_round(frames, limit)
                break
        if frames:
            self.stats.batch("detect", len(frames))
        return frames

    def _take_round(self, frames: list[tuple[CameraLine, Frame]], limit: int) -> None:
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

    def _detect(self, frames: list[tuple[CameraLine, Frame]]) -> list[Detections | None]:
        """People in every frame that is due for detection, in one batch across cameras."""
        due = []
        for index, (line, frame) in enumerate(frames):
            if line.needs_detection():
                due.append(index)
            line.took(frame)
            self._backend.set_skew(frame.camera, line.skew_ns or 0)
        images = [frames[index][1].image for index in due]
        limits = [self.config.detection_score(frames[index][0].camera) for index in due]
        with self.stats.stage("detect"):
            detections = self._detector.detect(images, limits)
        found: list[Detections | None] = [None] * len(frames)
        for index, one in zip(due, detections, strict=True):
            found[index] = one
        return found

    def _track(self, frames: list[tuple[CameraLine, Frame]], found: list[Detections | None]) -> list[Looked]:
        """Ids and evidence, frame by frame."""
        with self.stats.stage("track"):
            return [line.look(frame, one) for (line, frame), one in zip(frames, found, strict=True)]

    def _encode(self, works: list[Work]) -> Encoded:
        """Features of everybody who is evidence, in calls short enough to hear a stop."""
        out = Encoded([], [])
        for chunk in self._chunks(works):
            if self._stop.is_set():
                break
            started = time.perf_counter()
            encoded = self._encoder.encode(chunk)
            people = sum(person.rejected is None for work in chunk for person in work.persons)
            if people:
                self.stats.batch("encode", people)
                # Slowly up, quickly down: one slow call must not be followed by a slower one.
                each = (time.perf_counter() - started) / people
                self._person_s = max(each, 0.9 * self._person_s)
            out.persons += encoded.persons
            out.features += encoded.features
            for step, seconds in encoded.seconds.items():
                self.stats.observe(step, seconds * 1e3)
        return out

    def _finish(self, looked: list[Looked], encoded: Encoded) -> None:
        """Pool, embed, identify, publish; then show and count the frames."""
        done = looked[: len(encoded.persons)]
        frames = [
            (one.work.frame.camera, persons) for one, persons in zip(done, encoded.persons, strict=True)
        ]
        ended = [(one.work.frame.camera, track) for one in looked for track in one.ended]
        self._backend.take(frames, encoded.features, ended)
        for camera, track in ended:
            self._encoder.forget(camera, [track])
        now_ns = time.time_ns()
        for one, persons in zip(done, encoded.persons, strict=True):
            frame = one.work.frame
            line = self._lines[frame.camera]
            line.stats.analysed += 1
            delay_ns = now_ns - frame.time_ns - (line.skew_ns or 0)
            line.stats.latency.observe(max(0, delay_ns) / 1e6)
            for observer in self._observers:
                observer.on_frame(frame, persons, self._backend.labels(frame.camera))
        for one in looked[len(done) :]:
            self._lines[one.work.frame.camera].stats.abandoned += 1

    # Around the stages.

    def _begin(self) -> None:
        cameras = [camera for camera in self.config.cameras if camera.enabled and self._is_mine(camera.id)]
        if not cameras:
            raise ConfigError("no camera is enabled: set enabled: true on one")
        if not self.config.models.recognizers:
            log.warning(
                "no recognizer is configured: people are tracked and nobody is identified; set models"
            )
        self._emit(
            RunStarted(
                time_ns=time.time_ns(),
                run=self.run_id,
                version=__version__,
                cameras=tuple(camera.id for camera in cameras),
                models=self._maker.models,
            )
        )
        for camera in cameras:
            self._open(camera.id)

    def _open(self, camera_id: str) -> None:
        camera = self.config.camera(camera_id)
        self._lines[camera_id] = CameraLine.start(
            camera,
            self.config,
            self.stats.camera(camera_id),
            self._states.put,
            self._wake.set,
            realtime=self._realtime,
        )

    def _leave(self, camera_id: str, cause: str) -> None:
        """Stop a camera and end its tracks."""
        line = self._lines.pop(camera_id)
        line.reader.stop()
        self._backend.end_camera(camera_id, cause)
        self._emit(CameraOffline(time_ns=time.time_ns(), run=self.run_id, camera=camera_id, cause="removed"))
        line.count()
        line.stats.state = "ended"

    def _done(self) -> bool:
        if self._stop.is_set():
            return True
        return all(line.reader.finished for line in self._lines.values())

    def _keep_house(self) -> None:
        """Camera states at once; watchdogs, counters, configuration file and gallery once a second."""
        self._tell_states()
        now = time.monotonic()
        if now < self._due_s:
            return
        self._due_s = now + HOUSEKEEPING_S
        for line in self._lines.values():
            line.reader.watch()
            line.count()
        try:
            self._follow_file()
            if self._backend.refresh():
                log.info("gallery read again")
        except GaitstreamError as error:  # what runs goes on as it is
            log.error("%s", error)

    def _tell_states(self) -> None:
        while not self._states.empty():
            change = self._states.get()
            line = self._lines.get(change.camera)
            size = line.reader.size if line else None
            event = self._maker.camera(change, size, line.camera.fps if line else None)
            log.info("camera %s: %s", change.camera, f"{change.state.value} {change.reason}".rstrip())
            if event is not None:
                self._emit(event)
            if line is not None and change.state is State.OFFLINE:
                for track in line.lose_sight():
                    self._encoder.forget(change.camera, [track])
                self._backend.end_camera(change.camera, "camera_offline")

    def _follow_file(self) -> None:
        if self._watcher is None:
            return
        polled = self._watcher.poll()
        if polled is None:
            return
        self.config, changes = polled
        log.info("configuration changed: %s", describe(changes))
        self._backend.adjust(self.config)
        for camera in filter(self._is_mine, changes.adjusted):
            self._lines[camera].adjust(self.config.camera(camera), self.config)
        for camera in filter(self._is_mine, (*changes.removed, *changes.reopened)):
            self._leave(camera, "camera_removed")
        for camera in filter(self._is_mine, (*changes.added, *changes.reopened)):
            self._open(camera)

    def _end(self) -> Outcome:
        """Stop the cameras, end all tracks, say goodbye."""
        cause = self._cause or "end_of_stream"
        for line in self._lines.values():
            line.reader.stop()
        for line in self._lines.values():
            line.reader.join(0.2 / len(self._lines))
            line.stats.abandoned += self._discard(line)
            line.count()
        self._tell_states()
        self._backend.end_all(cause)
        cameras = self.stats.now.cameras.values()
        outcome = Outcome(
            cause=cause,
            frames=sum(camera.analysed for camera in cameras),
            tracks=sum(camera.tracks_ended for camera in cameras),
            outcomes=sum((Counter(camera.outcomes) for camera in cameras), Counter()),
            failed={name: line.reader.reason for name, line in self._lines.items() if line.failed},
        )
        self._emit(
            RunStopped(
                time_ns=time.time_ns(),
                run=self.run_id,
                cause=cause,
                frames=outcome.frames,
                tracks=outcome.tracks,
            )
        )
        return outcome

    @staticmethod
    def _discard(line: CameraLine) -> int:
        count = 0
        while line.reader.get() is not None:
            count += 1
        return count

    def _emit(self, event: Event) -> None:
        self._sink.publish(event)
        self.stats.now.events[str(type(event).__struct_config__.tag)] += 1

    def _chunks(self, works: list[Work]) -> list[list[Work]]:
        """Works in groups of at most a batch of persons and about `CHUNK_S` of encoding."""
        most = max(1, min(self.config.runtime.batch, int(CHUNK_S / self._person_s)))
        chunks: list[list[Work]] = []
        room = 0
        for work in works:
            people = sum(person.rejected is None for person in work.persons)
            if not chunks or people > room:
                chunks.append([])
                room = most
            chunks[-1].append(work)
            room -= people
        return chunks


def load_detector(config: Config) -> DetectorModel:
    """Open the detector of a configuration."""
    from gaitstream.pipeline.detect import DetectorModel

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


def open_publisher(config: Config, path: str | Path) -> Publisher:
    """The publisher a configuration asks for.

    Args:
        config: endpoints and journal.
        path: the configuration's file; without `events.journal` the journal lies beside it.

    Raises:
        EventError: an address is in use, or another process writes the journal.
    """
    events = config.events
    folder = events.journal or Path(path).resolve().parent / f"{Path(path).stem}.journal"
    journal = Journal(folder)
    try:
        return Publisher(journal, events.endpoint, events.replay or next_endpoint(events.endpoint))
    except GaitstreamError:
        journal.close()
        raise


def describe(changes: Changes) -> str:
    """A change of configuration in one line."""
    parts = [
        f"{name} {', '.join(value)}"
        for name in ("added", "removed", "reopened", "adjusted")
        if (value := getattr(changes, name))
    ]
    if changes.restart_needed:
        parts.append(f"{', '.join(changes.restart_needed)} take effect at the next start")
    return "; ".join(parts)

"""The pipeline with DeepStream in front: the same windows, gallery, decisions and events as the native one.

    with DeepStreamPipeline(load_config("cams.yaml"), sink=publisher, watch="cams.yaml") as pipeline:
        outcome = pipeline.run()

DeepStream runs in a process of its own. When it ends by itself, or goes silent, its tracks end here and a
new one is started after a growing pause; journal, gallery and metrics never stop.
"""

from __future__ import annotations

import logging
import secrets
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from gaitstream import __version__
from gaitstream.engines.base import Progress, no_progress
from gaitstream.errors import GaitstreamError
from gaitstream.events import Event, RunStarted, RunStopped
from gaitstream.pipeline.backend import Backend
from gaitstream.pipeline.config import Config
from gaitstream.pipeline.config_watch import Changes, ConfigWatcher
from gaitstream.pipeline.deepstream.graph import enabled, slots_of, uri_of
from gaitstream.pipeline.deepstream.heads import load_heads, min_pose_score
from gaitstream.pipeline.deepstream.labels import Labeller
from gaitstream.pipeline.deepstream.models import make_plan
from gaitstream.pipeline.deepstream.plan import Plan
from gaitstream.pipeline.deepstream.process import ChildProcess
from gaitstream.pipeline.deepstream.records import unpack
from gaitstream.pipeline.deepstream.render import render
from gaitstream.pipeline.deepstream.spec import Command, make_spec
from gaitstream.pipeline.deepstream.translate import Seen, Translator
from gaitstream.pipeline.deepstream.watchdog import Act, Action, Watchdog
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.publish import EventMaker, EventSink
from gaitstream.pipeline.runner import Discard, Outcome, describe
from gaitstream.pipeline.source.backoff import Backoff
from gaitstream.pipeline.source.reader import State, StateChange
from gaitstream.pipeline.stats import Snapshot, Stats
from gaitstream.recognizer import Recognizer

log = logging.getLogger(__name__)

IDLE_S = 0.2
HOUSEKEEPING_S = 1.0
START_S = 900.0
"""Silence allowed to a new process: where TensorRT has no Python module, nvinfer builds its engines then."""
HEALTHY_S = 60.0
"""A process that ran for this long starts the pauses between restarts afresh."""


class DeepStreamPipeline:
    """Runs a site on DeepStream.

    Args:
        config: what to run.
        sink: where events go.
        observers: hooks. `on_frame` is never called: no pictures leave the GPU.
        watch: the configuration's file; changes of it are taken over while running.
        run: id of the run in every event; a new one when empty.
        view: offer the annotated RTSP stream.
        plan: the models; derived from the configuration when None.
        recognizers: open head graphs by kind; opened when None.
        environ: added to the DeepStream process's environment.
        prepare: whether engines are compiled before the start.
        progress: told of builds under way.

    Attributes:
        stats: counters.
        run_id: id of the run.

    Raises:
        ConfigError: a source or a model cannot run on DeepStream.
        BundleError: a bundle has no graphs for it.
        GalleryError: the gallery was filled by another model.
    """

    def __init__(
        self,
        config: Config,
        *,
        sink: EventSink | None = None,
        observers: Sequence[Observer] = (),
        watch: str | Path | None = None,
        run: str = "",
        view: bool = False,
        plan: Plan | None = None,
        recognizers: Mapping[str, Recognizer] | None = None,
        environ: Mapping[str, str] | None = None,
        prepare: bool = True,
        progress: Progress = no_progress,
    ) -> None:
        self.config = config
        self.stats = Stats()
        self.run_id = run or secrets.token_hex(4)
        self._sink = sink or Discard()
        self._observers = observers
        self._watcher = ConfigWatcher(watch, config) if watch is not None else None
        self._view = view
        self._prepare = prepare
        self._progress = progress
        self._plan = plan or make_plan(config)
        self._recognizers = dict(recognizers) if recognizers is not None else load_heads(config)
        self._maker = EventMaker(
            self.run_id, {k: model.fingerprint for k, model in self._recognizers.items()}
        )
        watching = [Labeller(self.tell)] if view else []
        self._backend = Backend(
            config,
            self._recognizers,
            self._sink,
            self._maker,
            self.stats,
            [*observers, *watching],
        )
        kinds = [encoder.kind for encoder in self._plan.encoders]
        self._translator = Translator(config, kinds, min_pose_score(self._recognizers.values()))
        sources = config.sources
        self._watchdog = Watchdog(sources.stall_s, 60.0 + sources.stall_s, 120.0, START_S)
        self._folder = tempfile.TemporaryDirectory(prefix="gaitstream-graph-")
        self._child = ChildProcess(environ)
        self._backoff = Backoff(1.0, 60.0)
        self._stop = threading.Event()
        self._cause = ""
        self._slots = 0
        self._next_tracks: dict[str, int] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._started_s = 0.0
        self._restart_at_s: float | None = None
        self._due_s = 0.0
        self._ended = False

    def run(self) -> Outcome:
        """Run until every file has ended or `stop` is called; then end all tracks."""
        if self._prepare:
            from gaitstream.pipeline.deepstream.engines import prepare_engines

            prepare_engines(self._plan, self._progress)
        cameras = tuple(camera.id for camera in enabled(self.config))
        self._emit(
            RunStarted(
                time_ns=time.time_ns(),
                run=self.run_id,
                version=__version__,
                cameras=cameras,
                models=self._maker.models,
            )
        )
        self._start()
        while not (self._stop.is_set() or self._ended):
            parts = self._child.receive(IDLE_S)
            if parts is not None:
                self._take(parts)
            self._keep_house()
        return self._end()

    def stop(self, cause: str = "shutdown") -> None:
        """Ask the run to end soon; from any thread, also from a signal handler."""
        self._cause = self._cause or cause
        self._stop.set()

    def snapshot(self) -> Snapshot:
        """The counters now; from any thread."""
        return self.stats.snapshot()

    def close(self) -> None:
        """End the process, free engines and gallery."""
        self._child.close()
        for model in self._recognizers.values():
            model.close()
        self._backend.close()
        self._folder.cleanup()
        for observer in self._observers:
            observer.close()

    def __enter__(self) -> DeepStreamPipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def tell(self, command: Command) -> None:
        """Send a command to the process."""
        self._child.tell(command)

    @property
    def child_pid(self) -> int | None:
        """Process id of DeepStream, None while there is none."""
        return self._child.pid

    def _start(self) -> None:
        graph, _ = render(self.config, self._plan, Path(self._folder.name), view=self._view)
        spec = make_spec(self.config, self._plan, graph, self._child.endpoint, self._next_tracks)
        self._slots = slots_of(self.config)
        self._child.start(spec)
        self._started_s = time.monotonic()
        self._restart_at_s = None
        self._act(self._watchdog.start((c.id for c in enabled(self.config)), self._started_s))
        log.info("DeepStream started as process %s", self._child.pid)

    def _take(self, parts: list[Any]) -> None:
        """One message: pool, embed, identify, publish."""
        if len(parts) == 1 and not len(parts[0]):
            self._streams_ended()
            return
        batch, arrays = unpack(parts)
        self._count(batch.counters)
        now_s = time.monotonic()
        for frame in batch.frames:
            self._sizes[frame.camera] = (frame.width, frame.height)
            self._act(self._watchdog.frame(frame.camera, now_s))
        with self.stats.stage("judge"):
            seen = self._translator.translate(batch, arrays)
        self._pass_on(seen)
        now_ns = time.time_ns()
        live = {camera.id for camera in enabled(self.config) if not uri_of(camera).startswith("file:")}
        for one in seen:
            if one.frame_index < 0:
                continue
            counters = self.stats.camera(one.camera)
            counters.decoded += 1
            counters.analysed += 1
            if one.camera in live:
                counters.latency.observe(max(0.0, (now_ns - one.time_ns) / 1e6))

    def _pass_on(self, seen: Sequence[Seen]) -> None:
        for one in seen:
            for person in one.persons:
                least = self._next_tracks.get(one.camera, 1)
                self._next_tracks[one.camera] = max(least, person.track + 1)
        self._backend.take(
            [(one.camera, one.persons) for one in seen],
            [feature for one in seen for feature in one.features],
            [(one.camera, track) for one in seen for track in one.ended],
        )

    def _count(self, counters: Mapping[str, Mapping[str, int]]) -> None:
        """DeepStream's own counts; those of the camera's frames go where the native front end has them."""
        for camera, counts in counters.items():
            stats = self.stats.camera(camera) if camera else None
            for what, number in counts.items():
                if stats is None:
                    self.stats.now.front[what] += number
                elif what == "frames_skipped":
                    stats.skipped += number
                    stats.decoded += number
                elif what == "frames_dropped":
                    stats.dropped += number
                    stats.decoded += number
                else:
                    stats.front[what] += number

    def _keep_house(self) -> None:
        now_s = time.monotonic()
        if self._restart_at_s is not None:
            if now_s >= self._restart_at_s:
                self._start()
        elif self._child.exit_code is not None:
            self._process_ended(now_s)
        if now_s < self._due_s:
            return
        self._due_s = now_s + HOUSEKEEPING_S
        if self._restart_at_s is None:
            self._act(self._watchdog.check(now_s))
        try:
            self._follow_file()
            if self._backend.refresh():
                log.info("gallery read again")
        except GaitstreamError as error:  # what runs goes on as it is
            log.error("%s", error)

    def _streams_ended(self) -> None:
        """Films are over; live cameras do not end, so something is wrong with them all."""
        if all(uri_of(camera).startswith("file:") for camera in enabled(self.config)):
            self._ended = True
        else:
            self._restart("all streams have ended", time.monotonic())

    def _process_ended(self, now_s: float) -> None:
        while not self._ended and (parts := self._child.receive(0.0)) is not None:
            self._take(parts)
        if not self._ended and self._restart_at_s is None:
            self._restart(f"DeepStream's process ended with code {self._child.exit_code}", now_s)

    def _restart(self, reason: str, now_s: float) -> None:
        """End the process and its tracks; start another after a pause."""
        if now_s - self._started_s > HEALTHY_S:
            self._backoff.reset()
        pause_s = self._backoff.next()
        log.error("%s; starting another in %.1f s", reason, pause_s)
        self.stats.now.front["restarts"] += 1
        self._child.end()
        self._end_tracks(self._translator.end_all())
        self._act(self._watchdog.start((c.id for c in enabled(self.config)), now_s))
        self._restart_at_s = now_s + pause_s

    def _end_tracks(self, seen: Iterable[Seen]) -> None:
        ended = [(one.camera, track) for one in seen for track in one.ended]
        self._backend.take([], [], ended)

    def _act(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if action.act is Act.RESTART:
                self._restart(action.reason, time.monotonic())
                return
            if action.act is Act.REVIVE:
                self._revive(action.camera)
            else:
                self._tell_state(action)

    def _revive(self, camera: str) -> None:
        """Take a silent camera out and put it in again."""
        if self.config.deepstream.rest is None:
            return
        entry = self.config.camera(camera)
        self.stats.camera(camera).reconnects += 1
        log.warning("camera %s: no frames; removed and added again", camera)
        self._remove(camera)
        self._child.tell(Command(do="add", camera=camera, uri=uri_of(entry), fps=entry.fps))

    def _remove(self, camera: str) -> None:
        entries = [entry for entry in self.config.cameras if entry.id == camera]
        uri = uri_of(entries[0]) if entries else "rtsp://removed"
        self._child.tell(Command(do="remove", camera=camera, uri=uri))

    def _tell_state(self, action: Action) -> None:
        online = action.act is Act.ONLINE
        state = State.ONLINE if online else State.OFFLINE
        stats = self.stats.camera(action.camera)
        stats.state, stats.reason = state.value, action.reason
        change = StateChange(action.camera, state, action.reason, time.time_ns())
        fps = {camera.id: camera.fps for camera in self.config.cameras}.get(action.camera)
        event = self._maker.camera(
            change, self._sizes.get(action.camera), fps, cause="" if online else "stalled"
        )
        log.info("camera %s: %s %s", action.camera, state.value, action.reason)
        if event is not None:
            self._emit(event)

    def _follow_file(self) -> None:
        polled = self._watcher.poll() if self._watcher is not None else None
        if polled is None:
            return
        before, (self.config, changes) = self.config, polled
        log.info("configuration changed: %s", describe(changes))
        self._backend.adjust(self.config)
        self._translator.adjust(self.config)
        if self._needs_restart(changes):
            self._restart("other cameras than the process has room or means for", time.monotonic())
            self._restart_at_s = time.monotonic()
            return
        self._change_cameras(before, changes)

    def _needs_restart(self, changes: Changes) -> bool:
        moved = bool(changes.added or changes.removed or changes.reopened)
        return moved and (self.config.deepstream.rest is None or len(enabled(self.config)) > self._slots)

    def _change_cameras(self, before: Config, changes: Changes) -> None:
        now_s = time.monotonic()
        for camera in changes.adjusted:
            self._child.tell(Command(do="retune", camera=camera, fps=self.config.camera(camera).fps))
        for camera in (*changes.removed, *changes.reopened):
            # The server finds the camera by its id; the URL only has to be there.
            self._child.tell(Command(do="remove", camera=camera, uri=uri_of(before.camera(camera))))
            self._watchdog.remove(camera)
            self._backend.end_camera(camera, "camera_removed")
            self.stats.camera(camera).state = "ended"
        for camera in (*changes.added, *changes.reopened):
            entry = self.config.camera(camera)
            self._child.tell(Command(do="add", camera=camera, uri=uri_of(entry), fps=entry.fps))
            self._watchdog.add(camera, now_s)

    def _end(self) -> Outcome:
        """Stop the process, take what it still sent, end all tracks, say goodbye."""
        cause = self._cause or "end_of_stream"
        self._child.end()
        self._backend.end_all(cause)
        cameras = self.stats.now.cameras.values()
        outcome = Outcome(
            cause=cause,
            frames=sum(camera.analysed for camera in cameras),
            tracks=sum(camera.tracks_ended for camera in cameras),
            outcomes=sum((Counter(camera.outcomes) for camera in cameras), Counter()),
            failed={},
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

    def _emit(self, event: Event) -> None:
        self._sink.publish(event)
        self.stats.now.events[str(type(event).__struct_config__.tag)] += 1

"""The pipeline with DeepStream in front: the same windows, gallery, decisions and events as the native one.

    with DeepStreamPipeline(load_config("cams.yaml"), sink=publisher, watch="cams.yaml") as pipeline:
        outcome = pipeline.run()

DeepStream runs in a process of its own. When it ends by itself, or goes silent, its tracks end here and a
new one is started after a growing pause; journal, gallery and metrics never stop.
"""

from __future__ import annotations

import ipaddress
import logging
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from gaitstream.config.schema import Config
from gaitstream.config.watching import Changes
from gaitstream.deepstream.engines import prepare_engines, print_progress
from gaitstream.deepstream.graph import (
    check_cameras,
    check_ports,
    enabled,
    is_file,
    loops,
    reconnects,
    require_cameras,
    room_for_cameras,
)
from gaitstream.deepstream.heads import load_heads
from gaitstream.deepstream.labels import Labeller
from gaitstream.deepstream.models import make_plan
from gaitstream.deepstream.plan import Plan
from gaitstream.deepstream.records import unpack
from gaitstream.deepstream.render import render
from gaitstream.deepstream.spec import Command, change_commands, make_spec, revive_commands
from gaitstream.deepstream.supervisor import REVIVE_S, Supervisor
from gaitstream.deepstream.translate import JudgedFrame, Translator, count_frames, count_handled
from gaitstream.deepstream.watchdog import Act, Action
from gaitstream.engines.base import Progress, no_progress
from gaitstream.errors import ConfigError
from gaitstream.events.publishing import Publishing
from gaitstream.models.recognizer import Recognizer
from gaitstream.pipeline.base import IDLE_S, Outcome, RunOptions
from gaitstream.pipeline.closing import close_all
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.publish import EventSink
from gaitstream.pipeline.saving import make_observers
from gaitstream.pipeline.session import RunSession
from gaitstream.pipeline.source.reader import State, StateChange
from gaitstream.telemetry.stats import Snapshot, Stats

log = logging.getLogger(__name__)

FAILED_STARTS = 3
"""So many processes in a row that end before they play end a run of files."""


class DeepStreamPipeline:
    """Runs a site on DeepStream.

    Args:
        config: what to run.
        sink: where events go.
        observers: hooks. `on_frame` is never called: no pictures leave the GPU.
        watch: the configuration's file; changes of it are taken over while running.
        run: id of the run in every event; a new one when empty.
        view: offer the annotated pictures.
        plan: the models; derived from the configuration when None.
        recognizers: open head graphs by kind; opened when None.
        environ: added to the DeepStream process's environment.
        prepare: whether engines are compiled before the start.
        progress: told of builds under way.

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
        check_ports(config, view=view)
        self._plan = plan or make_plan(config)
        self._recognizers = dict(recognizers) if recognizers is not None else load_heads(config)
        watching = [Labeller(self.tell)] if view else []
        self._session = RunSession(
            config, self._recognizers,
            sink=sink, observers=[*observers, *watching], watch=watch, run=run, check=check_cameras,
        )  # fmt: skip
        self._view = view
        if view and not ipaddress.ip_address(config.deepstream.view_address).is_loopback:
            log.warning(
                "pictures are offered at %s without authentication: whoever reaches it sees them",
                config.deepstream.view_address,
            )
        self._prepare = prepare
        self._progress = progress
        encoders = self._plan.encoders
        self._translator = Translator(
            config, [one.name for one in encoders], self._session.judge,
            waiting=[one.name for one in encoders if one.waits],
        )  # fmt: skip
        self._folder = tempfile.TemporaryDirectory(prefix="gaitstream-graph-")
        self._supervisor = Supervisor(environ, config.sources.stall_s)
        self._room = 0
        self._next_tracks: dict[str, int] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._ended = False
        self._failed: dict[str, str] = {}

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

    def run(self) -> Outcome:
        """Run until every file has ended or `stop` is called; then end all tracks."""
        require_cameras(self.config)
        if self._prepare:
            prepare_engines(self._plan, self._progress)
        self._session.begin(self._camera_ids())
        try:
            self._start()
            while not (self._session.stopping or self._ended):
                parts = self._supervisor.child.receive(IDLE_S)
                if parts is not None:
                    self._take(parts)
                self._maintain()
            self._supervisor.child.end()
            return self._session.end(failed=self._failed)
        except BaseException as error:
            self._session.break_off(error)
            raise

    def stop(self, cause: str = "shutdown") -> None:
        """Ask the run to end soon; from any thread, also from a signal handler."""
        self._session.stopping.ask(cause)

    def snapshot(self) -> Snapshot:
        """The counters now; from any thread."""
        return self.stats.snapshot()

    def close(self) -> None:
        """End the process; free engines and gallery."""
        models = (model.close for model in self._recognizers.values())
        close_all(self._supervisor.child.close, *models, self._folder.cleanup, self._session.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tell(self, command: Command) -> None:
        """Send a command to the process."""
        self._supervisor.child.tell(command)

    @property
    def child_pid(self) -> int | None:
        """Process id of DeepStream, None while there is none."""
        return self._supervisor.child.pid

    # What comes from the process.

    def _take(self, parts: list[Any]) -> None:
        """One message: pool, embed, identify, publish."""
        if len(parts) == 1 and not len(parts[0]):
            self._streams_ended()
            return
        batch, arrays = unpack(parts)
        count_handled(self.stats, batch.counters)
        if batch.plays:
            self._supervisor.play()
        now_s = time.monotonic()
        for frame in batch.frames:
            self._sizes[frame.camera] = (frame.width, frame.height)
            self._act(self._supervisor.watchdog.frame(frame.camera, now_s))
        with self.stats.stage("judge"):
            frames = self._translator.translate(batch, arrays)
        self._decide(frames)
        files = {camera.id for camera in enabled(self.config) if is_file(camera)}
        count_frames(self.stats, frames, time.time_ns(), files)

    def _decide(self, frames: Sequence[JudgedFrame]) -> None:
        """Pool, embed, identify, publish."""
        for one in frames:
            for person in one.persons:
                least = self._next_tracks.get(one.camera, 1)
                self._next_tracks[one.camera] = max(least, person.track + 1)
        self._session.decider.take(
            [(one.camera, one.persons) for one in frames],
            [feature for one in frames for feature in one.features],
            [(one.camera, track) for one in frames for track in one.ended],
        )

    def _streams_ended(self) -> None:
        """Files are over; live cameras do not end, so something is wrong with them all."""
        if all(is_file(camera) for camera in enabled(self.config)):
            self._ended = True
        else:
            self._restart("all streams have ended")

    # The process.

    def _start(self) -> None:
        graph, _ = render(self.config, self._plan, Path(self._folder.name), view=self._view)
        endpoint = self._supervisor.child.endpoint
        self._room = room_for_cameras(self.config)
        self._act(
            self._supervisor.start(
                make_spec(self.config, self._plan, graph, endpoint, self._next_tracks), self._revivals_s()
            )
        )

    def _restart(self, reason: str, *, pause: bool = True) -> None:
        """End the process and its tracks; start another after a pause."""
        self.stats.now.front["restarts"] += 1
        actions = self._supervisor.end(reason, self._revivals_s(), pause=pause)
        ended = [(one.camera, track) for one in self._translator.end_all() for track in one.ended]
        self._session.decider.take([], [], ended)
        self._act(actions)

    def _process_ended(self) -> None:
        """Take what it still sent; then another one is needed."""
        child = self._supervisor.child
        while not self._ended and (parts := child.receive(0.0)) is not None:
            self._take(parts)
        if self._ended or self._supervisor.paused:
            return
        self._restart(f"DeepStream's process ended with code {child.exit_code}")
        if self._supervisor.failed_starts == FAILED_STARTS and all(map(is_file, enabled(self.config))):
            # Cameras may come back; files that cannot be started on will not change.
            reason = (
                f"DeepStream's process ended {FAILED_STARTS} times before it played; its lines above say why"
            )
            self._failed = dict.fromkeys(self._camera_ids(), reason)
            self._ended = True

    # Around it.

    def _maintain(self) -> None:
        """What is due between messages."""
        if self._supervisor.is_due:
            if self._camera_ids():  # else it waits for one that is enabled
                self._start()
        elif self._supervisor.died:
            self._process_ended()
        if self._session.is_due():
            if not self._supervisor.paused:
                self._act(self._supervisor.watchdog.check(time.monotonic()))
            self._session.maintain(self._change_cameras)

    def _act(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if action.act is Act.RESTART:
                self._restart(action.reason)
                return
            if action.act is Act.REVIVE:
                self._revive(action.camera)
            else:
                self._publish_online(action)

    def _revive(self, camera: str) -> None:
        if self.config.deepstream.rest is None:
            log.error("camera %s: no frames; with deepstream.rest: null it cannot be added again", camera)
            return
        self.stats.camera(camera).reconnects += 1
        log.warning("camera %s: no frames; removed and added again", camera)
        for command in revive_commands(self.config, camera):
            self.tell(command)

    def _publish_online(self, action: Action) -> None:
        """A camera gives frames again, or does not any more."""
        online = action.act is Act.ONLINE
        state = State.ONLINE if online else State.OFFLINE
        stats = self.stats.camera(action.camera)
        stats.state, stats.reason = state.value, action.reason
        change = StateChange(action.camera, state, action.reason, time.time_ns())
        fps = {camera.id: camera.fps for camera in self.config.cameras}.get(action.camera)
        size = self._sizes.get(action.camera)
        self._session.publish_state(change, size, fps, cause="" if online else "stalled")

    def _change_cameras(self, before: Config, changes: Changes) -> None:
        self._translator.adjust(self.config)
        moved = bool(changes.added or changes.removed or changes.reopened)
        if moved and (self.config.deepstream.rest is None or len(self._camera_ids()) > self._room):
            self._restart("other cameras than the process has room or means for", pause=False)
            return
        for command in change_commands(before, self.config, changes):
            self.tell(command)
        for camera in (*changes.removed, *changes.reopened):
            self._supervisor.watchdog.remove(camera)
            self._session.decider.end_camera(camera, "camera_removed")
            self.stats.camera(camera).state, self.stats.camera(camera).removed = "ended", True
        for camera in (*changes.added, *changes.reopened):
            self.stats.camera(camera).removed = False
            self._supervisor.watchdog.add(camera, self._revivals_s()[camera], time.monotonic())

    def _revivals_s(self) -> dict[str, float]:
        """By camera, the silence after which it is added again: soon where DeepStream does not connect it."""
        stall_s, reconnect_s = self.config.sources.stall_s, float(self.config.deepstream.reconnect_s)
        return {
            camera.id: stall_s + REVIVE_S if reconnects(camera) else max(stall_s, reconnect_s)
            for camera in enabled(self.config)
        }

    def _camera_ids(self) -> tuple[str, ...]:
        return tuple(camera.id for camera in enabled(self.config))


def check_site(config: Config) -> None:
    """See whether DeepStream can run all of a site.

    Raises:
        ConfigError: a source or model cannot run on DeepStream.
        BundleError: a bundle has no graphs for it.
    """
    make_plan(config)
    check_cameras(config)


def open_runner(options: RunOptions, config: Config, publisher: Publishing) -> DeepStreamPipeline:
    """The runner that `gaitstream run` asks for.

    Raises:
        ConfigError: an option needs pictures or several processes, or a source or model cannot run.
    """
    if options.save_video or options.save_tracklets or options.realtime or options.workers > 1:
        raise ConfigError(
            "--save-video, --save-tracklets, --realtime and --workers need the native front end: no pictures "
            "leave the GPU, and one process feeds it; add --frontend native, or look at --view"
        )
    if config.evidence.minutes is not None or config.evidence.live:
        log.warning(
            "evidence.minutes and evidence.live need pictures, which stay on the GPU: nothing is kept "
            "or offered; look at --view, or add --frontend native"
        )
    if without := _native_alone(config):
        log.warning(
            "%s: the native front end alone leaves work out; everybody is encoded in every frame here; add "
            "--frontend native for it",
            ", ".join(without),
        )
    for text in _one_for_all(config):
        log.warning("%s", text)
    return DeepStreamPipeline(
        config,
        sink=publisher,
        observers=make_observers(options, config),
        watch=options.config,
        view=options.view,
        progress=print_progress(),
    )


def _one_for_all(config: Config) -> list[str]:
    """What is set for some cameras, and is the same for all of a process here."""
    cameras, found = enabled(config), list[str]()
    if any(camera.loop for camera in cameras) and not loops(cameras):
        found.append(
            "cameras[].loop: files start again only where all cameras are files with loop: true; none here"
        )
    if len({camera.transport for camera in cameras if camera.url.scheme in ("rtsp", "rtsps")}) > 1:
        found.append(
            "cameras[].transport: DeepStream takes one for all cameras; UDP is tried first here, then TCP"
        )
    return found


def _native_alone(config: Config) -> list[str]:
    """Settings of what need not be done that have no effect here."""
    tracklets, found = config.tracklets, list[str]()
    if tracklets.every > 1:
        found.append("tracklets.every")
    if tracklets.settled_every > 1:
        found.append("tracklets.settled_every")
    if config.runtime.latency_ms is not None:
        found.append("runtime.latency_ms")
    if any(camera.still_every > 1 for camera in config.cameras):
        found.append("cameras[].still_every")
    return found

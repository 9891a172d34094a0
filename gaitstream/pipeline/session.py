"""What a runner that decides in its own process is composed of, whichever front end feeds it.

The front end finds and tracks people; the session has the judge of what is evidence, the decider, the run's
events and counters, follows configuration file and gallery while they change, and ends all tracks at the end.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.config.schema import Config
from gaitstream.config.watching import Changes, ConfigWatcher, Watcher
from gaitstream.errors import GaitstreamError
from gaitstream.events import Event
from gaitstream.pipeline.base import Outcome
from gaitstream.pipeline.closing import close_all
from gaitstream.pipeline.decide import Decider
from gaitstream.pipeline.judge import EvidenceJudge
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.publish import EventSink, RunEvents
from gaitstream.pipeline.source.reader import State, StateChange
from gaitstream.pipeline.visits import VisitSink
from gaitstream.telemetry.stats import Stats

if TYPE_CHECKING:
    from gaitstream.models.recognizer import Recognizer

log = logging.getLogger(__name__)

MAINTENANCE_S = 1.0
"""Pause between looks at configuration file, gallery and held-back events."""


class Discard:
    """An event sink that keeps nothing."""

    def publish(self, event: Event) -> None:
        """Drop it."""


class StopRequest:
    """Asked once, from any thread or a signal handler; the first cause counts."""

    def __init__(self) -> None:
        self.cause = ""
        self._asked = threading.Event()

    def ask(self, cause: str) -> None:
        """Ask the run to end soon."""
        self.cause = self.cause or cause
        self._asked.set()

    def __bool__(self) -> bool:
        return self._asked.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Sleep, but not longer than until it is asked; whether it was."""
        return self._asked.wait(timeout_s)


class RunSession:
    """One run of a site in this process; used by the runner's thread, except `stopping` and `stats`.

    Args:
        config: what to run.
        recognizers: by kind.
        sink: where events go; None drops them.
        observers: hooks, called in the run's thread; closed with the run.
        watch: the configuration's file, or what watches it; changes of it are taken over while running.
        stale: the file may have changed since `config` was read.
        run: id of the run in every event; a new one when empty.
        gallery_feed: of the process that keeps the gallery in memory; None keeps it here.
        mark: completes an event as it is decided, or refuses it by None.
        visits: where walks are noted; None makes it here, where the site keeps visitors.
        check: says by a ConfigError that the cameras of a changed file cannot be run.

    Attributes:
        config: what runs now.
        stats: counters.
        run_id: id of the run.
        events: its events.
        judge: decides which person-frames are evidence.
        decider: decides who a track is.
        stopping: true once the run was asked to end.

    Raises:
        GalleryError: the gallery was filled by another model.
    """

    def __init__(
        self,
        config: Config,
        recognizers: Mapping[str, Recognizer],
        *,
        sink: EventSink | None = None,
        observers: Sequence[Observer] = (),
        watch: str | Path | Watcher | None = None,
        stale: bool = False,
        run: str = "",
        gallery_feed: str | None = None,
        mark: Callable[[Event], Event | None] | None = None,
        visits: VisitSink | None = None,
        check: Callable[[Config], None] | None = None,
    ) -> None:
        self.config = config
        self._check = check
        self.stats = Stats()
        self.run_id = run or secrets.token_hex(4)
        self.stopping = StopRequest()
        prints = {kind: model.fingerprint for kind, model in recognizers.items()}
        self.events = RunEvents(self.run_id, prints, sink or Discard(), self.stats, mark)
        self.judge = EvidenceJudge(config, recognizers.values())
        self.decider = Decider(config, recognizers, self.events, self.stats, observers, gallery_feed, visits)
        self.observers = tuple(observers)
        self._watcher: Watcher | None = (
            ConfigWatcher(watch, config, stale=stale) if isinstance(watch, str | Path) else watch
        )
        self._due_s = 0.0

    def begin(self, cameras: Sequence[str]) -> None:
        """Tell the observers, and publish `run.started`."""
        for observer in self.observers:
            observer.on_begin(self.run_id, self.events.make.models, self.config, self.stats)
        self.events.emit(self.events.make.started(cameras))

    def is_due(self) -> bool:
        """Whether it is time for `maintain`, and for what the runner itself looks at once a second."""
        self.stats.turn()
        now_s = time.monotonic()
        due = now_s >= self._due_s
        if due:
            self._due_s = now_s + MAINTENANCE_S
        return due

    def maintain(self, change_cameras: Callable[[Config, Changes], None]) -> None:
        """Send what was held back; take over a changed configuration file and a changed gallery.

        Args:
            change_cameras: brings the cameras from the configuration it is given to `config`.
        """
        self.events.retry()
        self.decider.tell_visits()
        self.events.tell_stats(self.config.events.stats_every_s)
        try:
            self._follow_config(change_cameras)
        except GaitstreamError as error:  # what runs goes on as it is
            log.error("%s", error)
        try:
            self.decider.refresh()
        except GaitstreamError as error:
            log.error("%s", error)

    def publish_state(
        self, change: StateChange, size: tuple[int, int] | None, fps: float | None, cause: str = ""
    ) -> None:
        """Publish that a camera came or went; arguments as for `EventMaker.camera`."""
        level = logging.WARNING if change.state in (State.OFFLINE, State.FAILED) else logging.INFO
        log.log(level, "camera %s: %s", change.camera, f"{change.state.value} {change.reason}".rstrip())
        event = self.events.make.camera(change, size, fps, cause)
        if event is not None:
            self.events.emit(event)

    def end(self, failed: Mapping[str, str]) -> Outcome:
        """End all tracks, then publish `run.stopped`."""
        cause = self.stopping.cause or "end_of_stream"
        self.decider.end_all(cause)
        self.decider.end_visits()
        return self._stopped(cause, failed)

    def break_off(self, error: BaseException) -> None:
        """After an exception: end all tracks with what is known of them, then publish `run.stopped`."""
        self.stopping.ask("interrupt" if isinstance(error, KeyboardInterrupt) else "error")
        self.decider.break_off(self.stopping.cause)
        try:
            self.decider.end_visits()
        except Exception:
            log.exception("the last walks of visitors are not noted")
        self._stopped(self.stopping.cause, {})

    def _stopped(self, cause: str, failed: Mapping[str, str]) -> Outcome:
        cameras = self.stats.now.cameras.values()
        outcome = Outcome(
            cause=cause,
            frames=sum(camera.analysed for camera in cameras),
            tracks=sum(camera.tracks_ended for camera in cameras),
            outcomes=sum((Counter(camera.outcomes) for camera in cameras), Counter()),
            failed=dict(failed),
        )
        self.events.emit(self.events.make.stopped(cause, outcome.frames, outcome.tracks))
        self.events.close()
        return outcome

    def close(self) -> None:
        """Let go of the gallery and of the observers."""
        close_all(self.events.close, self.decider.close, *(observer.close for observer in self.observers))

    def _follow_config(self, change_cameras: Callable[[Config, Changes], None]) -> None:
        polled = self._watcher.poll() if self._watcher is not None else None
        if self._watcher is None or polled is None:
            return
        before, (new, changes) = self.config, polled
        try:
            if self._check is not None:
                self._check(new)
            self.judge.adjust(new, leaving=(*changes.removed, *changes.reopened))
        except GaitstreamError:  # a wrong file changes nothing
            self._watcher.config = before
            raise
        self.config = new
        log.info("configuration changed: %s", changes)
        self.decider.adjust(new)
        for observer in self.observers:
            observer.on_config(new)
        change_cameras(before, changes)

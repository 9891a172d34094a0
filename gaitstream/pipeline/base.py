"""What a run is whichever front end feeds it: its events, counters, gallery, configuration file and end.

`runner.Pipeline` reads the cameras itself, `deepstream.runner.DeepStreamPipeline` has DeepStream do it.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gaitstream import __version__
from gaitstream.config.schema import Config
from gaitstream.config.watching import Changes, ConfigWatcher
from gaitstream.errors import GaitstreamError
from gaitstream.events import Event, RunStarted, RunStopped
from gaitstream.pipeline.backend import Backend
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.publish import EventMaker, EventSink
from gaitstream.pipeline.source.reader import StateChange
from gaitstream.telemetry.stats import Snapshot, Stats

if TYPE_CHECKING:
    from gaitstream.models.recognizer import Recognizer

log = logging.getLogger(__name__)

IDLE_S = 0.2
"""Longest sleep of a run's loop: signals, reloads and ended cameras are looked at this often."""
HOUSEKEEPING_S = 1.0


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


class Runner(ABC):
    """One run of a site.

    Args:
        config: what to run.
        recognizers: by kind.
        sink: where events go.
        observers: hooks, called in the run's thread; closed with the run.
        watch: the configuration's file; changes of it are taken over while running.
        run: id of the run in every event; a new one when empty.

    Attributes:
        config: what runs now.
        stats: counters.
        run_id: id of the run.

    Raises:
        GalleryError: the gallery was filled by another model.
    """

    def __init__(
        self,
        config: Config,
        recognizers: Mapping[str, Recognizer],
        *,
        sink: EventSink | None,
        observers: Sequence[Observer],
        watch: str | Path | None,
        run: str,
    ) -> None:
        self.config = config
        self.stats = Stats()
        self.run_id = run or secrets.token_hex(4)
        self._sink = sink or Discard()
        self._observers = observers
        self._watcher = ConfigWatcher(watch, config) if watch is not None else None
        self._maker = EventMaker(
            self.run_id, {kind: model.fingerprint for kind, model in recognizers.items()}
        )
        self._backend = Backend(config, recognizers, self._sink, self._maker, self.stats, observers)
        self._stop = threading.Event()
        self._cause = ""
        self._due_s = 0.0

    @abstractmethod
    def run(self) -> Outcome:
        """Run until every file has ended or `stop` is called; then end all tracks."""

    def stop(self, cause: str = "shutdown") -> None:
        """Ask the run to end soon; from any thread, also from a signal handler."""
        self._cause = self._cause or cause
        self._stop.set()

    def snapshot(self) -> Snapshot:
        """The counters now; from any thread."""
        return self.stats.snapshot()

    def close(self) -> None:
        """Free what feeds the run, engines and gallery."""
        self._release()
        self._backend.close()
        for observer in self._observers:
            observer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What a front end adds.

    @abstractmethod
    def _release(self) -> None:
        """Free what is the front end's own."""

    @abstractmethod
    def _attend(self) -> None:
        """See to what cannot wait; called at every turn of the loop."""

    @abstractmethod
    def _inspect(self) -> None:
        """See to the rest: watchdogs and counters; called once a second."""

    @abstractmethod
    def _change_cameras(self, before: Config, changes: Changes, /) -> None:
        """Bring the cameras from the configuration before to `config`; the backend has it already."""

    # What it builds on.

    def _greet(self, cameras: Sequence[str]) -> None:
        """The first event."""
        self._emit(
            RunStarted(
                time_ns=time.time_ns(),
                run=self.run_id,
                version=__version__,
                cameras=tuple(cameras),
                models=self._maker.models,
            )
        )

    def _keep_house(self) -> None:
        """What is due between batches: configuration file and gallery once a second."""
        self._attend()
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        self._due_s = now_s + HOUSEKEEPING_S
        self._inspect()
        try:
            self._follow_file()
            if self._backend.refresh():
                log.info("gallery read again")
        except GaitstreamError as error:  # what runs goes on as it is
            log.error("%s", error)

    def _follow_file(self) -> None:
        polled = self._watcher.poll() if self._watcher is not None else None
        if polled is None:
            return
        before, (self.config, changes) = self.config, polled
        log.info("configuration changed: %s", changes)
        self._backend.adjust(self.config)
        self._change_cameras(before, changes)

    def _tell_state(
        self, change: StateChange, size: tuple[int, int] | None, fps: float | None, cause: str = ""
    ) -> None:
        """A camera came or went; arguments as for `EventMaker.camera`."""
        log.info("camera %s: %s", change.camera, f"{change.state.value} {change.reason}".rstrip())
        event = self._maker.camera(change, size, fps, cause)
        if event is not None:
            self._emit(event)

    def _say_goodbye(self, failed: dict[str, str]) -> Outcome:
        """End all tracks, then the last event."""
        cause = self._cause or "end_of_stream"
        self._backend.end_all(cause)
        cameras = self.stats.now.cameras.values()
        outcome = Outcome(
            cause=cause,
            frames=sum(camera.analysed for camera in cameras),
            tracks=sum(camera.tracks_ended for camera in cameras),
            outcomes=sum((Counter(camera.outcomes) for camera in cameras), Counter()),
            failed=failed,
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

"""What a runner is: something that runs a site from its first camera to its last event.

Three come with the package: the pipeline in this process (`pipeline.runner`), the same in several processes
(`pipeline.workers`), and the pipeline behind DeepStream (`deepstream.runner`). They share no base class: each
is composed of the parts it needs. `gaitstream.runners` finds them, and others', by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from gaitstream.config.places import WorkerPlace
from gaitstream.config.schema import Config
from gaitstream.events import Event
from gaitstream.events.publishing import Publishing
from gaitstream.pipeline.observe import Observer
from gaitstream.telemetry.stats import Snapshot

IDLE_S = 0.2
"""Longest sleep of a run's loop: signals, reloads and ended cameras are looked at this often."""

FrontEnd = Literal["auto", "native", "deepstream"]


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


class Runner(Protocol):
    """Runs a site once. Made and closed in one thread; `stop` and `snapshot` may come from any."""

    def run(self) -> Outcome:
        """Run until every file has ended or `stop` is called; then end all tracks.

        Raises:
            GaitstreamError: it could not begin.
        """

    def stop(self, cause: str = "shutdown") -> None:
        """Ask the run to end soon; also from a signal handler. The first cause counts."""

    def snapshot(self) -> Snapshot:
        """The counters now."""

    def close(self) -> None:
        """Free everything that was opened; allowed before, after and without `run`."""


class Roster(Protocol):
    """Decides while a pipeline runs which cameras it runs; called by the pipeline's thread."""

    def runs(self, camera: str) -> bool:
        """Whether the pipeline has this camera now."""

    def poll(self) -> tuple[Sequence[str], Sequence[str]]:
        """Cameras to give up, and cameras to take; each is repeated until `left` or `entered` is told."""

    def left(self, camera: str) -> None:
        """A camera was given up; its last event is out."""

    def entered(self, camera: str) -> bool:
        """A camera is about to be read; False when that is not wanted any more."""

    def mark(self, event: Event) -> Event | None:
        """The event with what says who may speak of its camera; None where the pipeline may not any more."""


@dataclass(frozen=True)
class RunOptions:
    """What the command line adds to the configuration.

    Attributes:
        config: path of cams.yaml.
        runner: name of a runner; `auto` asks each whether the other options are meant for it.
        realtime: pace files by their timestamps.
        workers: processes the cameras are shared out to.
        save_video: folder for annotated video.
        save_tracklets: folder for pictures of each track with its decision.
        json_logs: log lines as JSON.
        table: draw the live table; None when standard output is a terminal.
        metrics_port: overrides `metrics.port`.
        verbose: also what a developer wants to know.
        frontend: `native`, `deepstream`, or `auto`: DeepStream where it is installed.
        view: DeepStream's annotated pictures.
        insecure: publish to other machines without keys.
        observe: makes further hooks of a run, in the process that decides: functions of a module, which
            travel to workers by name.
        fleet: the worker's place in a fleet, which then says what runs.
    """

    config: Path
    runner: str = "auto"
    realtime: bool = False
    workers: int = 1
    save_video: Path | None = None
    save_tracklets: Path | None = None
    json_logs: bool = False
    table: bool | None = None
    metrics_port: int | None = None
    verbose: bool = False
    frontend: FrontEnd = "auto"
    view: bool = False
    insecure: bool = False
    observe: tuple[Callable[[RunOptions, Config], Sequence[Observer]], ...] = ()
    fleet: WorkerPlace | None = None


@dataclass(frozen=True)
class RunnerSpec:
    """One kind of runner, as it is registered.

    Attributes:
        suits: whether `auto` takes it for these options and this configuration; raises GaitstreamError for
            what was asked for and cannot be had.
        open: makes one that has not begun; its events go to the publisher, which the caller closes after it.
    """

    suits: Callable[[RunOptions, Config], bool]
    open: Callable[[RunOptions, Config, Publishing], Runner]

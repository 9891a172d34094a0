"""Cameras shared out to worker processes; one publisher, one journal, one table.

Each worker runs a `Pipeline` of its own and hands encoded events and counters to the parent over a pipe. An
event is safe once it is in the pipe: the parent drains what a worker left when it dies, then starts another.
A worker stays when its cameras have ended or were taken out of the file; the parent ends them all together.
"""

from __future__ import annotations

import logging
import multiprocessing
import queue
import secrets
import signal
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Self

import msgspec

from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.errors import GaitstreamError
from gaitstream.events import CameraOffline, Event, encode
from gaitstream.events.publishing import Publishing
from gaitstream.gallery.sightings import Sighting
from gaitstream.pipeline.backlog import EventBacklog
from gaitstream.pipeline.base import IDLE_S, Outcome, RunnerSpec, RunOptions
from gaitstream.pipeline.known import start_keeper
from gaitstream.pipeline.runner import Pipeline
from gaitstream.pipeline.saving import make_observers
from gaitstream.pipeline.session import StopRequest
from gaitstream.pipeline.source.backoff import Backoff
from gaitstream.pipeline.visits import open_desk
from gaitstream.telemetry.logs import start_logging
from gaitstream.telemetry.stats import Snapshot, decode_snapshot, encode_snapshot, rss_bytes

log = logging.getLogger("gaitstream.run")

IDLE_REPORT_S = 0.1
"""How often a worker looks whether it has anything left to do."""
REPORT_S = 0.5
"""How often it hands its counters over."""
PAUSES_S = (1.0, 30.0)
"""The first pause before a worker that died is started again, and the longest."""
HEALTHY_S = 30.0
"""A worker that ran for this long starts the pauses afresh."""
JOIN_S = 5.0
"""How long a worker may take to exit once it has said its last word."""


class WorkerOutcome(msgspec.Struct, frozen=True):
    """How a worker ended, as it travels."""

    cause: str
    frames: int
    tracks: int
    outcomes: dict[str, int]
    failed: dict[str, str]


@dataclass(frozen=True)
class CameraShare:
    """Which cameras are a worker's: those given out at the start, and new ones by a hash of their id.

    Attributes:
        owners: worker by camera, at the start.
        index: of this worker.
        count: of workers.
    """

    owners: dict[str, int]
    index: int
    count: int

    def __call__(self, camera: str) -> bool:
        """Whether a camera is this worker's."""
        return self.owners.get(camera, zlib.crc32(camera.encode()) % self.count) == self.index


class WorkerLostError(GaitstreamError):
    """A worker process could not be started."""


@dataclass
class _Worker:
    """The parent's view of one worker, and of those that came before it in its place."""

    shard: CameraShare
    process: BaseProcess
    pipe: Connection
    started_s: float
    backoff: Backoff
    generation: int = 0
    ready: bool = False
    idle: bool = False
    """Its cameras have ended, or it has none; a change of the file may give it others."""
    ended: WorkerOutcome | None = None
    snapshot: Snapshot = field(default_factory=Snapshot)
    error: GaitstreamError | None = None
    due_s: float | None = None
    """When another is to be started in its place; None while it runs or is done."""


class WorkerProcesses:
    """Runs the cameras of a configuration in several processes.

    Args:
        options: of the command line.
        config: what to run.
        publisher: where all events go.
    """

    def __init__(self, options: RunOptions, config: Config, publisher: Publishing) -> None:
        self._options = options
        self._config = config
        self._backlog: EventBacklog[tuple[str, bytes]] = EventBacklog(
            lambda item: publisher.publish_payload(*item)
        )
        self._run = secrets.token_hex(4)
        enabled = [camera.id for camera in config.cameras if camera.enabled]
        self._count = max(1, min(options.workers, len(enabled)))
        self._owners = {camera: index % self._count for index, camera in enumerate(enabled)}
        self._workers: dict[int, _Worker] = {}
        self._gone: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._stopping = StopRequest()
        self._started_s = time.monotonic()
        self._keeper = start_keeper(config, config.models.recognizers)
        feed = self._keeper.feed.path if self._keeper is not None else None
        self._desk = open_desk(config, None, feed, self._run)

    def run(self) -> Outcome:
        """Start the workers, start again those that die, and wait until all have ended.

        Raises:
            GaitstreamError: a worker could not begin.
        """
        try:
            done = self._wait_for_all()
        except BaseException as error:
            self._break_off("interrupt" if isinstance(error, KeyboardInterrupt) else "error")
            raise
        self._publish(self._desk.close() if self._desk is not None else ())
        self._backlog.close()
        return self._sum_up(list(done.values()))

    def _wait_for_all(self) -> dict[int, WorkerOutcome]:
        """Start the workers, and those in the place of others, until each has ended; how they did."""
        for index in range(self._count):
            self._start(index)
        done: dict[int, WorkerOutcome] = {}
        while len(done) < self._count:
            self._backlog.retry()
            self._publish(self._desk.events() if self._desk is not None else ())
            self._start_due(done)
            if not self._stopping and all(worker.idle for worker in self._workers.values()):
                self.stop("end_of_stream")
            try:
                index = self._gone.get(timeout=IDLE_S)
            except queue.Empty:
                continue
            outcome = self._take_leave(index)
            if outcome is not None:
                done[index] = outcome
        return done

    def _break_off(self, cause: str) -> None:
        """After an exception: let those that run end their tracks, and hear them out."""
        self.stop(cause)
        running = {i for i, one in self._workers.items() if one.ready and one.process.is_alive()}
        deadline_s = time.monotonic() + JOIN_S
        while running and (left_s := deadline_s - time.monotonic()) > 0:
            try:
                running.discard(self._gone.get(timeout=left_s))
            except queue.Empty:
                break
        self._backlog.close()

    def stop(self, cause: str = "shutdown") -> None:
        """Ask all workers to end soon; from any thread, also from a signal handler."""
        self._stopping.ask(cause)
        for worker in list(self._workers.values()):
            self._ask_to_stop(worker)

    def snapshot(self) -> Snapshot:
        """The counters of all workers together."""
        whole = Snapshot(time_ns=time.time_ns(), uptime_s=time.monotonic() - self._started_s)
        whole.rss_bytes = rss_bytes()
        whole.events_waiting, whole.events_lost = self._backlog.waiting, self._backlog.lost
        for worker in list(self._workers.values()):
            whole.merge(worker.snapshot)
        return whole

    def close(self) -> None:
        """End whatever still runs."""
        for worker in self._workers.values():
            if worker.process.is_alive():
                worker.process.kill()  # it was not asked to end, so nothing of it is waited for
                worker.process.join()
        if self._desk is not None:
            self._desk.close()
        if self._keeper is not None:
            self._keeper.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Workers that begin and end.

    def _start(self, index: int) -> None:
        """Start a worker, or another one in the place of one that died."""
        before = self._workers.get(index)
        generation = 0 if before is None else before.generation + 1
        context = multiprocessing.get_context("spawn")  # threads and engines do not survive a fork
        ours, theirs = context.Pipe()
        shard = CameraShare(self._owners, index, self._count)
        run = f"{self._run}.{index}" + (f".{generation}" if generation else "")
        process = context.Process(
            target=work,
            args=(self._options, self._config, shard, run, theirs, self._keeper and self._keeper.feed.path),
            name=f"gaitstream-worker-{index}",
            daemon=True,
        )
        process.start()
        theirs.close()
        backoff = Backoff(*PAUSES_S) if before is None else before.backoff
        worker = _Worker(shard, process, ours, time.monotonic(), backoff, generation)
        self._workers[index] = worker
        threading.Thread(target=self._listen, args=(index, worker), daemon=True).start()
        if self._stopping:  # asked while it was being started
            self._ask_to_stop(worker)

    def _start_due(self, done: dict[int, WorkerOutcome]) -> None:
        """Start again what died and has waited long enough."""
        for index, worker in list(self._workers.items()):
            if worker.due_s is None:
                continue
            if self._stopping:
                worker.due_s = None
                done[index] = self._nothing()
            elif time.monotonic() >= worker.due_s:
                self._refresh_config()
                self._start(index)

    def _refresh_config(self) -> None:
        """What the other workers run with: the file as it is now, or as it was when it was last right."""
        try:
            self._config = load_config(self._options.config)
        except GaitstreamError as error:
            log.error("%s; the worker is started with the configuration from before", error)

    def _take_leave(self, index: int) -> WorkerOutcome | None:
        """A worker's pipe is closed: how it ended, or None when another is to take its place."""
        worker = self._workers[index]
        worker.process.join(JOIN_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.pipe.close()
        if worker.ended is not None:
            return worker.ended
        if self._stopping:
            return self._nothing()
        if worker.error is not None and worker.generation == 0:
            raise worker.error
        self._plan_restart(index, worker)
        return None

    def _plan_restart(self, index: int, worker: _Worker) -> None:
        """A worker died: say so for its cameras; another one is due after a pause."""
        if worker.ready and time.monotonic() - worker.started_s > HEALTHY_S:
            worker.backoff.reset()
        pause_s = worker.backoff.next()
        reason = worker.error or f"exit code {worker.process.exitcode}"
        log.error("worker %d died (%s); starting another in %.1f s", index, reason, pause_s)
        for camera in (camera for camera, owner in self._owners.items() if owner == index):
            event = CameraOffline(
                time_ns=time.time_ns(), run=self._run, camera=camera, cause="error",
                detail="its worker process died and is started again",
            )  # fmt: skip
            self._backlog.put((event.topic, encode(event)))
        worker.due_s = time.monotonic() + pause_s

    def _nothing(self) -> WorkerOutcome:
        return WorkerOutcome(self._stopping.cause, 0, 0, {}, {})

    def _sum_up(self, done: list[WorkerOutcome]) -> Outcome:
        return Outcome(
            cause=self._stopping.cause or done[-1].cause,
            frames=sum(ended.frames for ended in done),
            tracks=sum(ended.tracks for ended in done),
            outcomes=sum((Counter(ended.outcomes) for ended in done), Counter()),
            failed={camera: why for ended in done for camera, why in ended.failed.items()},
        )

    # What they say and hear.

    def _ask_to_stop(self, worker: _Worker) -> None:
        try:
            worker.pipe.send_bytes(self._stopping.cause.encode())
        except OSError:
            log.debug("worker %d has ended already", worker.shard.index)

    def _listen(self, index: int, worker: _Worker) -> None:
        """Take what a worker sends until its end of the pipe is closed; runs in a thread per worker."""
        try:
            while True:
                kind, _, body = worker.pipe.recv_bytes().partition(b"\0")
                self._take(worker, kind, body)
        except (EOFError, OSError):
            log.debug("worker %d has closed its pipe", index)
        except Exception:
            log.exception("what worker %d says cannot be understood; it is ended", index)
            worker.process.kill()
        finally:
            self._gone.put(index)

    def _publish(self, events: Iterable[Event]) -> None:
        for event in events:
            self._backlog.put((event.topic, encode(event)))

    def _take(self, worker: _Worker, kind: bytes, body: bytes) -> None:
        if kind == b"event":
            topic, _, payload = body.partition(b"\0")
            self._backlog.put((topic.decode(), payload))
        elif kind == b"visit":
            if self._desk is not None:
                self._desk.put(msgspec.msgpack.decode(body, type=Sighting))
        elif kind == b"stats":
            worker.snapshot = decode_snapshot(body)
        elif kind == b"ready":
            worker.ready = True
        elif kind in (b"idle", b"busy"):
            worker.idle = kind == b"idle"
        elif kind == b"ended":
            worker.ended = msgspec.msgpack.decode(body, type=WorkerOutcome)
        elif kind == b"error":
            code, _, text = body.decode().partition("\0")
            worker.error = WorkerLostError(text)
            worker.error.exit_code = int(code)


class _PipeSink:
    """Events and walks of a worker on their way to the parent; used by two threads."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._guard = threading.Lock()

    def publish(self, event: Event) -> None:
        """Hand an event over."""
        self.send(b"event", event.topic.encode() + b"\0" + encode(event))

    def send(self, kind: bytes, body: bytes) -> None:
        """Hand anything over; a parent that is gone is noticed by the listening thread."""
        with self._guard:
            try:
                self._pipe.send_bytes(kind + b"\0" + body)
            except OSError:
                log.debug("the parent process is gone")


class _PipeVisits:
    """Walks of a worker, which the parent notes; see `VisitSink`."""

    def __init__(self, sink: _PipeSink) -> None:
        self._sink = sink

    def put(self, sighting: Sighting) -> None:
        """Hand a walk over."""
        self._sink.send(b"visit", msgspec.msgpack.encode(sighting))

    def events(self) -> list[Event]:
        """None: the parent publishes them."""
        return []

    def close(self) -> list[Event]:
        """Nothing is left here."""
        return []


def work(
    options: RunOptions,
    config: Config,
    shard: CameraShare,
    run: str,
    pipe: Connection,
    gallery_feed: str | None,
) -> None:
    """A worker process: one pipeline over its share of the cameras."""
    # Ctrl-C, a service manager's SIGTERM and a closed terminal reach the whole group: the parent decides.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    start_logging(table=bool(options.table), as_json=options.json_logs, verbose=options.verbose)
    sink = _PipeSink(pipe)
    try:
        pipeline = Pipeline(
            config,
            sink=sink,
            observers=make_observers(options, config),
            watch=options.config,
            stale=True,
            realtime=options.realtime,
            cameras=shard,
            linger=True,
            run=run,
            gallery_feed=gallery_feed,
            visits=_PipeVisits(sink),
        )
    except GaitstreamError as error:
        sink.send(b"error", f"{error.exit_code}\0{error}".encode())
        return
    sink.send(b"ready", b"")
    quiet = threading.Event()
    threading.Thread(target=_obey, args=(pipe, pipeline), daemon=True).start()
    threading.Thread(target=_report, args=(sink, pipeline, quiet), daemon=True).start()
    with pipeline:
        outcome = pipeline.run()
    quiet.set()
    sink.send(b"stats", encode_snapshot(pipeline.snapshot()))
    ended = WorkerOutcome(
        outcome.cause, outcome.frames, outcome.tracks, dict(outcome.outcomes), outcome.failed
    )
    sink.send(b"ended", msgspec.msgpack.encode(ended))


def _obey(pipe: Connection, pipeline: Pipeline) -> None:
    """Stop when the parent says so, or when it is gone."""
    try:
        pipeline.stop(pipe.recv_bytes().decode())
    except (EOFError, OSError):
        pipeline.stop("shutdown")


def _report(sink: _PipeSink, pipeline: Pipeline, quiet: threading.Event) -> None:
    """Hand counters over, and tell when there is nothing left to do."""
    idle, due_s = False, 0.0
    while not quiet.wait(IDLE_REPORT_S):
        if pipeline.idle != idle:
            idle = pipeline.idle
            sink.send(b"idle" if idle else b"busy", b"")
        if time.monotonic() >= due_s:
            due_s = time.monotonic() + REPORT_S
            sink.send(b"stats", encode_snapshot(pipeline.snapshot()))


WORKERS = RunnerSpec(
    suits=lambda options, _config: options.workers > 1,
    open=WorkerProcesses,
)
"""Runs a site with `--workers`."""

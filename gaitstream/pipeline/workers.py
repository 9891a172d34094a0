"""Cameras shared out to worker processes; one publisher, one journal, one table.

Each worker runs a `Pipeline` of its own and hands encoded events and counters to the parent over a pipe. An
event is safe once it is in the pipe: the parent drains what a worker left when it dies, then starts another.
"""

from __future__ import annotations

import logging
import multiprocessing
import queue
import secrets
import threading
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from gaitstream.config.schema import Config
from gaitstream.errors import GaitstreamError
from gaitstream.events import CameraOffline, Event, Publisher, encode
from gaitstream.pipeline.base import Outcome
from gaitstream.pipeline.runner import Pipeline
from gaitstream.telemetry.stats import Snapshot, decode_snapshot, encode_snapshot, rss_bytes

if TYPE_CHECKING:
    from gaitstream.pipeline.launch import Options  # which imports this module

log = logging.getLogger("gaitstream.run")

REPORT_S = 0.5
RESTART_S = 1.0
"""First wait before a worker that died is started again; it doubles up to `RESTART_MAX_S`."""
RESTART_MAX_S = 30.0


class Ended(msgspec.Struct, frozen=True):
    """A worker's outcome, as it travels."""

    cause: str
    frames: int
    tracks: int
    outcomes: dict[str, int]
    failed: dict[str, str]


@dataclass(frozen=True)
class Shard:
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
    """The parent's view of one worker."""

    shard: Shard
    process: BaseProcess
    pipe: Connection
    started_s: float
    ready: bool = False
    ended: Ended | None = None
    snapshot: Snapshot = field(default_factory=Snapshot)
    error: GaitstreamError | None = None


class Workers:
    """Runs the cameras of a configuration in several processes; used as `Pipeline` is.

    Args:
        options: of the command line.
        config: what to run.
        publisher: where all events go.
    """

    def __init__(self, options: Options, config: Config, publisher: Publisher) -> None:
        self._options = options
        self._publisher = publisher
        self._run = secrets.token_hex(4)
        enabled = [camera.id for camera in config.cameras if camera.enabled]
        self._count = max(1, min(options.workers, len(enabled)))
        self._owners = {camera: index % self._count for index, camera in enumerate(enabled)}
        self._workers: dict[int, _Worker] = {}
        self._gone: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._generation = 0
        self._stop = threading.Event()
        self._cause = ""
        self._started_s = time.monotonic()
        self._wait_s = RESTART_S

    def run(self) -> Outcome:
        """Start the workers, start again those that die, and wait until all have ended.

        Raises:
            GaitstreamError: a worker could not begin.
        """
        for index in range(self._count):
            self._start(index)
        done: dict[int, Ended] = {}
        while len(done) < self._count:
            index = self._gone.get()
            worker = self._workers[index]
            worker.process.join()
            if worker.error is not None and not worker.ready:
                raise worker.error
            if worker.ended is not None or self._stop.is_set():
                done[index] = worker.ended or Ended(self._cause, 0, 0, {}, {})
            else:
                self._restart(index)
        causes = {ended.cause for ended in done.values()}
        return Outcome(
            cause=self._cause or causes.pop(),
            frames=sum(ended.frames for ended in done.values()),
            tracks=sum(ended.tracks for ended in done.values()),
            outcomes=sum((Counter(ended.outcomes) for ended in done.values()), Counter()),
            failed={camera: why for ended in done.values() for camera, why in ended.failed.items()},
        )

    def stop(self, cause: str = "shutdown") -> None:
        """Ask all workers to end soon; from any thread, also from a signal handler."""
        self._cause = self._cause or cause
        self._stop.set()
        for worker in list(self._workers.values()):
            try:
                worker.pipe.send_bytes(self._cause.encode())
            except OSError:
                continue  # it has ended already

    def snapshot(self) -> Snapshot:
        """The counters of all workers together."""
        whole = Snapshot(time_ns=time.time_ns(), uptime_s=time.monotonic() - self._started_s)
        whole.rss_bytes = rss_bytes()
        for worker in list(self._workers.values()):
            whole.merge(worker.snapshot)
        return whole

    def close(self) -> None:
        """End whatever still runs."""
        for worker in self._workers.values():
            if worker.process.is_alive():
                worker.process.terminate()
                worker.process.join(2.0)
            if worker.process.is_alive():
                worker.process.kill()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, index: int) -> None:
        context = multiprocessing.get_context("spawn")  # threads and engines do not survive a fork
        ours, theirs = context.Pipe()
        shard = Shard(self._owners, index, self._count)
        run = f"{self._run}.{index}" + (f".{self._generation}" if self._generation else "")
        process = context.Process(
            target=work,
            args=(self._options, shard, run, theirs),
            name=f"gaitstream-worker-{index}",
            daemon=True,
        )
        process.start()
        theirs.close()
        worker = _Worker(shard, process, ours, time.monotonic())
        self._workers[index] = worker
        threading.Thread(target=self._listen, args=(index, worker), daemon=True).start()

    def _restart(self, index: int) -> None:
        """A worker died: say so for its cameras, wait, start another."""
        worker = self._workers[index]
        log.error("worker %d died (exit code %s); starting another", index, worker.process.exitcode)
        for camera, owner in self._owners.items():
            if owner == index:
                detail = "its worker process died and is started again"
                self._publisher.publish(
                    CameraOffline(
                        time_ns=time.time_ns(), run=self._run, camera=camera, cause="error", detail=detail
                    )
                )
        if time.monotonic() - worker.started_s > RESTART_MAX_S:
            self._wait_s = RESTART_S
        self._stop.wait(self._wait_s)
        self._wait_s = min(2 * self._wait_s, RESTART_MAX_S)
        self._generation += 1
        self._start(index)

    def _listen(self, index: int, worker: _Worker) -> None:
        """Take what a worker sends until its end of the pipe is closed."""
        try:
            while True:
                kind, _, body = worker.pipe.recv_bytes().partition(b"\0")
                self._take(worker, kind, body)
        except (EOFError, OSError):
            self._gone.put(index)

    def _take(self, worker: _Worker, kind: bytes, body: bytes) -> None:
        if kind == b"event":
            topic, _, payload = body.partition(b"\0")
            self._publisher.publish_payload(topic.decode(), payload)
        elif kind == b"stats":
            worker.snapshot = decode_snapshot(body)
        elif kind == b"ready":
            worker.ready = True
        elif kind == b"ended":
            worker.ended = msgspec.msgpack.decode(body, type=Ended)
        elif kind == b"error":
            code, _, text = body.decode().partition("\0")
            worker.error = WorkerLostError(text)
            worker.error.exit_code = int(code)


class _PipeSink:
    """Events of a worker on their way to the parent; used by two threads."""

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


def work(options: Options, shard: Shard, run: str, pipe: Connection) -> None:
    """A worker process: one pipeline over its share of the cameras."""
    import signal

    from gaitstream.config.reading import load_config
    from gaitstream.pipeline.launch import make_observers, start_logging

    # Ctrl-C and a service manager's SIGTERM reach the whole group: the parent decides.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    start_logging(table=bool(options.table), as_json=options.json_logs, verbose=options.verbose)
    sink = _PipeSink(pipe)
    try:
        config = load_config(options.config)
        pipeline = Pipeline(
            config,
            sink=sink,
            observers=make_observers(options, config),
            watch=Path(options.config),
            realtime=options.realtime,
            cameras=shard,
            run=run,
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
    ended = Ended(outcome.cause, outcome.frames, outcome.tracks, dict(outcome.outcomes), outcome.failed)
    sink.send(b"ended", msgspec.msgpack.encode(ended))


def _obey(pipe: Connection, pipeline: Pipeline) -> None:
    """Stop when the parent says so, or when it is gone."""
    try:
        pipeline.stop(pipe.recv_bytes().decode())
    except (EOFError, OSError):
        pipeline.stop("shutdown")


def _report(sink: _PipeSink, pipeline: Pipeline, quiet: threading.Event) -> None:
    while not quiet.wait(REPORT_S):
        sink.send(b"stats", encode_snapshot(pipeline.snapshot()))

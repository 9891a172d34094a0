"""`gaitstream run`: everything around the pipeline - signals, publisher, metrics, table, what is saved."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.deepstream.choose import FrontEnd, refuse_pictures, uses_deepstream
from gaitstream.errors import SourceError
from gaitstream.pipeline.base import Outcome
from gaitstream.pipeline.decision_log import DecisionLog
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.publish import open_publisher
from gaitstream.pipeline.runner import Pipeline
from gaitstream.pipeline.workers import Workers
from gaitstream.telemetry.display import JsonFormatter, LiveTable, summary
from gaitstream.telemetry.metrics import MetricsServer

if TYPE_CHECKING:
    from gaitstream.deepstream.runner import DeepStreamPipeline
    from gaitstream.events import Publisher

log = logging.getLogger("gaitstream.run")

INTERRUPTED = 130


@dataclass(frozen=True)
class Options:
    """What the command line adds to the configuration.

    Attributes:
        config: path of cams.yaml.
        realtime: pace files by their timestamps.
        workers: processes the cameras are shared out to.
        save_video: folder for annotated video.
        save_tracklets: folder for pictures of each track with its decision.
        json_logs: log lines as JSON.
        table: draw the live table; None when standard output is a terminal.
        metrics_port: overrides `metrics.port`.
        verbose: also what a developer wants to know.
        frontend: `native`, `deepstream`, or `auto`: DeepStream where it is installed.
        view: DeepStream's annotated RTSP stream.
    """

    config: Path
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


def launch(options: Options) -> int:
    """Run until the files have ended or a signal comes.

    Returns:
        0 when every file ended or SIGTERM asked to stop, 130 after Ctrl-C. Errors are raised; see
        `gaitstream.cli.main` for their exit codes.

    Raises:
        GaitstreamError: what is wrong with configuration, models, gallery, ports, or every single camera.
    """
    config = load_config(options.config)
    with ExitStack() as stack:
        table = sys.stdout.isatty() and not options.json_logs if options.table is None else options.table
        start_logging(table=table, as_json=options.json_logs, verbose=options.verbose)
        on_deepstream = uses_deepstream(options.frontend, config)
        publisher = stack.enter_context(open_publisher(config, options.config))
        log.info("events at %s, replay at %s", publisher.endpoint, publisher.replay)
        pipeline: Pipeline | Workers | DeepStreamPipeline
        if on_deepstream:
            pipeline = open_deepstream(options, config, publisher)
        elif options.workers > 1:
            pipeline = Workers(options, config, publisher)
        else:
            pipeline = Pipeline(
                config,
                sink=publisher,
                observers=make_observers(options, config),
                watch=options.config,
                realtime=options.realtime,
            )
        stack.enter_context(pipeline)
        stack.enter_context(signals(pipeline.stop))
        port = options.metrics_port or config.metrics.port
        if port is not None:
            server = MetricsServer(config.metrics.host, port, pipeline.snapshot)
            stack.callback(server.close)
        if table:
            stack.enter_context(live_table(pipeline))
        outcome = pipeline.run()
    for line in summary(pipeline.snapshot()):
        log.info("%s", line)
    return exit_code(outcome)


def open_deepstream(options: Options, config: Config, publisher: Publisher) -> DeepStreamPipeline:
    """The pipeline behind DeepStream.

    Raises:
        ConfigError: an option needs pictures, or a source or model cannot run on DeepStream.
    """
    from gaitstream.deepstream.progress import print_progress
    from gaitstream.deepstream.runner import DeepStreamPipeline

    refuse_pictures(options.save_video, options.save_tracklets, options.realtime, options.workers > 1)
    return DeepStreamPipeline(
        config,
        sink=publisher,
        observers=[DecisionLog()],
        watch=options.config,
        view=options.view,
        progress=print_progress(),
    )


def exit_code(outcome: Outcome) -> int:
    """The process's exit code.

    Raises:
        SourceError: nothing was analysed because no camera could be read.
    """
    if outcome.failed and not outcome.frames:
        raise SourceError("\n".join(outcome.failed.values()))
    for reason in outcome.failed.values():
        log.error("%s", reason)
    return INTERRUPTED if outcome.cause == "interrupt" else 0


def make_observers(options: Options, config: Config) -> list[Observer]:
    """The hooks the command line asked for."""
    from gaitstream.pipeline.annotate import TrackletSaver, VideoSaver

    observers: list[Observer] = [DecisionLog()]
    if options.save_video is not None:
        fps = {camera.id: camera.fps for camera in config.cameras}
        observers.append(VideoSaver(options.save_video, fps))
    if options.save_tracklets is not None:
        observers.append(TrackletSaver(options.save_tracklets))
    return observers


@contextmanager
def signals(stop: Callable[[str], None]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM asks to stop, the second one forces."""
    heard = False

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal heard
        if heard:
            os._exit(INTERRUPTED)  # the user has waited long enough; the journal is safe at any moment
        heard = True
        stop("interrupt" if number == signal.SIGINT else "shutdown")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def live_table(pipeline: Pipeline | Workers | DeepStreamPipeline) -> Iterator[None]:
    """The live table, for as long as the context lasts."""
    from rich.console import Console

    console = Console()
    table = LiveTable(console, pipeline.snapshot)
    table.start()
    try:
        yield
    finally:
        table.close()


def start_logging(*, table: bool, as_json: bool, verbose: bool) -> None:
    """Log to standard error: plain lines, JSON lines, or above the live table nothing but warnings."""
    handler = logging.StreamHandler()
    if as_json:
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    root = logging.getLogger("gaitstream")
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(logging.DEBUG if verbose else logging.WARNING if table else logging.INFO)

"""`gaitstream run`: everything around a runner - publisher, signals, metrics, table."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from types import FrameType

from rich.console import Console

from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.errors import SourceError
from gaitstream.kernels import cpu
from gaitstream.pipeline.base import Outcome, Runner, RunOptions
from gaitstream.pipeline.publish import start_publisher
from gaitstream.runners.registry import choose_runner
from gaitstream.telemetry.display import LiveTable, summary
from gaitstream.telemetry.logs import start_logging
from gaitstream.telemetry.server import PATHS, TelemetryServer

log = logging.getLogger("gaitstream.run")

INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a run to stop. SIGHUP comes when its terminal closes, and is ignored under `nohup`."""


class StopRelay:
    """Hands on who asks to stop, from before there is a runner to be asked.

    Attributes:
        cause: of the first request; empty without one.
    """

    def __init__(self) -> None:
        self.cause = ""
        self._stop: Callable[[str], None] | None = None

    def ask(self, cause: str) -> None:
        """A request; remembered until there is somebody to ask."""
        self.cause = self.cause or cause
        if self._stop is not None:
            self._stop(cause)
        else:
            log.info("stopping as soon as the models are loaded")

    def hand_to(self, stop: Callable[[str], None]) -> None:
        """There is a runner now."""
        self._stop = stop
        if self.cause:
            stop(self.cause)


def launch(options: RunOptions) -> int:
    """Run until the files have ended or a signal comes.

    Returns:
        0 when every file ended, as far as it could be read, or SIGTERM or SIGHUP asked to stop, 130 after
        Ctrl-C. Errors are raised; see
        `gaitstream.cli.main` for their exit codes.

    Raises:
        GaitstreamError: what is wrong with configuration, models, gallery, ports, or every single camera.
    """
    return run_site(options, load_config(options.config))


def run_site(options: RunOptions, config: Config) -> int:
    """`launch` for a configuration that was read already; without signals where it is not the main thread."""
    with ExitStack() as stack:
        table = sys.stdout.isatty() and not options.json_logs if options.table is None else options.table
        options = replace(options, table=table)  # workers must know too
        console = Console() if table else None
        log_output = start_logging(
            table=table, as_json=options.json_logs, verbose=options.verbose, console=console
        )
        stack.callback(log_output.close)
        if not cpu.kind().compiled:
            log.warning("%s", cpu.kind().said)
        asked = StopRelay()
        stack.enter_context(signals(asked.ask))
        spec = choose_runner(options, config)
        publisher = stack.enter_context(start_publisher(config, options.config, insecure=options.insecure))
        log.info("events at %s, replay at %s", publisher.endpoint, publisher.replay)
        runner = spec.open(options, config, publisher)
        stack.callback(runner.close)
        asked.hand_to(runner.stop)
        if asked.cause:
            return _stopped(asked.cause)
        port = config.metrics.port if options.metrics_port is None else options.metrics_port
        if port is not None:
            server = TelemetryServer(config.metrics.host, port, runner.snapshot)
            stack.callback(server.close)
            log.info("metrics and health at http://%s:%s (%s)", server.host, server.port, PATHS)
        with live_table(runner, console) if console is not None else nullcontext():
            outcome = runner.run()
        for line in summary(runner.snapshot()):
            log.info("%s", line)
        return exit_code(outcome)


def exit_code(outcome: Outcome) -> int:
    """The process's exit code.

    Raises:
        SourceError: nothing was analysed because no camera could be read.
    """
    if outcome.failed and not outcome.frames:
        raise SourceError("\n".join(outcome.failed.values()))
    for reason in outcome.failed.values():
        log.error("%s", reason)
    return _stopped(outcome.cause)


def _stopped(cause: str) -> int:
    return INTERRUPTED if cause == "interrupt" else 0


@contextmanager
def signals(stop: Callable[[str], None]) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP asks to stop; the second one of the first two forces."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python lets the main thread alone handle signals
        return
    heard = False

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal heard
        if number != signal.SIGHUP:  # which shell and kernel both send, and a service manager beside SIGTERM
            if heard:
                os._exit(INTERRUPTED)  # the user has waited long enough; the journal is safe at any moment
            heard = True
        stop("interrupt" if number == signal.SIGINT else "shutdown")

    before = {number: signal.signal(number, handle) for number in SIGNALS if not _is_nohup(number)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_nohup(number: signal.Signals) -> bool:
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


@contextmanager
def live_table(runner: Runner, console: Console) -> Iterator[None]:
    """The live table, for as long as the context lasts."""
    table = LiveTable(console, runner.snapshot)
    table.start()
    try:
        yield
    finally:
        table.close()

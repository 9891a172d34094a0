"""Where log lines go: plain lines, JSON lines, or above the live table."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

PLAIN = "%(asctime)s %(levelname)-7s %(message)s"
JOIN_S = 0.5
"""How long the last lines of others are waited for; processes that still run may hold the pipe open."""


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger, message, and the decision where there is one."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("decision", "exit_code"):
            if (value := getattr(record, name, None)) is not None:
                line[name] = value
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class ConsoleHandler(logging.Handler):
    """Prints lines on the console of a live table, which moves down for them."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        style = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}.get(record.levelname)
        print_line(self._console, self.format(record), style)


class StderrCapture:
    """Hands on, line by line, what anybody in this process or its children writes to standard error.

    Libraries in C write there without asking: a live table would be torn, a log of JSON objects broken.

    Args:
        take: called for each line, in a thread of its own.
    """

    def __init__(self, take: Callable[[str], None]) -> None:
        sys.stderr.flush()
        self._saved = os.dup(2)
        reading, writing = os.pipe()
        os.dup2(writing, 2)
        os.close(writing)
        self.stderr: IO[str] = os.fdopen(os.dup(self._saved), "w", buffering=1, errors="replace")
        """Where it would have gone."""
        self._take = take
        self._thread = threading.Thread(
            target=self._read, args=(reading,), name="gaitstream-stderr", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Let standard error be itself again."""
        sys.stderr.flush()
        os.dup2(self._saved, 2)
        os.close(self._saved)
        self._thread.join(JOIN_S)

    def _read(self, reading: int) -> None:
        with os.fdopen(reading, errors="replace") as lines:
            for line in lines:
                if line.strip():
                    self._take(line.rstrip("\n"))


class LogOutput:
    """The log of this process, until it is closed."""

    def __init__(self, handler: logging.Handler, capture: StderrCapture | None) -> None:
        self._handler = handler
        self._capture = capture

    def close(self) -> None:
        """Give standard error back."""
        if self._capture is None:
            return
        self._capture.close()
        if isinstance(self._handler, logging.StreamHandler):
            self._handler.setStream(sys.stderr)


def start_logging(*, table: bool, as_json: bool, verbose: bool, console: Console | None = None) -> LogOutput:
    """Send the log where it belongs.

    Args:
        table: a live table is drawn: of details, only what is out of the ordinary is told.
        as_json: one JSON object per line on standard error, whoever writes there.
        verbose: tell what a developer wants to know.
        console: of the table; lines go above it. None where another process draws it.
    """
    capture = None
    handler: logging.Handler = logging.StreamHandler()
    if as_json:
        capture = StderrCapture(lambda line: _pass_on(handler, line))
        handler = logging.StreamHandler(capture.stderr)
    elif console is not None and sys.stderr.isatty():
        capture = StderrCapture(lambda line: print_line(console, line))
        handler = ConsoleHandler(console)
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter(PLAIN, "%H:%M:%S"))
    ours = logging.getLogger("gaitstream")
    ours.handlers[:] = [handler]
    ours.propagate = False
    ours.setLevel(logging.DEBUG if verbose else logging.WARNING if table else logging.INFO)
    logging.getLogger("gaitstream.run").setLevel(logging.DEBUG if verbose else logging.INFO)
    if as_json:
        logging.captureWarnings(True)
        logging.getLogger().handlers[:] = [handler]
    return LogOutput(handler, capture)


def print_line(console: Console, line: str, style: str | None = None) -> None:
    """Print a line as it is, without markup; a terminal that was closed takes none."""
    from rich.text import Text

    with contextlib.suppress(OSError):
        console.print(Text(line, style=style or ""))


def json_line(message: str, *, level: str = "error", logger: str = "gaitstream", **extra: Any) -> str:
    """A line of the JSON log about something that was not logged."""
    record = logging.LogRecord(
        logger, logging.getLevelNamesMapping()[level.upper()], "", 0, "%s", (message,), None
    )
    record.__dict__.update(extra)
    return JsonFormatter().format(record)


def _pass_on(handler: logging.Handler, line: str) -> None:
    """A line somebody wrote to standard error: of a worker's log as it is, of anybody else as a record."""
    if isinstance(handler, logging.StreamHandler):
        ours = line.startswith('{"time": ') and line.endswith("}")
        handler.acquire()
        try:
            print(line if ours else json_line(line, level="warning", logger="stderr"), file=handler.stream)
        finally:
            handler.release()

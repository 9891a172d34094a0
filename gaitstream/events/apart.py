"""The publisher in a process of its own, which is started again when it dies.

ZeroMQ ends the process when it finds itself in a state it did not expect (`Assertion failed: ...`), and
who may connect can bring that about: libzmq 4.3.5 does so when a connection is reset while it does not
read from it and a PING waits in what it has read. A run is more than its sockets, so it keeps them apart:
whatever ends this process ends no camera. Nothing is lost by it, since events are in the journal before
anything is sent, and the next process goes on behind them; subscribers connect again and fetch what they
missed.

The processes speak through a pair of sockets, a request and its reply at a time. What the publisher logs
comes through a pipe, whose end tells that it has died.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Self

import msgspec

from gaitstream.errors import BusyError, EventError, JournalWriteError
from gaitstream.events.codec import decode, encode
from gaitstream.events.identifiers import EventIds
from gaitstream.events.publishing import PublisherSettings
from gaitstream.events.schema import Event, GalleryChanged

log = logging.getLogger(__name__)

BUSY_S = 5.0
"""How long a process waits for journal and ports, which that of a run that was killed may still hold."""
CLOSE_S = 8.0
ATTEMPTS = 3
"""Processes that one event may see end before it has to wait."""
OFTEN, WITHIN_S = 5, 10.0
"""Processes that end so often within this time are started again after a rest only."""
REST_S = 1.0


class Start(msgspec.Struct, frozen=True, tag=True):
    """The first message: what to open, and from which level on to tell what is logged."""

    settings: PublisherSettings
    gone: frozenset[str]
    level: int
    busy_s: float


class Publish(msgspec.Struct, frozen=True, tag=True):
    """Put an event in the journal, encoded with its id."""

    payload: bytes


class Forget(msgspec.Struct, frozen=True, tag=True):
    """People left the gallery."""

    persons: frozenset[str]


class Remember(msgspec.Struct, frozen=True, tag=True):
    """People are in it again."""

    persons: frozenset[str]


class Close(msgspec.Struct, frozen=True, tag=True):
    """Send what waits, and end."""


Request = Publish | Forget | Remember | Close


class Opened(msgspec.Struct, frozen=True, tag=True):
    """The answer to `Start`; `last_event` is the id of the journal's last event."""

    endpoint: str
    replay: str
    journal: bytes
    last_event: str


class Done(msgspec.Struct, frozen=True, tag=True):
    """The answer to a request."""


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The answer where there was an error."""

    message: str
    again: bool = False
    """It may succeed later: the journal cannot be written now."""
    full: bool = False
    busy: bool = False

    @classmethod
    def of(cls, error: EventError) -> Refused:
        """What to answer."""
        again = isinstance(error, JournalWriteError)
        full = isinstance(error, JournalWriteError) and error.full
        return cls(str(error), again, full, isinstance(error, BusyError))

    def error(self) -> EventError:
        """What to raise here."""
        if self.again:
            return JournalWriteError(self.message, full=self.full)
        return BusyError(self.message) if self.busy else EventError(self.message)


Reply = Opened | Done | Refused
_replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


@dataclass(frozen=True, slots=True)
class Place:
    """A journal of another process: see `JournalPlace`."""

    id: bytes
    directory: Path


@dataclass(slots=True)
class _Child:
    """A publisher's process."""

    process: subprocess.Popen[bytes]
    requests: Connection
    log: IO[bytes]

    def ask(self, message: Start | Request, within_s: float | None = None) -> Reply:
        """The answer; EOFError or OSError when the process has ended, or gives none in time."""
        self.requests.send_bytes(msgspec.msgpack.encode(message))
        if within_s is not None and not self.requests.poll(within_s):
            raise TimeoutError
        reply: Reply = _replies.decode(self.requests.recv_bytes())
        return reply

    def bury(self) -> int:
        """Its exit code, once it has ended."""
        self.requests.close()
        try:
            return self.process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@dataclass(slots=True)
class _Unsure:
    """An event on its way into the journal, until a process has answered that it is there."""

    event: Event
    id: str
    written: bool = False


class PublisherProcess:
    """Publishes through a process that it starts, and starts again when it has ended.

    Safe to use from several threads. Events go to the journal in the order of the calls.

    Args:
        settings: of journal and publisher.
        busy_s: how long to wait for a journal or an address that another process has.

    Attributes:
        journal: its id and folder.
        endpoint: address of the publishing socket.
        replay: address of the replay socket.

    Raises:
        EventError: as for `Journal` and `Publisher`.
    """

    def __init__(self, settings: PublisherSettings, busy_s: float = BUSY_S) -> None:
        self._settings = settings
        self._busy_s = busy_s
        self._lock = threading.RLock()
        self._gone: set[str] = set()
        self._ids = EventIds()
        self._unsure: _Unsure | None = None
        self._child: _Child | None = None
        self._ends_s: deque[float] = deque(maxlen=OFTEN)
        self._closing = threading.Event()
        self.endpoint, self.replay = settings.endpoint, settings.replay
        self.journal = Place(b"", Path(settings.directory))
        self._start()

    def publish(self, event: Event) -> None:
        """Put an event in the journal and hand it to the wire; on return it is in the journal.

        Raises:
            JournalWriteError: not now: there is no room, or the process ends again and again. The same event
                may be published later, and is in the journal once then.
            EventError: the publisher is closed, or the event cannot be written.
        """
        with self._lock:
            unsure = self._unsure if self._unsure is not None and self._unsure.event == event else None
            if unsure is None:
                unsure = _Unsure(event, event.event_id or self._ids.next(time.time_ns()))
            payload = encode(msgspec.structs.replace(event, event_id=unsure.id), "msgpack")
            self._ask(Publish(payload), unsure)
            self._unsure = None
            if isinstance(event, GalleryChanged):
                self._gone.update(event.removed)
                self._gone.difference_update(event.added)

    def publish_payload(self, topic: str, payload: bytes) -> None:  # noqa: ARG002 - the event has it
        """`publish` for an event that is encoded already.

        Raises:
            MalformedError: the payload is no event.
        """
        self.publish(decode(payload))

    def forget(self, persons: set[str]) -> None:
        """See `Publisher.forget`."""
        with self._lock:
            self._gone |= persons
            self._ask(Forget(frozenset(persons)))

    def remember(self, persons: set[str]) -> None:
        """See `Publisher.remember`."""
        with self._lock:
            self._gone -= persons
            self._ask(Remember(frozenset(persons)))

    def close(self) -> None:
        """Send what waits, and end the process; may be called twice."""
        with self._lock:
            if self._closing.is_set():
                return
            self._closing.set()
            child, self._child = self._child, None
            if child is None:
                return
            with contextlib.suppress(EOFError, OSError):
                child.ask(Close(), CLOSE_S)
            child.bury()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: Request, unsure: _Unsure | None = None) -> None:
        """Have something done, by the next process where one has ended."""
        for _ in range(ATTEMPTS):
            if self._closing.is_set():
                raise EventError("the publisher is closed")
            child = self._child if self._child is not None else self._start_again()
            if unsure is not None and unsure.written:
                return
            self._unsure = unsure or self._unsure
            try:
                reply = child.ask(request)
            except (EOFError, OSError):
                self._end(child)
                continue
            if isinstance(reply, Refused):
                raise reply.error()
            return
        raise JournalWriteError(f"the event bus's process ended {ATTEMPTS} times in a row")

    def _start(self) -> _Child:
        """Start a process and wait until it serves."""
        child = _spawn()
        settings = msgspec.structs.replace(self._settings, endpoint=self.endpoint, replay=self.replay)
        try:
            opened = child.ask(Start(settings, frozenset(self._gone), log.getEffectiveLevel(), self._busy_s))
        except (EOFError, OSError) as error:
            raise JournalWriteError(
                f"the event bus's process did not start ({_ended(child.bury())})"
            ) from error
        finally:
            threading.Thread(target=self._watch, args=(child,), name="gaitstream-bus", daemon=True).start()
        if not isinstance(opened, Opened):
            child.bury()
            raise opened.error() if isinstance(opened, Refused) else EventError("the event bus did not open")
        self.endpoint, self.replay = opened.endpoint, opened.replay
        self.journal = Place(opened.journal, self.journal.directory)
        if self._unsure is not None and opened.last_event == self._unsure.id:
            self._unsure.written = True
        self._child = child
        return child

    def _start_again(self) -> _Child:
        """The next process, unless too many have ended lately.

        Raises:
            JournalWriteError: not now.
        """
        if self._rest_s() > 0:
            raise JournalWriteError(f"the event bus's process ended {OFTEN} times within {WITHIN_S:.0f} s")
        try:
            return self._start()
        except JournalWriteError:
            self._ends_s.append(time.monotonic())
            raise
        except EventError as error:
            self._ends_s.append(time.monotonic())
            raise JournalWriteError(f"the event bus cannot be started again: {error}") from error

    def _rest_s(self) -> float:
        """How long nothing is started yet."""
        now_s = time.monotonic()
        often = len(self._ends_s) == OFTEN and now_s - self._ends_s[0] < WITHIN_S
        return self._ends_s[-1] + REST_S - now_s if often else 0.0

    def _end(self, child: _Child) -> None:
        """A process has ended."""
        self._child = None
        self._ends_s.append(time.monotonic())
        log.error(
            "the event bus's process ended (%s); the next one goes on, and no event is lost",
            _ended(child.bury()),
        )

    def _watch(self, child: _Child) -> None:
        """Log what a process logs, until it has ended; then start the next one."""
        with child.log:
            for line in child.log:
                with contextlib.suppress(msgspec.DecodeError, TypeError, ValueError):
                    level, name, message = msgspec.json.decode(line, type=tuple[int, str, str])
                    logging.getLogger(name).log(level, "%s", message)
        with self._lock:
            if self._child is not child or self._closing.is_set():
                return
            self._end(child)
        self._revive()

    def _revive(self) -> None:
        """Start the next process, unless a request does so first."""
        while not self._closing.wait(max(0.0, self._rest_s())):
            with self._lock:
                if self._child is not None or self._closing.is_set():
                    return
                try:
                    self._start_again()
                except EventError as error:
                    log.error("%s", error)
                else:
                    return
            self._closing.wait(REST_S)


def _spawn() -> _Child:
    """A process that waits for what to open."""
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(
            [
                sys.executable, "-P", "-m", "gaitstream.events.apart_process",
                str(theirs.fileno()), str(writing),
            ],
            pass_fds=(theirs.fileno(), writing),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
    except BaseException:
        ours.close()
        os.close(reading)
        raise
    finally:
        theirs.close()
        os.close(writing)
    return _Child(process, Connection(ours.detach()), os.fdopen(reading, "rb"))


def _ended(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"

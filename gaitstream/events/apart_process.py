"""The process that `PublisherProcess` starts; see `apart.py`.

    python -m gaitstream.events.apart_process REQUESTS LOG

Both are descriptors. It ends when it is asked to, or when whoever started it is gone; signals that a
terminal or a service manager sends to all processes of a run are for the run alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import sys
import time
from multiprocessing.connection import Connection

import msgspec

from gaitstream.errors import BusyError, EventError
from gaitstream.events.apart import (
    Close,
    Done,
    Forget,
    Opened,
    Publish,
    Refused,
    Remember,
    Reply,
    Request,
    Start,
)
from gaitstream.events.codec import MalformedError, decode
from gaitstream.events.journal import Journal
from gaitstream.events.publisher import Publisher

FILES = 16_384
"""Open at once, where the system allows it."""
MEMORY_BYTES = 1 << 30
"""More than clients can cost by what is bounded: beyond it this process ends, and is started again."""
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)


class _Teller(logging.Handler):
    """Writes records as lines of JSON: level, name, message."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; nobody may read any more."""
        with contextlib.suppress(OSError, ValueError):
            line = msgspec.json.encode((record.levelno, record.name, self.format(record)))
            os.write(self._descriptor, line + b"\n")


def main() -> int:
    """Serve until the end; the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _set_limits()
    requests, descriptor = Connection(int(sys.argv[1])), int(sys.argv[2])
    start = msgspec.msgpack.decode(requests.recv_bytes(), type=Start)
    ours = logging.getLogger("gaitstream")
    ours.addHandler(_Teller(descriptor))
    ours.setLevel(start.level)
    ours.propagate = False
    try:
        publisher = _open(start)
    except EventError as error:
        _tell(requests, Refused.of(error))
        return 1
    with publisher:
        journal = publisher.journal
        _tell(requests, Opened(publisher.endpoint, publisher.replay, journal.id, _last_event(journal)))
        _serve(requests, publisher)
    _tell(requests, Done())
    return 0


def _set_limits() -> None:
    """No image of this memory, which has names in it; an end to it; room for connections that say no word."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY or soft > MEMORY_BYTES:
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, hard))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _open(start: Start) -> Publisher:
    """Open the publisher, once the process of a run that was killed has let go of what it needs."""
    deadline_s = time.monotonic() + start.busy_s
    while True:
        try:
            return start.settings.open(start.gone)
        except BusyError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)


def _last_event(journal: Journal) -> str:
    records = journal.read(max(0, journal.head - 1))
    try:
        return decode(records[-1].payload).event_id if records else ""
    except MalformedError:
        return ""


def _serve(requests: Connection, publisher: Publisher) -> None:
    """Do what is asked until `Close`, or until nobody can ask any more."""
    while True:
        try:
            request = _requests.decode(requests.recv_bytes())
        except (EOFError, OSError):
            return
        if isinstance(request, Close):
            return
        try:
            _do(publisher, request)
        except EventError as error:
            _tell(requests, Refused.of(error))
        else:
            _tell(requests, Done())


def _do(publisher: Publisher, request: Request) -> None:
    match request:
        case Publish(payload):
            publisher.publish(decode(payload))
        case Forget(persons):
            publisher.forget(set(persons))
        case Remember(persons):
            publisher.remember(set(persons))


def _tell(requests: Connection, reply: Reply) -> None:
    with contextlib.suppress(OSError):  # nobody may be there any more
        requests.send_bytes(msgspec.msgpack.encode(reply))


if __name__ == "__main__":
    sys.exit(main())

"""The publisher: journal first, then the wire; a socket that replays beside it.

`publish` may be called from any thread: it returns once the event is in the journal. One thread owns the
publishing socket and forces the journal to the disk before it sends; another one owns the replay socket.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from types import TracebackType

import msgspec
import zmq

from gaitstream.errors import EventError
from gaitstream.events.codec import Stamp, Wire, decode
from gaitstream.events.journal import Journal
from gaitstream.events.replay import WAITING_REPLIES, ReplayServer
from gaitstream.events.schema import Event
from gaitstream.events.segment import Record
from gaitstream.events.wire import (
    ALL,
    BATCH_BYTES,
    BATCH_EVENTS,
    DEFAULT_ENDPOINT,
    DEFAULT_REPLAY,
    HEADS,
    MAX_REQUEST_BYTES,
    Batch,
    Heads,
)

log = logging.getLogger(__name__)

HEADS_EVERY_S = 1.0
MAX_FILTERS = 4096
"""Different topics that are remembered; beyond them single events are always sent."""
MAX_FILTER_BYTES = 256


class Publisher:
    """Publishes events on a ZeroMQ socket and answers requests for missed ones.

    Args:
        journal: where events are kept; closed with the publisher.
        endpoint: address of the publishing socket; port 0 or `*` takes a free one (see `endpoint` then).
        replay: address of the replay socket.
        wire: how events are encoded, in the journal and on the wire.
        send_buffer: messages waiting per subscriber before ZeroMQ drops them for it; it gets them by replay.

    Attributes:
        endpoint: address the publishing socket is bound to.
        replay: address the replay socket is bound to.
        published: events sent on the wire.
        unwritten: events that `publish` refused because the journal could not be written.

    Raises:
        EventError: an address is in use or not of this machine.
    """

    def __init__(
        self,
        journal: Journal,
        endpoint: str = DEFAULT_ENDPOINT,
        replay: str = DEFAULT_REPLAY,
        *,
        wire: Wire = "json",
        send_buffer: int = 1000,
    ) -> None:
        self.journal = journal
        self.published = 0
        self.unwritten = 0
        self._context = zmq.Context()
        try:
            self._pub = self._bind(zmq.XPUB, endpoint, "events.endpoint", send_buffer)
            router = self._bind(zmq.ROUTER, replay, "events.replay", WAITING_REPLIES)
        except EventError:
            self._context.destroy(linger=0)
            raise
        self.endpoint = self._pub.getsockopt_string(zmq.LAST_ENDPOINT)
        self.replay = router.getsockopt_string(zmq.LAST_ENDPOINT)
        self._router = router
        self._stamp = Stamp(journal.id.hex(), journal.epoch, wire)
        self._order = threading.Lock()
        self._waiting: deque[Record] = deque()
        self._sent = journal.head
        self._filters = Filters(self._pub)
        self._alert = Alert()
        self._stop = threading.Event()
        self._replies = ReplayServer(router, journal, lambda: self._sent)
        self._thread = threading.Thread(target=self._serve, name="gaitstream-events", daemon=True)
        self._thread.start()

    def publish(self, event: Event) -> Record:
        """Put an event in the journal and hand it to the wire.

        Returns:
            The journal's record, with the sequence number.

        Raises:
            JournalWriteError: there is no room, or the disk fails; nothing was sent, and a later event, or
                this one again, may succeed.
            EventError: the publisher is closed, or the event is larger than a megabyte.
        """
        if self._stop.is_set():
            raise EventError("the publisher is closed")
        journal = self.journal
        with self._order:  # the wire sees events in the order of their numbers
            now_ns = time.time_ns()
            payload = self._stamp(event, journal.head + 1, now_ns)
            try:
                record = journal.append(event.topic, payload, now_ns)
            except EventError:
                self.unwritten += 1
                raise
            self._waiting.append(record)
        self._alert.raise_()
        return record

    def publish_payload(self, topic: str, payload: bytes) -> Record:  # noqa: ARG002 - the event has it
        """`publish` for an event that is encoded already, as worker processes hand them over.

        Raises:
            MalformedError: the payload is no event.
        """
        return self.publish(decode(payload))

    def close(self, linger_s: float = 0.5) -> None:
        """Send what waits, close sockets and journal; may be called twice."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._alert.raise_()
        self._thread.join()
        self._replies.close()
        for socket in (self._pub, self._router):
            socket.close(linger=int(linger_s * 1000))
        self._context.term()
        self.journal.close()
        self._alert.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _bind(self, kind: int, address: str, key: str, send_buffer: int) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        socket.sndhwm = send_buffer
        socket.rcvhwm = 64
        socket.maxmsgsize = MAX_REQUEST_BYTES if kind == zmq.ROUTER else 4 * MAX_FILTER_BYTES
        socket.heartbeat_ivl = 10_000  # a client that vanished without a word costs nothing for long
        socket.heartbeat_timeout = 30_000
        if kind == zmq.ROUTER:
            socket.router_mandatory = 1  # sending says when a client does not read
        try:
            socket.bind(address.replace(":0", ":*") if address.endswith(":0") else address)
        except zmq.ZMQError as error:
            socket.close(linger=0)
            raise EventError(_bind_message(address, key, error)) from error
        return socket

    def _serve(self) -> None:
        poller = zmq.Poller()
        poller.register(self._pub, zmq.POLLIN)
        poller.register(self._alert.fd, zmq.POLLIN)
        due_s = 0.0
        while not self._stop.is_set():
            try:
                ready = dict(poller.poll(max(0, int((due_s - time.monotonic()) * 1000) + 1)))
                if self._alert.fd in ready:
                    self._alert.lower()
                if self._pub in ready:
                    self._filters.update()
                self._send_waiting()
                if time.monotonic() >= due_s:
                    due_s = time.monotonic() + HEADS_EVERY_S
                    self._send_heads()
                    self.journal.expire()
            except Exception:
                # Whatever it was, the next events must still go out.
                log.exception("an event could not be sent; subscribers fetch it from the journal")
        self._send_waiting()
        self._send_heads()

    def _send_waiting(self) -> None:
        waiting = self._waiting
        while waiting:
            self._sync()
            for _ in range(len(waiting) // BATCH_EVENTS + 1):
                batch, size = list[Record](), 0
                while waiting and len(batch) < BATCH_EVENTS and size < BATCH_BYTES:
                    batch.append(waiting.popleft())
                    size += len(batch[-1].payload)
                if batch:
                    self._send(batch)

    def _sync(self) -> None:
        try:
            self.journal.sync()
        except OSError as error:  # the events are in the journal's file: they are sent all the same
            log.error("%s: the journal could not be forced to the disk (%s)", self.journal.directory, error)

    def _send(self, batch: list[Record]) -> None:
        self._sent = batch[-1].seq
        self.published += len(batch)
        if self._filters.all:
            header = Batch(
                self.journal.id.hex(), self.journal.epoch, batch[0].seq, [record.topic for record in batch]
            )
            self._pub.send_multipart(
                [ALL, msgspec.json.encode(header), *[record.payload for record in batch]], copy=True
            )
        if self._filters.some:
            for record in batch:
                self._pub.send_multipart((record.topic.encode(), record.payload))

    def _send_heads(self) -> None:
        heads = Heads(self.journal.id.hex(), self.journal.epoch, self._sent, self.journal.first)
        self._pub.send_multipart((HEADS, msgspec.json.encode(heads)))


class Filters:
    """What the clients of the publishing socket want to hear; used by its thread alone.

    Attributes:
        all: somebody listens to `@all`.
        some: somebody listens to single events.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._singles: set[bytes] = set()
        self._full = False
        self._alls: set[bytes] = set()
        self.all = False
        self.some = False

    def update(self) -> None:
        """Take what clients say: ZeroMQ tells the first that wants a prefix, and the last that leaves it."""
        for _ in range(1000):
            try:
                message = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            kind, prefix = message[:1], message[1:]
            group = self._alls if ALL.startswith(prefix) else self._singles
            if kind == b"\1":
                self._add(group, prefix)
            elif kind == b"\0":
                group.discard(prefix)
        self.all = bool(self._alls)
        self.some = self._full or b"" in self._alls or bool(self._singles)

    def _add(self, group: set[bytes], prefix: bytes) -> None:
        if prefix.startswith(b"@") and group is self._singles:
            return  # `@heads`, sent whether anybody listens or not
        if len(group) < MAX_FILTERS:
            group.add(prefix)
        else:
            self._full = True  # from here on it is not known when nobody listens any more


class Alert:
    """Wakes the thread that polls `fd`; raising it again before it was lowered costs nothing."""

    def __init__(self) -> None:
        self.fd, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._raised = False

    def raise_(self) -> None:
        """Wake it."""
        if not self._raised:
            self._raised = True
            with contextlib.suppress(BlockingIOError):
                os.write(self._write, b"\0")

    def lower(self) -> None:
        """Before looking at what there is to do."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)
        self._raised = False

    def close(self) -> None:
        """Close both ends."""
        os.close(self.fd)
        os.close(self._write)


def _bind_message(address: str, key: str, error: zmq.ZMQError) -> str:
    if error.errno == zmq.EADDRINUSE:
        return f"{address} is in use (another gaitstream run?); stop it, or set {key} to a free port"
    return f"{key}: {address} cannot be bound ({error}); give an address of this machine, as tcp://127.0.0.1:5556"

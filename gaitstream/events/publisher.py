"""The publisher: journal first, then the wire, and a socket that replays.

`publish` may be called from any thread: it returns once the event is in the journal. One thread owns both
sockets; it forces the journal to the disk before it sends.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from types import TracebackType

import msgspec
import zmq

from gaitstream.errors import EventError
from gaitstream.events.journal import Journal
from gaitstream.events.schema import Event, encode
from gaitstream.events.segment import Record
from gaitstream.events.wire import (
    DEFAULT_ENDPOINT,
    DEFAULT_REPLAY,
    HEADS,
    REPLY_EVENTS,
    Reply,
    Request,
    pack_header,
)

HEADS_EVERY_S = 1.0


class Publisher:
    """Publishes events on a ZeroMQ PUB socket and answers requests for missed ones.

    Args:
        journal: where events are kept; closed with the publisher.
        endpoint: address of the PUB socket; port 0 or `*` takes a free one (see `endpoint` afterwards).
        replay: address of the replay socket.
        send_buffer: events waiting per subscriber before ZeroMQ drops them for it; it gets them by replay.

    Raises:
        EventError: an address is in use or not of this machine.
    """

    def __init__(
        self,
        journal: Journal,
        endpoint: str = DEFAULT_ENDPOINT,
        replay: str = DEFAULT_REPLAY,
        *,
        send_buffer: int = 10_000,
    ) -> None:
        self.journal = journal
        self._context = zmq.Context()
        try:
            self._pub = self._bind(zmq.PUB, endpoint, "events.endpoint", send_buffer)
            self._router = self._bind(zmq.ROUTER, replay, "events.replay", send_buffer)
        except EventError:
            self._context.destroy(linger=0)
            raise
        self.endpoint = self._pub.getsockopt_string(zmq.LAST_ENDPOINT)
        """Address the PUB socket is bound to."""
        self.replay = self._router.getsockopt_string(zmq.LAST_ENDPOINT)
        """Address the replay socket is bound to."""
        self.published = 0
        """Events sent on the wire."""
        self._waiting: queue.SimpleQueue[Record] = queue.SimpleQueue()
        self._order = threading.Lock()
        self._failure: OSError | None = None
        self._wake_r, self._wake_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="gaitstream-events", daemon=True)
        self._thread.start()

    def publish(self, event: Event) -> Record:
        """Put an event in the journal and hand it to the wire.

        Returns:
            The journal's record, with the sequence number.

        Raises:
            EventError: the journal cannot be written; nothing was sent.
        """
        return self.publish_payload(event.topic, encode(event))

    def publish_payload(self, topic: str, payload: bytes) -> Record:
        """`publish` for an event that is encoded already, as worker processes hand them over."""
        if self._failure is not None or self._stop.is_set():
            raise EventError(f"the publisher is closed ({self._failure or 'close was called'})")
        with self._order:  # the wire sees a topic's events in the order of their numbers
            record = self.journal.append(topic, payload)
            self._waiting.put(record)
        self._wake()
        return record

    def close(self, linger_s: float = 0.5) -> None:
        """Send what waits, close sockets and journal; may be called twice."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._wake()
        self._thread.join()
        for socket in (self._pub, self._router):
            socket.close(linger=int(linger_s * 1000))
        self._context.term()
        self.journal.close()
        os.close(self._wake_r)
        os.close(self._wake_w)

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _bind(self, kind: int, address: str, key: str, send_buffer: int) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        socket.sndhwm = send_buffer
        try:
            socket.bind(address.replace(":0", ":*") if address.endswith(":0") else address)
        except zmq.ZMQError as error:
            socket.close(linger=0)
            raise EventError(_bind_message(address, key, error)) from error
        return socket

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # a full pipe is reason enough to wake
            os.write(self._wake_w, b"\0")

    def _serve(self) -> None:
        try:
            self._loop()
        except OSError as error:  # the disk under the journal failed: `publish` says so from now on
            self._failure = error

    def _loop(self) -> None:
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._wake_r, zmq.POLLIN)
        due = time.monotonic()
        while not self._stop.is_set():
            ready = dict(poller.poll(max(0, int((due - time.monotonic()) * 1000))))
            if self._wake_r in ready:
                os.read(self._wake_r, 65536)
            self._send_waiting()
            if self._router in ready:
                self._answer()
            if time.monotonic() >= due:
                self._send_heads()
                due = time.monotonic() + HEADS_EVERY_S
        self._send_waiting()
        self._send_heads()

    def _send_waiting(self) -> None:
        records = []
        while not self._waiting.empty():
            records.append(self._waiting.get())
        if not records:
            return
        self.journal.sync()
        for record in records:
            header = pack_header(self.journal.id, record.seq)
            self._pub.send_multipart((record.topic.encode(), header, record.payload), copy=True)
        self.published += len(records)

    def _send_heads(self) -> None:
        heads = msgspec.json.encode(self.journal.heads())
        self._pub.send_multipart((HEADS, pack_header(self.journal.id, 0), heads))

    def _answer(self) -> None:
        identity, *_, body = self._router.recv_multipart()
        try:
            request = msgspec.json.decode(body, type=Request)
        except msgspec.DecodeError:
            return  # not of this bus: a reply would only confuse whoever it is
        events: list[tuple[str, int, msgspec.Raw]] = []
        for topic, after in request.after.items():
            limit = max(0, min(request.limit, REPLY_EVENTS) - len(events))
            found = self.journal.read(topic, after, limit)
            events += [(record.topic, record.seq, msgspec.Raw(record.payload)) for record in found]
        self.journal.sync()  # a replay must not tell what a power failure could still take back
        reply = Reply(self.journal.id.hex(), self.journal.heads(), self.journal.firsts(), events)
        self._router.send_multipart((identity, msgspec.json.encode(reply)))


def _bind_message(address: str, key: str, error: zmq.ZMQError) -> str:
    if error.errno == zmq.EADDRINUSE:
        return f"{address} is in use (another gaitstream run?); stop it, or set {key} to a free port"
    return f"{key}: {address} cannot be bound ({error}); give an address of this machine, as tcp://127.0.0.1:5556"

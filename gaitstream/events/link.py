"""A subscriber's connection to one publisher: two sockets, and the numbers that put events in order."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import attrgetter

import msgspec
import zmq

from gaitstream.addresses import DEFAULT_ENDPOINT
from gaitstream.errors import EventError
from gaitstream.events.connections import Connection, bytes_taken, connection_of, next_event
from gaitstream.events.ordering import Ordering, Ready
from gaitstream.events.wire import (
    ALL,
    HEADS,
    MAX_CREDIT,
    NO_SUCH_REQUEST,
    EventBatch,
    Heads,
    Reply,
    Request,
    check_port,
)

ASK_AGAIN_S = 1.0
"""A request is repeated when nothing was heard for this long."""
MERGE_S = 3.0
"""How long the events of other publishers wait for this one's older events."""
RECONNECT_S = 4.0
"""A socket that heard nothing for so long is connected anew: where it was refused, ZeroMQ gives up."""
MAX_QUEUED = 20_000
"""Events waiting for the user; beyond this nothing more is read from the sockets."""
MAX_QUEUED_BYTES = 64 * 1024 * 1024
"""And so much of them."""
READ_AT_ONCE = 1000
"""Messages of a socket read before the user gets a turn, however fast more come."""
_MAX_MESSAGE_BYTES = 8 * 1024 * 1024
MOST_UNFINISHED_BYTES = 2 * _MAX_MESSAGE_BYTES
"""That may come before a message is whole: its head and its events."""
LOOK_S = 0.1
"""Between looks at what came and is no message yet."""

_batches = msgspec.json.Decoder(EventBatch)
_payload = attrgetter("payload")
_heads = msgspec.json.Decoder(Heads)
_replies = msgspec.json.Decoder(Reply)


class _Flow:
    """What comes over a connected socket, whole messages or not.

    Args:
        socket: before it connects.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._monitor = socket.get_monitor_socket(zmq.Event.CONNECTED)
        self._connection: Connection | None = None
        self._whole = 0

    def unfinished(self, *, heard: bool) -> int:
        """Bytes since the last message, when all that can be read was read.

        Args:
            heard: whether there was a message since the last call.
        """
        while True:
            try:
                _, descriptor = next_event(self._monitor, zmq.NOBLOCK)
            except zmq.Again:
                break
            self._connection, self._whole = connection_of(descriptor), 0
        taken = None if self._connection is None else bytes_taken(self._connection)
        if taken is None or heard:
            self._whole = taken or 0
            return 0
        return taken - self._whole

    def close(self) -> None:
        """Before its socket is closed."""
        self._monitor.close(linger=0)


class Link:
    """One publisher.

    Args:
        context: of ZeroMQ.
        endpoint: its publishing address.
        replay: its replay address.
        ordering: what is wanted, and where to begin.
        malformed: called for messages that are none of this bus.
        refused: called when the publisher refuses a request, once for each cause.
        prepare: sets options of a socket before it connects.
        journal: id of the only journal whose events count; empty takes whichever answers.

    Attributes:
        ready: events that may be delivered, oldest first.
        queued_bytes: of their payloads; whoever takes one out takes its bytes off.
        ordering: numbers.

    Raises:
        EventError: these are no addresses.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        replay: str,
        ordering: Ordering,
        malformed: Callable[[str], None],
        refused: Callable[[str], None],
        prepare: Callable[[zmq.Socket[bytes]], None] = lambda _: None,
        journal: str = "",
    ) -> None:
        self.ordering = ordering
        self._journal = journal
        self.ready: deque[Ready] = deque()
        self.queued_bytes = 0
        self.endpoint, self.replay = endpoint, replay
        self._malformed = malformed
        self._refused = refused
        self._refusal = ""
        self.sub: zmq.Socket[bytes] = context.socket(zmq.SUB)
        self.dealer: zmq.Socket[bytes] = context.socket(zmq.DEALER)
        self.sub.rcvhwm = 1000
        self.dealer.rcvhwm = 4 * MAX_CREDIT  # more answers are never on their way
        self.dealer.setsockopt(zmq.IMMEDIATE, 1)  # a request waits here, not in a queue to nobody
        self._flows: dict[zmq.Socket[bytes], _Flow] = {}
        self._look_s = 0.0
        try:
            for socket, address in ((self.sub, endpoint), (self.dealer, replay)):
                socket.heartbeat_ivl = 5_000  # a machine that vanished without a word is noticed
                socket.heartbeat_timeout = 15_000
                socket.linger = 0
                socket.maxmsgsize = _MAX_MESSAGE_BYTES
                self._flows[socket] = _Flow(socket)
                prepare(socket)
                check_port(address)
                socket.connect(address)
        except EventError:
            self.close()
            raise
        except zmq.ZMQError as error:
            self.close()
            raise EventError(
                f"{endpoint} / {replay} cannot be connected ({error}); give addresses as {DEFAULT_ENDPOINT}"
            ) from error
        self.sub.subscribe(ALL)
        self.sub.subscribe(HEADS)
        self._request = 0
        self._asking = False
        self._owed = 0
        self._heard_s = -ASK_AGAIN_S
        self._made_s = time.monotonic()
        self._alive_s = dict.fromkeys((self.sub, self.dealer), time.monotonic())

    @property
    def catching_up(self) -> bool:
        """Whether older events may still come: it was just connected, or answered lately."""
        if self.ordering.greeted:
            return self._asking and time.monotonic() - self._heard_s < MERGE_S
        return time.monotonic() - self._made_s < MERGE_S

    def take(self) -> None:
        """Read what is there, as much as there is room for, and ask for what is missing."""
        for take in (self._take_reply, self._take_live):
            for _ in range(READ_AT_ONCE):
                if self.paused or not take():
                    break
        if self.paused:
            return
        self._end_endless()
        self._reconnect(self.sub, self.endpoint)
        if not self.ordering.behind:
            self._asking = False
        elif not self._asking or time.monotonic() - self._heard_s > ASK_AGAIN_S:
            self._ask()
        elif self._owed and len(self.ready) < MAX_QUEUED // 2 and self.queued_bytes < MAX_QUEUED_BYTES // 2:
            self._grant()

    @property
    def paused(self) -> bool:
        """Whether the user is to take events first."""
        return len(self.ready) >= MAX_QUEUED or self.queued_bytes >= MAX_QUEUED_BYTES

    def _queue(self, ready: list[Ready]) -> None:
        self.ready += ready
        self.queued_bytes += sum(map(len, map(_payload, ready)))

    def close(self) -> None:
        """Close both sockets."""
        for socket in (self.sub, self.dealer):
            flow = self._flows.pop(socket, None)
            if flow is not None:
                socket.disable_monitor()
                flow.close()
            socket.close(linger=0)

    def _end_endless(self) -> None:
        """Connect a socket anew where the parts of a message never end: ZeroMQ keeps all of them."""
        before_s, now_s = self._look_s, time.monotonic()
        if now_s - before_s < LOOK_S:
            return
        self._look_s = now_s
        for socket, address in ((self.sub, self.endpoint), (self.dealer, self.replay)):
            heard = self._alive_s[socket] >= before_s
            if self._flows[socket].unfinished(heard=heard) > MOST_UNFINISHED_BYTES:
                self._connect_anew(socket, address)
                self._malformed(f"{address}: a message without end")

    def _reconnect(self, socket: zmq.Socket[bytes], address: str) -> None:
        if time.monotonic() - self._alive_s[socket] > RECONNECT_S:
            self._connect_anew(socket, address)

    def _connect_anew(self, socket: zmq.Socket[bytes], address: str) -> None:
        self._alive_s[socket] = time.monotonic()
        with contextlib.suppress(zmq.ZMQError):
            socket.disconnect(address)
        socket.connect(address)

    def _ask(self) -> None:
        self._reconnect(self.dealer, self.replay)
        self._request += 1
        self._owed = 0
        if self._send(self.ordering.request(self._request, MAX_CREDIT // 2)):
            if not self._asking:
                self._alive_s[self.dealer] = time.monotonic()
            self._asking = True
            self._heard_s = time.monotonic()

    def _grant(self) -> None:
        if self._send(Request(id=self._request, grant=self._owed)):
            self._owed = 0

    def _send(self, request: Request) -> bool:
        try:
            self.dealer.send(msgspec.json.encode(request), zmq.NOBLOCK)
        except zmq.Again:
            return False  # not connected
        return True

    def _take_live(self) -> bool:
        try:
            parts = self.sub.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return False
        self._alive_s[self.sub] = time.monotonic()
        try:
            if parts[0] == HEADS:
                heads = _heads.decode(parts[-1])
                if self._is_strange(heads.publisher):
                    return True
                self.ordering.heads(heads.publisher, heads.epoch, heads.seq)
                return True
            batch = _batches.decode(parts[1])
            payloads = split_batch(batch, parts[2])
        except (ValueError, IndexError, RecursionError) as error:
            self._malformed(f"{self.endpoint}: a message that is none of this bus ({error})")
            return True
        if not self._is_strange(batch.publisher):
            self._queue(self.ordering.live(batch, payloads))
        return True

    def _is_strange(self, publisher: str) -> bool:
        """Whether somebody else has this address now, as where ports are given anew after a restart."""
        return bool(self._journal) and publisher != self._journal

    def _take_reply(self) -> bool:
        try:
            parts = self.dealer.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return False
        self._alive_s[self.dealer] = time.monotonic()
        try:
            reply = _replies.decode(parts[0])
            payloads = split(reply.sizes, parts[1]) if len(parts) > 1 else []
            if not len(reply.seqs) == len(reply.topics) == len(reply.times) == len(payloads):
                raise ValueError("numbers and payloads do not fit")
        except (ValueError, RecursionError) as error:
            self._malformed(f"{self.replay}: an answer that is none of this bus ({error})")
            return True
        if reply.error:
            self._take_error(reply)
            return True
        if reply.id != self._request or self._is_strange(reply.publisher):
            return True  # to a request that was given up, or from somebody else
        self._heard_s, self._refusal = time.monotonic(), ""
        if self.ready and self.ordering.publisher not in ("", reply.publisher):
            self._request += 1  # asked again when what the journal before this one brought is delivered
            return True
        self._owed += 1
        self._queue(self.ordering.replayed(reply, payloads))
        if reply.done or self.ordering.again:
            self._asking = False
        return True

    def _take_error(self, reply: Reply) -> None:
        if not self._asking or reply.id not in (0, self._request):  # older publishers leave the id out
            return
        if reply.error == NO_SUCH_REQUEST:
            self._heard_s = -ASK_AGAIN_S
            return
        self._heard_s = time.monotonic()
        if reply.error != self._refusal:
            self._refusal = reply.error
            self._refused(f"{self.replay}: {reply.error}")


def split_batch(batch: EventBatch, data: bytes) -> list[bytes]:
    """The payloads of a batch.

    Raises:
        ValueError: sizes, topics and data do not fit each other.
    """
    if len(batch.sizes) != len(batch.topics) or batch.first < 1:
        raise ValueError("topics and sizes do not fit")
    return split(batch.sizes, data)


def split(sizes: Sequence[int], data: bytes) -> list[bytes]:
    """Pieces of so many bytes.

    Raises:
        ValueError: they are not what there is.
    """
    if sum(sizes) != len(data) or min(sizes, default=0) < 0:
        raise ValueError("sizes and payloads do not fit")
    ends = accumulate(sizes)
    return [data[end - size : end] for end, size in zip(ends, sizes, strict=True)]

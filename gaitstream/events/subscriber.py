"""The subscriber: live events, with those that were missed fetched from the publisher's journal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Literal, NamedTuple

import msgspec
import zmq

from gaitstream.errors import EventError
from gaitstream.events.ordering import Ordering
from gaitstream.events.schema import Event, decode
from gaitstream.events.segment import Record
from gaitstream.events.wire import DEFAULT_ENDPOINT, DEFAULT_REPLAY, HEADS, Reply, Request, unpack_header

ASK_AGAIN_S = 1.0
"""A request without an answer is repeated on a new socket after this long."""


class Positions(msgspec.Struct, frozen=True):
    """How far a subscriber has come; save it with your own data to resume exactly there."""

    journal: str
    seqs: dict[str, int]

    def to_json(self) -> bytes:
        """As a JSON object."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes) -> Positions:
        """From `to_json`.

        Raises:
            EventError: it is something else.
        """
        try:
            return msgspec.json.decode(data, type=cls)
        except msgspec.DecodeError as error:
            raise EventError(f"these are no saved positions ({error}); delete them to start anew") from error


class Received(NamedTuple):
    """One event as it was delivered."""

    topic: str
    seq: int
    event: Event
    payload: bytes


class Subscriber:
    """Receives each event once, in the order of its topic, whatever is lost or restarted on the way.

    Use it from one thread.

    Args:
        endpoint: the publisher's PUB address.
        replay: its replay address.
        topics: prefixes of the topics wanted: `identity/`, `camera/gate`, or `` for all.
        since: `now` (what is published from here on), `beginning` (all the journal keeps) or saved positions.

    Attributes:
        lost: events that the publisher's journal had deleted before they could be fetched.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        replay: str = DEFAULT_REPLAY,
        *,
        topics: Iterable[str] = ("",),
        since: Literal["now", "beginning"] | Positions = "now",
    ) -> None:
        saved: Mapping[str, int] = since.seqs if isinstance(since, Positions) else {}
        self._ordering = Ordering(
            topics,
            journal=bytes.fromhex(since.journal) if isinstance(since, Positions) else b"",
            positions=saved,
            from_start=since != "now",
        )
        self._context = zmq.Context()
        self._replay_address = replay
        self._sub = self._context.socket(zmq.SUB)
        self._sub.rcvhwm = 100_000
        self._sub.heartbeat_ivl = 5_000  # a machine that vanished without a word is noticed
        self._sub.heartbeat_timeout = 15_000
        self._dealer: zmq.Socket[bytes] | None = None
        try:
            self._sub.connect(endpoint)
            for prefix in (*self._ordering.prefixes, HEADS.decode()):
                self._sub.setsockopt_string(zmq.SUBSCRIBE, prefix)
            self._ask()
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise EventError(
                f"{endpoint} / {replay} cannot be connected ({error}); give addresses as {DEFAULT_ENDPOINT}"
            ) from error
        self._ready: deque[Record] = deque()

    @property
    def lost(self) -> int:
        """Events that could not be had any more."""
        return self._ordering.lost

    @property
    def positions(self) -> Positions:
        """How far delivery has come, events still queued inside not counted."""
        seqs = dict(self._ordering.positions)
        for record in self._ready:
            seqs[record.topic] = min(seqs[record.topic], record.seq - 1)
        return Positions(self._ordering.journal.hex(), seqs)

    @property
    def connected(self) -> bool:
        """Whether the publisher has answered."""
        return self._ordering.greeted

    def wait_connected(self, timeout_s: float) -> None:
        """Wait until the publisher has answered; events that arrive meanwhile are kept.

        Raises:
            EventError: it has not within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while not self._ordering.greeted:
            if time.monotonic() > deadline:
                raise EventError(
                    f"nobody answers at {self._replay_address}; start 'gaitstream run', or give its addresses"
                )
            self._step(0.05)

    def receive(self, timeout_s: float | None = None) -> Received | None:
        """The next event; None when `timeout_s` passes without one (None waits for ever)."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._ready:
            wait_s = ASK_AGAIN_S if deadline is None else min(ASK_AGAIN_S, deadline - time.monotonic())
            if wait_s < 0:
                return None
            self._step(wait_s)
        record = self._ready.popleft()
        return Received(record.topic, record.seq, decode(record.payload), record.payload)

    def __iter__(self) -> Iterator[Received]:
        while True:
            received = self.receive()
            if received is not None:
                yield received

    def close(self) -> None:
        """Close the sockets."""
        self._context.destroy(linger=0)

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _step(self, wait_s: float) -> None:
        poller = zmq.Poller()
        poller.register(self._sub, zmq.POLLIN)
        if self._dealer is not None:
            poller.register(self._dealer, zmq.POLLIN)
        ready = dict(poller.poll(max(1, int(wait_s * 1000))))
        if self._sub in ready:
            self._take_live()
        if self._dealer is not None and self._dealer in ready:
            self._take_reply(self._dealer)
        waiting = self._dealer is not None
        if waiting and time.monotonic() - self._asked < ASK_AGAIN_S:
            return
        if waiting or not self._ordering.greeted or self._ordering.missing():
            self._ask()

    def _ask(self) -> None:
        """Request numbers and missing events on a fresh socket, so that no stale answer can arrive."""
        if self._dealer is not None:
            self._dealer.close(linger=0)
        self._dealer = self._context.socket(zmq.DEALER)
        self._dealer.connect(self._replay_address)
        self._dealer.send(msgspec.json.encode(Request(after=self._ordering.missing())))
        self._asked = time.monotonic()

    def _take_live(self) -> None:
        while True:
            try:
                topic, header, payload = self._sub.recv_multipart(zmq.NOBLOCK)
                journal, seq = unpack_header(header)
            except zmq.Again:
                return
            except ValueError:
                continue  # not of this bus
            if topic == HEADS:
                heads = msgspec.json.decode(payload, type=dict[str, int])
                if not self._ordering.note_heads(journal, heads) and self._dealer is None:
                    self._ask()
                continue
            self._ready += self._ordering.receive(journal, Record(topic.decode(), seq, payload))
            if journal != self._ordering.journal and self._dealer is None:
                self._ask()

    def _take_reply(self, dealer: zmq.Socket[bytes]) -> None:
        reply = msgspec.json.decode(dealer.recv(), type=Reply)
        dealer.close(linger=0)
        self._dealer = None
        journal = bytes.fromhex(reply.journal)
        self._ordering.greet(journal, reply.heads, reply.firsts)
        for topic, seq, payload in reply.events:
            self._ready += self._ordering.receive(journal, Record(topic, seq, bytes(payload)))
        self._ready += self._ordering.release()

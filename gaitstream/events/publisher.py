"""The publisher: journal first, then the wire; a socket that replays beside it.

`publish` may be called from any thread: it returns once the event is in the journal. One thread owns the
publishing socket and forces the journal to the disk before it sends; another one owns the replay socket.
"""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate, groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import msgspec
import zmq

from gaitstream.addresses import DEFAULT_ENDPOINT, DEFAULT_REPLAY
from gaitstream.errors import EventError
from gaitstream.events.alert import Alert
from gaitstream.events.codec import Stamp, Wire, decode
from gaitstream.events.door import MAX_CONNECTIONS, Door, is_local
from gaitstream.events.ending import end
from gaitstream.events.eraser import Eraser
from gaitstream.events.erasing import only_ids, without_names
from gaitstream.events.filters import MAX_SUBSCRIPTIONS, Filters
from gaitstream.events.journal import Journal
from gaitstream.events.listener import Listener
from gaitstream.events.replay import WAITING_REPLIES, ReplayServer
from gaitstream.events.schema import Event, GalleryChanged
from gaitstream.events.segment import Record
from gaitstream.events.wire import (
    ALL,
    BATCH_BYTES,
    BATCH_EVENTS,
    HEADS,
    MAX_REQUEST_BYTES,
    EventBatch,
    Heads,
)

log = logging.getLogger(__name__)
_time_ns = time.time_ns

HEADS_EVERY_S = 1.0
GATHER_S = 0.0005
"""Pause between batches while events come: two threads that wake each other for each cost far more."""
MANY = 64
GATHER_MANY_S = 0.005
"""The same after a batch of `MANY` or more, where it is throughput that counts."""
MAX_FILTER_BYTES = 256
FILTERS_AT_ONCE = 2
"""Of one client: with more, ZeroMQ takes hundreds of thousands in one call before any is looked at."""
FILTER_BUFFER_BYTES = 64 * 1024
"""What the system takes of subscriptions that nobody has looked at yet, for each connection."""


class _Batch(NamedTuple):
    """Events that follow each other: epoch, number of the first, topics, payloads and their sizes."""

    epoch: str
    first: int
    topics: Sequence[str]
    payloads: Sequence[bytes]
    sizes: list[int]


class Publisher:
    """Publishes events on a ZeroMQ socket and answers requests for missed ones.

    Args:
        journal: where events are kept; closed with the publisher.
        endpoint: address of the publishing socket; port 0 or `*` takes a free one (see `endpoint` then).
        replay: address of the replay socket.
        wire: how events are encoded, in the journal and on the wire.
        keys: folder with the publisher's key and the list of those that may connect (`keys.py`); None lets in
            everybody, and is refused for addresses that other machines can reach.
        insecure: allow such addresses without keys, with a warning.
        names: events carry names beside ids; False leaves the ids alone, in the journal and on the wire.
        erase: when `gallery.changed` says that somebody was removed, take their name out of the journal, and
            of events that are published later, until it says that they were added again.
        gone: ids of people whose names were taken out before: events that are published have none of them.
        send_buffer: messages waiting per subscriber before ZeroMQ drops them for it; it gets them by replay.
        max_connections: to both sockets together; a subscriber has two. Further ones are refused, which
            bounds what clients that never read can cost.

    Attributes:
        endpoint: address the publishing socket is bound to.
        replay: address the replay socket is bound to.
        published: events sent on the wire.
        unwritten: events that `publish` refused because the journal could not be written.

    Raises:
        EventError: an address is in use, not of this machine, or open to others without keys; a key cannot be
            read.
    """

    def __init__(
        self,
        journal: Journal,
        endpoint: str = DEFAULT_ENDPOINT,
        replay: str = DEFAULT_REPLAY,
        *,
        wire: Wire = "json",
        keys: str | Path | None = None,
        insecure: bool = False,
        names: bool = True,
        erase: bool = True,
        gone: Iterable[str] = (),
        send_buffer: int = 256,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.journal = journal
        self.published = 0
        self.unwritten = 0
        if keys is None:
            for key, address in (("events.endpoint", endpoint), ("events.replay", replay)):
                _check_open(key, address, insecure=insecure)
        self._context = zmq.Context()
        self._send_buffer = send_buffer
        try:
            self._door = Door(self._context, keys, most=max_connections)
        except EventError:
            end(self._context)
            raise
        try:
            self._listener = Listener(partial(self._make, zmq.XPUB), self._door, endpoint, "events.endpoint")
            replies = Listener(partial(self._make, zmq.ROUTER), self._door, replay, "events.replay")
        except EventError:
            self._door.close()
            self._context.destroy(linger=0)
            raise
        self._pub = self._listener.socket
        self.endpoint, self.replay = self._listener.address, replies.address
        self._names = names
        self._erase = erase
        self._wire: Wire = wire
        self._stamp = Stamp(journal.id.hex(), journal.epoch, wire)
        self._eraser = Eraser(journal)
        self._gone = self._eraser.gone
        self._gone.update(gone)
        self._waiting: list[Record] = []
        self._sent = journal.head
        self._door_due_s = 0.0
        self._filters = Filters(self.endpoint, MAX_SUBSCRIPTIONS, self._door.unfinished.took)
        self._alert = Alert()
        self._stop = threading.Event()
        self._stopped = False
        self._replies = ReplayServer(replies, journal, lambda: self._sent, self._door.unfinished.took)
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
        if self._stopped:
            raise EventError("the publisher is closed")
        if not self._names:
            event = only_ids(event)
        if event.family == "gallery":
            self._notice_changes((event,))
        journal = self.journal
        with journal.guard:  # the wire sees events in the order of their numbers
            if self._gone:
                event = without_names(event, self._gone)
            now_ns = _time_ns()
            payload = self._stamp.encode(event, journal.head + 1, now_ns)
            try:
                record = journal.append_guarded(event.topic, payload, now_ns)
            except EventError:
                self.unwritten += 1
                raise
            self._waiting.append(record)
        if not self._alert.raised:
            self._alert.raise_()
        return record

    def publish_many(self, events: Sequence[Event]) -> list[Record]:
        """`publish` for several events at once, with one write: all of them are in the journal, or none.

        Raises:
            JournalWriteError: as for `publish`.
        """
        if self._stopped:
            raise EventError("the publisher is closed")
        if not self._names:
            events = [only_ids(event) for event in events]
        self._notice_changes(events)
        with self.journal.guard:  # the wire sees events in the order of their numbers
            stamp = self._stamp.encode
            if self._gone:
                events = [without_names(event, self._gone) for event in events]
            now_ns = time.time_ns()
            first = self.journal.head + 1
            stamped = [(event.topic, stamp(event, seq, now_ns)) for seq, event in enumerate(events, first)]
            try:
                records = self.journal.append_many(stamped, now_ns) if stamped else []
            except EventError:
                self.unwritten += len(stamped)
                raise
            self._waiting += records
        self._alert.raise_()
        return records

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
        self._stopped = True
        self._stop.set()
        self._alert.raise_()
        self._thread.join()
        self._replies.close()
        for listener in (self._listener, self._replies.listener):
            listener.close(linger_s)
        self._door.close()
        end(self._context)
        self._eraser.close()
        self.journal.close()
        self._alert.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _notice_changes(self, events: Sequence[Event]) -> None:
        """Before they are in the journal: killed in between, the next start erases all the same."""
        for event in events:
            if self._erase and isinstance(event, GalleryChanged):
                if event.removed:
                    self.forget(set(event.removed))
                if event.added:
                    self.remember(set(event.added))

    def forget(self, persons: set[str]) -> None:
        """Take the names of people who left the gallery out of the journal, beside everything else.

        What is published from here on has no names of them either.

        Args:
            persons: their ids in the gallery.
        """
        self._eraser.remove(persons)

    def remember(self, persons: set[str]) -> None:
        """People who had left the gallery are in it again: events may have their names.

        Args:
            persons: their ids in the gallery.
        """
        self._eraser.restore(persons)

    def _make(self, kind: int) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        socket.sndhwm = self._send_buffer if kind == zmq.XPUB else WAITING_REPLIES
        socket.rcvhwm = FILTERS_AT_ONCE if kind == zmq.XPUB else 64
        socket.maxmsgsize = 4 * MAX_FILTER_BYTES if kind == zmq.XPUB else MAX_REQUEST_BYTES
        socket.heartbeat_ivl = 10_000  # a client that vanished without a word costs nothing for long
        socket.heartbeat_timeout = 30_000
        if kind == zmq.ROUTER:
            socket.router_mandatory = 1  # sending says when a client does not read
        else:
            socket.xpub_verboser = True  # what each connection asks for is to be known
            socket.rcvbuf = FILTER_BUFFER_BYTES
        return socket

    def _renew(self) -> bool:
        """Close connections that must not go on, and listen again; whether there were such.

        Nothing is lost by it: who still may connect fetches what came meanwhile.
        """
        self._listener.retry()
        if not self._revoked():
            return False
        log.info("events: a key was revoked; all connections are made anew")
        self._replies.reopen()
        self._listener.renew()
        self._pub = self._listener.socket
        self._filters = Filters(self.endpoint, MAX_SUBSCRIPTIONS, self._door.unfinished.took)
        return True

    def _serve(self) -> None:
        due_s = 0.0
        while not self._stop.is_set():
            try:
                poller = zmq.Poller()
                poller.register(self._pub, zmq.POLLIN)
                poller.register(self._alert.fd, zmq.POLLIN)
                while not self._stop.is_set() and not self._renew():
                    due_s = self._turn(poller, due_s)
            except Exception:
                # Whatever it was, the next events must still go out.
                log.exception("an event could not be sent; subscribers fetch it from the journal")
        self._send_waiting()
        self._send_heads()

    def _turn(self, poller: zmq.Poller, due_s: float) -> float:
        """Wait for something to do and do it; returns when the numbers are to be repeated."""
        ready = dict(poller.poll(max(0, int((due_s - time.monotonic()) * 1000) + 1)))
        if self._alert.fd in ready:
            self._alert.lower()
        if self._pub in ready:
            self._filters.update(self._pub)
        sent = self._send_waiting()
        if sent:
            self._alert.hold()
            while sent and time.monotonic() < due_s:
                time.sleep(GATHER_S if sent < MANY else GATHER_MANY_S)
                sent = self._send_waiting()
            self._alert.lower()
            self._send_waiting()
        if time.monotonic() < due_s:
            return due_s
        self._send_heads()
        self._filters.expire()
        self._expire()
        return time.monotonic() + HEADS_EVERY_S

    def _expire(self) -> None:
        """Let the journal delete what is too old; where its folder was replaced, events get its new epoch."""
        with self.journal.guard:
            self.journal.expire()
            if self.journal.epoch != self._stamp.epoch:
                self._stamp = Stamp(self.journal.id.hex(), self.journal.epoch, self._wire)
                if not self._waiting:
                    self._sent = self.journal.head

    def _revoked(self) -> bool:
        """Whether a key was taken off the list, looked at as often as the numbers are sent."""
        if time.monotonic() < self._door_due_s:
            return False
        self._door_due_s = time.monotonic() + HEADS_EVERY_S
        return self._door.take_revoked()

    def _send_waiting(self) -> int:
        """Send what waits, in batches; how many there were."""
        before = self.published
        while self._waiting:
            with self.journal.guard:
                records, self._waiting = self._waiting, []
            self._sync()
            for run in _by_epoch(records):
                for batch in _batches(run):
                    self._send(batch)
        return self.published - before

    def _sync(self) -> None:
        try:
            self.journal.sync()
        except OSError as error:  # the events are in the journal's file: they are sent all the same
            log.error("%s: the journal could not be forced to the disk (%s)", self.journal.directory, error)

    def _send(self, batch: _Batch) -> None:
        epoch, first, topics, payloads, sizes = batch
        self._sent = first + len(topics) - 1
        self.published += len(topics)
        if self._filters.all:
            header = EventBatch(self._stamp.publisher, epoch, first, topics, sizes)
            self._pub.send_multipart((ALL, msgspec.json.encode(header), b"".join(payloads)))
        if self._filters.some:
            for topic, payload in zip(topics, payloads, strict=True):
                self._pub.send_multipart((topic.encode(), payload))

    def _send_heads(self) -> None:
        heads = Heads(self.journal.id.hex(), self.journal.epoch, self._sent, self.journal.first)
        self._pub.send_multipart((HEADS, msgspec.json.encode(heads)))


def _by_epoch(records: list[Record]) -> list[list[Record]]:
    """Records in order, cut where the journal's folder was replaced between them."""
    if records[0].epoch == records[-1].epoch:
        return [records]
    return [list(run) for _, run in groupby(records, attrgetter("epoch"))]


def _batches(records: list[Record]) -> Iterator[_Batch]:
    """Records of one epoch in order, in pieces to be sent at once."""
    columns = list(zip(*records, strict=True))  # far cheaper than an attribute of each
    topics, seqs, payloads = columns[:3]
    sizes = list(map(len, payloads))
    ends = list(accumulate(sizes))
    at = 0
    while at < len(records):
        full = bisect_right(ends, ends[at] - sizes[at] + BATCH_BYTES, at)
        to = min(max(at + 1, full), at + BATCH_EVENTS)
        yield _Batch(records[0].epoch, seqs[at], topics[at:to], payloads[at:to], sizes[at:to])
        at = to


def _check_open(key: str, address: str, *, insecure: bool) -> None:
    """Refuse, or warn of, an address that other machines can reach, without keys.

    Raises:
        EventError: it is one, and `insecure` is not set.
    """
    if is_local(address):
        return
    if not insecure:
        raise EventError(
            f"{key}: {address} can be reached from other machines, and anybody there could read who walks "
            "where; "
            "make keys with 'gaitstream keys new server' and set events.keys, or accept it with --insecure"
        )
    log.warning("%s: %s is open to other machines without keys (--insecure)", key, address)

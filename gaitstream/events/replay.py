"""Answers requests for events of the journal, in a thread of its own, so that live delivery never waits.

A client gets as many replies as it granted and no more: a slow one costs a file position, not memory. All
clients take turns, reply by reply.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec
import zmq

from gaitstream.events.journal import Journal
from gaitstream.events.listener import Listener
from gaitstream.events.reading import Reader, wanted
from gaitstream.events.segment import Record
from gaitstream.events.wire import (
    BATCH_BYTES,
    MAX_CREDIT,
    MAX_PREFIXES,
    NO_SUCH_REQUEST,
    Reply,
    Request,
)

log = logging.getLogger(__name__)

MAX_STREAMS = 256
"""Requests answered at the same time; the one that waited longest for its client gives way to a new one."""
IDLE_S = 60.0
"""A request whose client grants nothing for so long is forgotten."""
PIECES = 16
"""Pieces of the journal read for one reply where few events are wanted."""
WAITING_REPLIES = MAX_CREDIT
"""Replies queued for one client that does not read, whatever it granted."""


class _Numbered(msgspec.Struct):
    id: int = 0


_decoder = msgspec.json.Decoder(Request)
_ids = msgspec.json.Decoder(_Numbered)
_encoder = msgspec.json.Encoder()


class ReplayStream:
    """One request that is being answered.

    Args:
        way: parts that lead to the client.
        request: what is wanted.
        journal: where from.
        head: the last number that may be sent.
    """

    def __init__(self, way: list[bytes], request: Request, journal: Journal, head: int) -> None:
        self.way = way
        self.id = request.id
        self.credit = min(max(1, request.credit), MAX_CREDIT)
        self.touched_s = time.monotonic()
        self._journal = journal
        self._joined = request.joined
        self._prefixes = tuple(request.prefixes) or ("",)
        self._since_ns = request.since if isinstance(request.since, int) else 0
        self._reader = journal.reader()
        self._waiting: deque[Record] = deque()
        self._after: int | None = None
        self._rewound, self._lost, self._known = 0, 0, True
        self._place(request, head)

    def _place(self, request: Request, head: int) -> None:
        """Find where to begin."""
        first = self._journal.first
        reader: Reader = self._reader
        if isinstance(request.since, int):
            reader.seek_time(self._since_ns)
            self._after = reader.position
            return
        after = self._journal.head  # now: what was published and is not sent yet is past too
        if request.cursor is not None:
            start = self._journal.epochs.start(request.cursor, head, first)
            after, self._rewound, self._known = start
        elif request.since == "beginning":
            after = first - 1
        elif request.after is not None:
            after = max(0, request.after)
        reader.seek(after)
        self._after = after

    def reply(self, head: int) -> tuple[Reply, list[bytes]]:
        """The next answer, with events up to number `head`."""
        done = not self._waiting and self._fill(head)
        records: list[Record] = []
        size = 0
        epoch = self._waiting[0].epoch if self._waiting else ""
        while self._waiting and size < BATCH_BYTES and self._waiting[0].epoch == epoch:
            records.append(self._waiting.popleft())
            size += len(records[-1].payload)
        to = self._waiting[0].seq - 1 if self._waiting else self._reader.position
        payloads = [record.payload for record in records]
        answer = Reply(
            id=self.id,
            publisher=self._journal.id.hex(),
            live=self._journal.epoch,
            epoch=epoch or self._journal.epochs.at(to),
            after=self._after,
            to=to,
            head=max(head, to),
            first=self._journal.first,
            done=done and not self._waiting,
            known=self._known,
            lost=self._lost,
            rewound=self._rewound,
            seqs=[record.seq for record in records],
            topics=[record.topic for record in records],
            times=[record.time_ns for record in records],
            sizes=list(map(len, payloads)) if self._joined else [],
        )
        self._lost = self._rewound = 0
        self._after = None
        self._known = True
        return answer, [b"".join(payloads)] if self._joined else payloads

    def _fill(self, head: int) -> bool:
        """Read on until some events are wanted; True when there is no more."""
        for _ in range(PIECES):
            piece = self._reader.read(head)
            self._lost += piece.lost
            self._waiting += (
                record
                for record in piece.records
                if record.time_ns >= self._since_ns and wanted(record.topic, self._prefixes)
            )
            if piece.end and self._reader.position < head:  # all up to head was written: it is damaged
                self._lost += head - self._reader.position
                self._reader.position = head
            if self._waiting or piece.end:
                return piece.end
        return False


class ReplayServer:
    """Owns the replay socket and its thread.

    Args:
        listener: of a ROUTER.
        journal: what is asked for.
        head: gives the last number that was sent to all; what is not safe on the disk yet is behind it.
        took: is told what is read.

    Attributes:
        listener: as given.
    """

    def __init__(
        self,
        listener: Listener,
        journal: Journal,
        head: Callable[[], int],
        took: Callable[[zmq.Frame], None],
    ) -> None:
        self.listener = listener
        self._took = took
        self._reopen = threading.Event()
        self._journal = journal
        self._head = head
        self._streams: dict[bytes, ReplayStream] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="gaitstream-replay", daemon=True)
        self._thread.start()

    def reopen(self) -> None:
        """Close every connection soon, and the requests with them."""
        self._reopen.set()

    def close(self) -> None:
        """End the thread; the socket stays open."""
        self._stop.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._stop.is_set():
            active = any(stream.credit > 0 for stream in self._streams.values())
            try:
                if self._reopen.is_set():
                    self._reopen.clear()
                    self._streams.clear()
                    self.listener.renew()
                self.listener.retry()
                if self.listener.socket.poll(0 if active else 100):
                    self._take()
                self._turn()
            except Exception:
                # One request, however strange, must not end the answers to all others.
                log.exception("a replay request failed")

    def _take(self) -> None:
        """Read the requests that are there, as many as there is room for answers."""
        for _ in range(MAX_STREAMS):
            try:
                frames = self.listener.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            for frame in frames[1:]:
                self._took(frame)
            identity, body = frames[0].bytes, frames[-1].bytes
            # A REQ socket puts an empty part in front and wants it back.
            way = [identity, b""] if len(frames) > 2 and not frames[1].bytes else [identity]
            try:
                self._begin(way, decode_request(body))
            except (ValueError, RecursionError) as error:
                answer = Reply(id=_id_of(body), error=f"this is no request ({error})"[:200])
                self._send(way, answer, [])

    def _begin(self, way: list[bytes], request: Request) -> None:
        identity = way[0]
        stream = self._streams.get(identity)
        if request.grant:
            if stream is None or stream.id != request.id:
                self._send(way, Reply(id=request.id, error=NO_SUCH_REQUEST), [])
                return
            stream.credit = min(stream.credit + max(0, request.grant), MAX_CREDIT)
            stream.touched_s = time.monotonic()
            return
        self._streams.pop(identity, None)
        while len(self._streams) >= MAX_STREAMS:
            del self._streams[min(self._streams, key=lambda name: self._streams[name].touched_s)]
        self._streams[identity] = ReplayStream(way, request, self._journal, self._head())

    def _turn(self) -> None:
        """One reply for each client that granted one."""
        now_s = time.monotonic()
        for identity, stream in list(self._streams.items()):
            if stream.credit <= 0:
                if now_s - stream.touched_s > IDLE_S:
                    del self._streams[identity]
                continue
            try:
                answer, payloads = stream.reply(self._head())
            except BaseException:
                del self._streams[identity]
                raise
            stream.credit -= 1
            if not self._send(stream.way, answer, payloads) or answer.done:
                del self._streams[identity]

    def _send(self, way: list[bytes], answer: Reply, payloads: list[bytes]) -> bool:
        """Queue a reply; False when the client is gone or does not read what it asked for."""
        try:
            self.listener.socket.send_multipart([*way, _encoder.encode(answer), *payloads], zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        return True


def _id_of(body: bytes) -> int:
    """The id of a request that is refused; 0 where it cannot be read."""
    try:
        return _ids.decode(body).id
    except (ValueError, RecursionError):
        return 0


def decode_request(body: bytes) -> Request:
    """A request as a client sent it.

    Raises:
        ValueError: it is none, or asks for more than is allowed.
        RecursionError: it is nested too deeply.
    """
    request = _decoder.decode(body)
    if len(request.prefixes) > MAX_PREFIXES:
        raise ValueError(f"{len(request.prefixes)} prefixes; at most {MAX_PREFIXES}")
    if isinstance(request.since, str) and request.since not in ("now", "beginning"):
        raise ValueError("since: now, beginning, or UTC nanoseconds")
    return request

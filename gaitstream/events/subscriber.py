"""The subscriber: live events, with those that were missed fetched from the publishers' journals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

import zmq

from gaitstream.addresses import DEFAULT_ENDPOINT
from gaitstream.errors import EventError
from gaitstream.events.codec import MalformedError, decode
from gaitstream.events.discovery import PublisherAddress, open_directory
from gaitstream.events.ending import end
from gaitstream.events.keys import Prepare, no_keys, secure
from gaitstream.events.link import Link
from gaitstream.events.notices import Notice, Notices
from gaitstream.events.ordering import Ordering, Ready
from gaitstream.events.positions import Positions
from gaitstream.events.schema import SCHEMA, Event, Unrecognised
from gaitstream.events.segment import MAX_BODY_BYTES
from gaitstream.events.wire import next_endpoint

log = logging.getLogger(__name__)

STEP_S = 0.5
"""Longest sleep: requests are repeated and publishers that came back are noticed this often."""
DROPPED_AT_ONCE = 1000
"""What is no event, passed over before the user's time limit is looked at."""
_MERGE_STEP_S = 0.02

Since = Literal["now", "beginning"] | datetime | int | Positions


class Received(NamedTuple):
    """One event as it was delivered.

    Attributes:
        topic: where it was published.
        seq: its number in its publisher's journal.
        event: the event.
        payload: its bytes.
        publisher: id of the publisher's journal.
        epoch: of the number.
    """

    topic: str
    seq: int
    event: Event
    payload: bytes
    publisher: str
    epoch: str


class Subscriber:
    """Receives each event once, in the order of its publisher, whatever is lost or restarted on the way.

    Use it from one thread, or from one asyncio loop with `async for`.

    Args:
        endpoint: the publisher's address, or those of several publishers.
        replay: the replay address, or as many as there are publishers; None: the next port each.
        topics: a prefix of the topics wanted, or several: `identity/`, `camera/gate`; `` or none for all.
        since: `now` (what is published from here on), `beginning` (all the journals keep), a time of
            publishing (`datetime`, or UTC nanoseconds), or saved positions.
        cursor: a file that `commit` writes. If it exists, it counts and `since` does not.
        fleet: the database of a fleet, `postgresql://...`: all its publishers are followed, also those that
            come later, in place of `endpoint` and `replay`.
        key: this subscriber's key, a `.key` file, where the publishers ask for one.
        server_key: the publishers' public key, or one for each: `.pub` files or the 40 characters.
        on_notice: called with each `Notice`; without it they are logged as warnings. Beyond twenty of a kind
            in a second the others are one, with their events together.

    Attributes:
        lost: events that no journal kept until they could be fetched.
        malformed: messages that were no events.

    Events of several publishers are merged by the time they were published while older ones are fetched;
    after that they come as they come.

    Raises:
        EventError: an address, a key, a topic, `since` or the cursor's file is wrong.
    """

    def __init__(
        self,
        endpoint: str | Sequence[str] = DEFAULT_ENDPOINT,
        replay: str | Sequence[str] | None = None,
        *,
        topics: str | Iterable[str] = ("",),
        since: Since = "now",
        cursor: str | Path | None = None,
        fleet: str | None = None,
        key: str | Path | None = None,
        server_key: str | Path | Sequence[str | Path] | None = None,
        on_notice: Callable[[Notice], None] | None = None,
    ) -> None:
        self.lost = 0
        self.malformed = 0
        self._cursor_path = Path(cursor) if cursor is not None else None
        saved = Positions.load(cursor) if cursor is not None else None
        self._notices = Notices(on_notice or _log_notice)
        self._topics = _prefixes(topics)
        self._since = saved or since
        _begin(since)  # what is no place is refused, beside a cursor too
        self._begun_ns = time.time_ns()
        self._key = key
        self._links: list[Link] = []
        self._poller = zmq.Poller()
        self._directory = None if fleet is None else open_directory(fleet)
        self._found: Sequence[PublisherAddress] = ()
        self._known: dict[str, tuple[PublisherAddress, Link]] = {}
        self._context = zmq.Context()
        self._closed = False
        try:
            if self._directory is None:
                self._connect_all(endpoint, replay, server_key)
            else:
                self._found = self._directory.publishers()
                for address in self._found:
                    self._follow(address, self._since if address.alive else self._later)
        except EventError:
            self.close()
            raise
        self._take()

    @property
    def positions(self) -> Positions:
        """How far delivery has come, events still queued inside not counted."""
        # Publishers that did not answer yet keep what was saved of them.
        out = dict(self._since.publishers) if isinstance(self._since, Positions) else {}
        for link in self._links:
            out.update(link.ordering.left)
        for link in self._links:
            ordering = link.ordering
            if ordering.publisher:
                out[ordering.publisher] = _delivered(ordering.cursor, link.ready)
        return Positions(out)

    @property
    def connected(self) -> bool:
        """Whether all publishers have answered."""
        return not self._silent()

    def wait_connected(self, timeout_s: float) -> None:
        """Wait until the publishers have answered; events that arrive meanwhile are kept.

        Raises:
            EventError: one has not within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while not self.connected:
            if time.monotonic() > deadline:
                silent = ", ".join(link.replay for link in self._silent())
                raise EventError(f"nobody answers at {silent}; start 'gaitstream run', or give its addresses")
            self._wait(0.05)

    def receive(self, timeout_s: float | None = None) -> Received | None:
        """The next event; None when `timeout_s` passes without one (None waits for ever).

        Raises:
            EventError: the subscriber is closed.
        """
        deadline_s: float | None = None
        while (received := self._next()) is None:
            now_s = time.monotonic()
            if timeout_s is not None and deadline_s is None:
                deadline_s = now_s + timeout_s
            wait_s = STEP_S if deadline_s is None else min(STEP_S, deadline_s - now_s)
            if wait_s < 0:
                return None
            self._wait(wait_s)
        return received

    def commit(self) -> None:
        """Save in the cursor's file that all events received so far have been dealt with.

        Raises:
            EventError: there is no cursor, or its file cannot be written.
        """
        if self._cursor_path is None:
            raise EventError("commit needs a file: Subscriber(cursor='alerts.cursor')")
        self.positions.save(self._cursor_path)

    def __iter__(self) -> Iterator[Received]:
        while True:
            received = self.receive()
            if received is not None:
                yield received

    async def __aiter__(self) -> AsyncIterator[Received]:
        while True:
            received = self._next()
            if received is not None:
                yield received
                continue
            await self._wait_async(STEP_S)

    def close(self) -> None:
        """Close the sockets; may be called twice."""
        if self._closed:
            return
        self._closed = True
        if self._directory is not None:
            self._directory.close()
        for link in self._links:
            link.close()
        end(self._context)

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect_all(
        self,
        endpoint: str | Sequence[str],
        replay: str | Sequence[str] | None,
        server_key: str | Path | Sequence[str | Path] | None,
    ) -> None:
        endpoints = [endpoint] if isinstance(endpoint, str) else list(endpoint)
        if not endpoints:
            raise EventError("no publisher to listen to: give the address of one or more, or `fleet`")
        replays = _replays(endpoints, replay)
        secured = secure(len(endpoints), self._key, server_key)
        for addresses in zip(endpoints, replays, secured, strict=True):
            self._link(*addresses, self._since)

    def _look_up(self) -> None:
        """Follow publishers that came, and those whose journal is served elsewhere now."""
        found = self._directory.publishers() if self._directory is not None else self._found
        if found is self._found:
            return
        self._found = found
        for address in found:
            known = self._known.get(address.journal)
            if known is None:
                self._follow(address, self._later)
            elif known[0][1:4] != address[1:4]:
                self._unlink(known[1])
                reached = _delivered(known[1].ordering.cursor, known[1].ready)
                self._follow(address, Positions({address.journal: reached}) if reached else self._later)
            else:
                self._known[address.journal] = address, known[1]

    @property
    def _later(self) -> Since:
        """Where to begin with a publisher that answers later: what it published since we began counts."""
        return self._begun_ns if self._since == "now" else self._since

    def _follow(self, address: PublisherAddress, since: Since) -> None:
        if isinstance(since, Positions):
            known = since.publishers.get(address.journal)
            since = Positions({address.journal: known} if known else {})
        if address.server_key is None:
            prepare: Prepare = no_keys
        else:
            (prepare,) = secure(1, self._key, address.server_key)
        link = self._link(address.endpoint, address.replay, prepare, since, address.journal)
        self._known[address.journal] = address, link

    def _unlink(self, link: Link) -> None:
        """Let go of a publisher; what it brought and nobody took comes again from where it is served now."""
        self._links.remove(link)
        for socket in (link.sub, link.dealer):
            self._poller.unregister(socket)
        link.close()

    def _silent(self) -> list[Link]:
        """Publishers that have not answered, those left out that are known to be away."""
        away = {id(link) for address, link in self._known.values() if not address.alive}
        return [link for link in self._links if not link.ordering.greeted and id(link) not in away]

    def _link(self, endpoint: str, replay: str, prepare: Prepare, since: Since, journal: str = "") -> Link:
        saved: Mapping[str, dict[str, int]] = {}
        if isinstance(since, Positions):
            saved = since.publishers
        ordering = Ordering(
            self._topics, publisher=journal if saved else "", saved=saved, since=_begin(since)
        )
        link = Link(
            self._context,
            endpoint,
            replay,
            ordering,
            lambda detail: self._tell_malformed(endpoint, detail),
            lambda detail: self._notices.tell(Notice("refused", endpoint, 0, detail)),
            prepare,
            journal,
        )
        self._links.append(link)
        self._poller.register(link.sub, zmq.POLLIN)
        self._poller.register(link.dealer, zmq.POLLIN)
        return link

    def _next(self) -> Received | None:
        """The next event that is here, reading from the sockets when there is none."""
        self._check_open()
        link = self._choose()
        if link is None:
            self._take()
            link = self._choose()
        dropped = 0
        while link is not None and dropped < DROPPED_AT_ONCE:
            ready = link.ready.popleft()
            link.queued_bytes -= len(ready.payload)
            received = self._decode(link, ready)
            if received is not None:
                return received
            dropped += 1
            link = self._choose()
        return None

    def _choose(self) -> Link | None:
        """Whose event is next: the one published first, as long as older ones are being fetched."""
        if len(self._links) == 1:
            return self._links[0] if self._links[0].ready else None
        waiting = [link for link in self._links if link.ready]
        if not waiting or any(link.catching_up and not link.ready for link in self._links):
            return None
        return min(waiting, key=lambda link: link.ready[0].time_ns or float("inf"))

    def _decode(self, link: Link, ready: Ready) -> Received | None:
        topic, seq, payload, epoch, _ = ready
        try:
            if len(payload) > MAX_BODY_BYTES:
                raise MalformedError(f"{len(payload)} bytes, no journal holds more than {MAX_BODY_BYTES}")
            event = decode(payload)
        except MalformedError as error:
            self._tell_malformed(link.endpoint, f"event {seq} on {topic}: {error}")
            return None
        if event.schema > SCHEMA and isinstance(event, Unrecognised):
            detail = f"{event.kind} has schema {event.schema}, this program knows {SCHEMA}; update it"
            self._notices.tell(Notice("schema", link.endpoint, 1, detail))
        return Received(topic, seq, event, payload, link.ordering.publisher, epoch)

    def _take(self) -> None:
        self._look_up()
        for link in self._links:
            link.take()
            for told in link.ordering.told:
                if told.kind == "lost":
                    self.lost += told.events
                self._notices.tell(Notice(told.kind, link.endpoint, told.events, _DETAILS[told.kind]))
            link.ordering.told.clear()
        self._notices.catch_up()

    def _check_open(self) -> None:
        if self._closed:
            raise EventError("the subscriber is closed")

    def _wait(self, wait_s: float) -> None:
        self._check_open()
        pause_s = _MERGE_STEP_S if any(link.ready for link in self._links) else wait_s
        self._poller.poll(max(1, int(pause_s * 1000)))
        self._take()

    async def _wait_async(self, wait_s: float) -> None:
        loop = asyncio.get_running_loop()
        sockets = [socket for link in self._links for socket in (link.sub, link.dealer)]
        if any(int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN for socket in sockets):
            self._take()
            return
        woken = asyncio.Event()
        # The descriptors tell of changes only, so the state is looked at above, after they were last emptied.
        descriptors = [int(socket.getsockopt(zmq.FD)) for socket in sockets]
        for descriptor in descriptors:
            loop.add_reader(descriptor, woken.set)
        try:
            pause_s = _MERGE_STEP_S if any(link.ready for link in self._links) else min(wait_s, 0.1)
            await asyncio.wait_for(woken.wait(), pause_s)
        except TimeoutError:
            pass
        finally:
            for descriptor in descriptors:
                loop.remove_reader(descriptor)
        self._take()

    def _tell_malformed(self, endpoint: str, detail: str) -> None:
        self.malformed += 1
        self._notices.tell(Notice("malformed", endpoint, 1, detail))


_DETAILS = {
    "lost": "events that the journal no longer keeps, or cannot read",
    "rewound": "delivered events that the journal does not know any more; it was restored or damaged",
    "epoch": "the publisher was started anew",
    "journal": "another journal answers; all it keeps is delivered",
}


def _log_notice(notice: Notice) -> None:
    level = logging.INFO if notice.kind == "epoch" else logging.WARNING
    log.log(level, "%s: %s: %d: %s", notice.endpoint, notice.kind, notice.events, notice.detail)


def _prefixes(topics: str | Iterable[str]) -> tuple[str, ...]:
    prefixes = (topics,) if isinstance(topics, str) else tuple(topics)
    for prefix in prefixes:
        if not isinstance(prefix, str):
            raise EventError(f"topics: {prefix!r} is no prefix of a topic; give text, as 'identity/'")
        try:
            prefix.encode()
        except UnicodeEncodeError as error:
            raise EventError(f"topics: {prefix!r} is no text; give UTF-8, as 'identity/'") from error
    return prefixes or ("",)


def _begin(since: Since) -> str | int:
    """`since` as the publisher knows it; for positions, where to begin with a publisher they do not have."""
    if isinstance(since, Positions):
        return "beginning"
    if isinstance(since, str) and since in ("now", "beginning"):
        return since
    time_ns: object = since
    if isinstance(since, datetime):
        with contextlib.suppress(ValueError, OverflowError, OSError):  # years that no clock has
            # Whole seconds and the rest each by itself: a float does not hold nanoseconds.
            seconds = int(since.replace(microsecond=0).timestamp())
            time_ns = max(0, seconds * 10**9 + since.microsecond * 1000)
    if isinstance(time_ns, int) and not isinstance(time_ns, bool) and 0 <= time_ns < 1 << 63:
        return time_ns
    raise EventError(
        f"since: {since!r} is no place to begin; give 'now', 'beginning', a datetime, UTC nanoseconds "
        "from 0 on, or saved positions"
    )


def _replays(endpoints: list[str], replay: str | Sequence[str] | None) -> list[str]:
    if replay is None:
        return [next_endpoint(endpoint) for endpoint in endpoints]
    replays = [replay] if isinstance(replay, str) else list(replay)
    if len(replays) != len(endpoints):
        raise EventError(
            f"{len(endpoints)} publishers and {len(replays)} replay addresses; give one for each, or none "
            "for the next port each"
        )
    return replays


def _delivered(cursor: dict[str, int], ready: Sequence[Ready]) -> dict[str, int]:
    """A cursor without the events that are still queued: it ends in the epoch of the first of these."""
    if not ready:
        return dict(cursor)
    first = ready[0]
    epochs = list(cursor)
    older = epochs[: epochs.index(first.epoch)] if first.epoch in cursor else []
    return {epoch: cursor[epoch] for epoch in older} | {first.epoch: first.seq - 1}

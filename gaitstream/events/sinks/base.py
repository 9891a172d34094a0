"""What all sinks share: read the journal, hand events on until they are taken, keep the place."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from gaitstream.errors import EventError
from gaitstream.events.codec import MalformedError, decode, encode, plain_json
from gaitstream.events.follower import Follower
from gaitstream.events.schema import Event, Unrecognised
from gaitstream.events.segment import Record

log = logging.getLogger("gaitstream.sink")

POLL_S = 0.2
"""Pause where there is nothing new."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0


class SinkError(EventError):
    """The other side did not take an event.

    Attributes:
        taken: events before it that were taken and must not come again.
    """

    taken = 0


class NotNowError(SinkError):
    """It may take it later.

    Attributes:
        wait_s: how long it asked to be left alone, if it did.
    """

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        self.wait_s = wait_s
        super().__init__(message)


class RefusedError(SinkError):
    """It will never take it."""


class Sink(Protocol):
    """The other side."""

    def send(self, events: Sequence[tuple[Record, Event]]) -> None:
        """Pass events on, in order; on return the other side has all of them.

        Raises:
            NotNowError: those from `taken` on come again.
            RefusedError: the one at `taken` is left out, those behind it come again.
        """

    def stop(self) -> None:
        """Return from `send` soon, with `NotNowError`; from any thread or a signal handler."""

    def close(self) -> None:
        """Let go of the connection."""


class StoppedError(NotNowError):
    """It was told to stop before all was taken."""

    def __init__(self) -> None:
        super().__init__("stopped")


class Pump:
    """Moves events from a journal into a sink.

    Args:
        follower: where from.
        sink: where to.
        batch: events handed over at once.
        pause: sleeps so many seconds; None: until `stop`, at most so long.

    Attributes:
        passed: events passed on.
        refused: events the other side will never take.
        lost: events that could not be read any more.
        retries: attempts that failed.
    """

    def __init__(
        self,
        follower: Follower,
        sink: Sink,
        *,
        batch: int = 100,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self.passed = self.refused = self.lost = self.retries = 0
        self._follower = follower
        self._sink = sink
        self._batch = batch
        self._unkept = False
        self._stopping = threading.Event()
        self._pause = pause or self._stopping.wait

    def stop(self) -> None:
        """Return from `run` soon; from any thread or a signal handler."""
        self._stopping.set()
        self._sink.stop()

    def run(self, *, once: bool = False) -> None:
        """Pass on what comes, until `stop`; with `once`, until all that is there was passed on.

        Where the cursor's file cannot be written, as on a full disk, passing on goes on; the place is kept as
        soon as it can be.
        """
        while not self._stopping.is_set():
            found = self._follower.read()
            self.lost += found.lost
            if found.lost:
                log.warning("%d events could not be read any more", found.lost)
            for at in range(0, len(found.records), self._batch):
                self._pass_on(found.records[at : at + self._batch])
                if self._stopping.is_set():
                    return
            if found.records or found.lost or self._unkept:
                self._keep(self._follower.commit)
            if found.end:
                if once:
                    return
                self._pause(POLL_S)

    def _pass_on(self, records: Sequence[Record]) -> None:
        """One batch, as often as it takes."""
        waiting = [pair for record in records if (pair := _decode(record)) is not None]
        pause_s = FIRST_PAUSE_S
        while waiting and not self._stopping.is_set():
            try:
                self._sink.send(waiting)
            except StoppedError as error:
                self._taken(waiting, error.taken)
                return
            except NotNowError as error:
                self.retries += 1
                self._taken(waiting, error.taken)
                if error.taken:
                    waiting, pause_s = waiting[error.taken :], FIRST_PAUSE_S
                wait_s = max(error.wait_s or 0.0, pause_s * random.uniform(0.5, 1.0))
                log.warning("%s; trying again in %.1f s", error, wait_s)
                self._pause(wait_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            except RefusedError as error:
                self._taken(waiting, error.taken)
                self.refused += 1
                record, event = waiting[error.taken]
                log.error("event %d (%s) is left out: %s", record.seq, event.event_id, error)
                waiting = waiting[error.taken + 1 :]
                continue
            self.passed += len(waiting)
            waiting = []
        if not waiting:
            self._keep(partial(self._follower.commit_at, records[-1]))

    def _taken(self, waiting: Sequence[tuple[Record, Event]], count: int) -> None:
        """So many of a batch are with the other side; they do not come again after a stop."""
        self.passed += count
        if count:
            self._keep(partial(self._follower.commit_at, waiting[count - 1][0]))

    def _keep(self, commit: Callable[[], None]) -> None:
        try:
            commit()
        except EventError as error:
            if not self._unkept:
                log.error("%s; passing on goes on, and comes again after a restart", error)
            self._unkept = True
        else:
            self._unkept = False


def body_of(record: Record, event: Event) -> bytes:
    """The event's JSON; of a kind or schema that this version does not know, what was published."""
    if not isinstance(event, Unrecognised):
        return encode(event)
    return record.payload if record.payload[:1] == b"{" else plain_json(event.data)


def _decode(record: Record) -> tuple[Record, Event] | None:
    try:
        return record, decode(record.payload)
    except MalformedError as error:
        log.warning("event %d on %s: %s", record.seq, record.topic, error)
        return None

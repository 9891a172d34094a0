"""Hand-off as a process: listens to all publishers of a site, and publishes what follows from them.

It keeps no place in their journals. When it starts it listens to the last minutes again, so as to know who is
where, and to what was said while it was away, so as to know who left the gallery. It says nothing of them:
what cameras decided while it was away stays as they decided it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from gaitstream.errors import EventError
from gaitstream.events import Event, GalleryChanged, Received, Subscriber
from gaitstream.events.durable import replace_file
from gaitstream.events.identifiers import parse_time
from gaitstream.events.publishing import Publishing
from gaitstream.fleet.handoff import HandOff, HandOffRules
from gaitstream.fleet.transit import TransitState, TransitTimes
from gaitstream.pipeline.backlog import EventBacklog

log = logging.getLogger(__name__)

TOPICS = ("identity/", "track/", "camera/", "gallery")
_WAIT_S = 0.5
_SAVE_EVERY_S = 60.0
_AHEAD_NS = 5_000_000_000
"""A clock that goes before this machine's by more is told."""
Listen = Callable[[int], Subscriber]


class HandOffService:
    """Follows one site until it is stopped.

    Args:
        listen: opens a subscriber to `TOPICS` of all publishers, that begins at a time of publishing (UTC
            nanoseconds).
        publisher: of the corrections.
        rules: what to go by.
        state: file that keeps the learned transit times; None forgets them.

    Attributes:
        taken: events taken in.
        told: corrections and hand-offs published.

    Raises:
        EventError: the file is not one of learned transit times.
    """

    def __init__(
        self, listen: Listen, publisher: Publishing, rules: HandOffRules, state: Path | None = None
    ) -> None:
        self.taken = 0
        self.told = 0
        self._listen = listen
        self._publisher = publisher
        self._backlog: EventBacklog[Event] = EventBacklog(publisher.publish)
        self._rules = rules
        self._path = state
        learned = _read(state)
        self._heard_ns = learned.heard_ns if learned is not None else 0
        self._handing = HandOff(rules, TransitTimes(rules.horizon_s, learned))
        self._ahead: set[str] = set()
        """Publishers of whose clocks it was told."""
        self._stopping = False
        self._saved_s = time.monotonic()

    def run(self) -> None:
        """Follow the site until `stop`."""
        began_ns = time.time_ns()
        since_ns = min(began_ns, self._heard_ns or began_ns) - round(self._rules.horizon_s * 1e9)
        with self._listen(max(0, since_ns)) as subscriber:
            while not self._stopping:
                received = subscriber.receive(_WAIT_S)
                if received is not None:
                    self._take(received, began_ns)
                self._backlog.retry()
                if time.monotonic() - self._saved_s >= _SAVE_EVERY_S:
                    self._save()
        self._backlog.close()
        self._save()

    def stop(self) -> None:
        """Let `run` end soon; from any thread, or a signal handler."""
        self._stopping = True

    def _take(self, received: Received, began_ns: int) -> None:
        event = received.event
        try:
            published_ns = parse_time(event.published_at) if event.published_at else event.time_ns
        except ValueError as error:
            log.warning("an event of publisher %s is left out: %s", received.publisher, error)
            return
        published_ns = self._by_now(published_ns, received.publisher)
        self._heard_ns = max(self._heard_ns, published_ns)
        said = self._handing.take(event, published_ns)
        self.taken += 1
        if isinstance(event, GalleryChanged):
            self._publisher.forget(set(event.removed))
            self._publisher.remember(set(event.added))
        if published_ns >= began_ns:
            for one in said:
                self._backlog.put(one)
            self.told += len(said)

    def _by_now(self, published_ns: int, publisher: str) -> int:
        """No event was published later than now: by a time to come all tracks there are would have ended."""
        now_ns = time.time_ns()
        if published_ns > now_ns + _AHEAD_NS and publisher not in self._ahead:
            self._ahead.add(publisher)
            log.warning(
                "the clock of publisher %s is %.0f s before this machine's: its events count as published "
                "when they come; set the clocks by NTP",
                *(publisher, (published_ns - now_ns) / 1e9),
            )
        return min(published_ns, now_ns)

    def _save(self) -> None:
        """Keep what was learned, whole or not at all; what cannot be kept now is kept later."""
        self._saved_s = time.monotonic()
        if self._path is None:
            return
        try:
            state = msgspec.structs.replace(self._handing.transit.state(), heard_ns=self._heard_ns)
            replace_file(self._path, msgspec.json.encode(state))
        except OSError as error:
            log.error("the transit times cannot be kept in %s: %s", self._path, error)


def _read(path: Path | None) -> TransitState | None:
    if path is None or not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=TransitState)
    except (OSError, ValueError) as error:
        raise EventError(
            f"{path} does not hold transit times ({error}); name another file, or delete it"
        ) from error

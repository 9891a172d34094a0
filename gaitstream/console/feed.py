"""The console's ear on the bus: a subscriber like any other, with a cursor of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gaitstream.console.health import HealthBoard
from gaitstream.console.history import History, StoredEvent
from gaitstream.errors import GaitstreamError
from gaitstream.events import Event, GalleryChanged, Notice, Received, Subscriber

log = logging.getLogger(__name__)
BATCH = 500
"""Most events kept in one transaction."""
GATHER_S = 0.05
"""How long a batch waits for more; a browser sees an event so much later at most."""
LOOK_S = 0.2
"""How soon `close` is noticed."""
RETRY_S = 2.0


@dataclass(frozen=True)
class Bus:
    """Where events come from.

    Attributes:
        endpoints: of the publishers.
        replay: their replay addresses; None for the next port each.
        key: the console's `.key` file, where the publishers ask for one.
        server_keys: the publishers' public keys.
        cursor: the file that says how far the history is.
    """

    endpoints: tuple[str, ...]
    replay: tuple[str, ...] | None = None
    key: Path | None = None
    server_keys: tuple[str, ...] | None = None
    cursor: Path | None = None

    def subscribe(self, on_notice: Callable[[Notice], None]) -> Subscriber:
        """Listen, from where the cursor stands, or else from the journals' beginning."""
        return Subscriber(
            self.endpoints, self.replay, since="beginning", cursor=self.cursor, key=self.key,
            server_key=self.server_keys, on_notice=on_notice,
        )  # fmt: skip


class Feed:
    """Reads the bus in a thread, keeps what comes and hands it on. The cursor moves after the history has it.

    Args:
        bus: where to listen.
        history: where events are kept.
        health: is told of everything.
        publish: called with what was kept, in the feed's thread; after a break with some of it again.
        merged: gives the ids of those who were merged in the gallery, and of whom each is part of.
    """

    def __init__(
        self,
        bus: Bus,
        history: History,
        health: HealthBoard,
        publish: Callable[[Sequence[StoredEvent]], None],
        merged: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._bus = bus
        self._history = history
        self._health = health
        self._publish = publish
        self._merged = merged
        self._over = threading.Event()
        self._subscriber = bus.subscribe(health.note_notice)
        self._thread = threading.Thread(target=self._run, name="gaitstream-console-feed", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._subscriber.close()

    def _run(self) -> None:
        while not self._over.is_set():
            batch = self._gather()
            if batch:
                self._keep(batch)

    def _gather(self) -> list[Received]:
        """The next events: what is there, and what comes in a moment."""
        first = self._subscriber.receive(LOOK_S)
        batch = [first] if first is not None else []
        end_s = time.monotonic() + GATHER_S
        while batch and len(batch) < BATCH:
            received = self._subscriber.receive(max(0.0, end_s - time.monotonic()))
            if received is None:
                break
            batch.append(received)
        return batch

    def _keep(self, batch: Sequence[Received]) -> None:
        """Add a batch to the history, however often it takes, and move the cursor."""
        events = [received.event for received in batch]
        for event in events:
            self._health.note(event)
        while not self._over.is_set():
            try:
                kept = self._add(events)
                self._forget(events)
                self._subscriber.commit()
            except GaitstreamError as error:
                self._health.problem = str(error)
                log.error("events wait to be kept: %s", error)
                self._over.wait(RETRY_S)
                continue
            self._health.problem = ""
            self._publish(kept)
            return

    def _add(self, events: Sequence[Event]) -> list[StoredEvent]:
        """Keep events; one that nothing can hold, from a broken publisher, does not stop the others."""
        try:
            return self._history.add(events)
        except (OverflowError, ValueError, TypeError) as error:
            if len(events) == 1:
                log.error("event %s cannot be kept: %s", events[0].event_id, error)
                return []
            return [kept for event in events for kept in self._add([event])]

    def _forget(self, events: Sequence[Event]) -> None:
        """Whoever left the gallery, by whatever way, leaves the history; who was merged goes on as another.

        Runs of earlier versions tell of somebody merged as of somebody gone.
        """
        for event in events:
            if isinstance(event, GalleryChanged):
                for gone, kept in event.merged:
                    self._history.merge(gone, kept)
                merged = self._merged() if event.removed else {}
                for person in event.removed:
                    into = merged.get(person, "")
                    if into and into not in event.removed:
                        self._history.merge(person, into)
                    else:
                        self._history.forget(person)

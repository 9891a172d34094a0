"""All events of a fleet in one journal, each once, whatever is killed on the way.

Events go into the journal first and the place is saved after; a collector that begins again reads what it
wrote behind the saved place, and goes on there. Names of people who leave the gallery leave the journal, as
they leave those of the workers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import msgspec

from gaitstream.errors import EventError, JournalWriteError
from gaitstream.events import GalleryChanged, Journal, Positions, Received, Subscriber
from gaitstream.events.codec import MalformedError, decode
from gaitstream.events.durable import replace_file
from gaitstream.events.eraser import Eraser
from gaitstream.events.erasing import payload_without_names
from gaitstream.events.reading import wanted

log = logging.getLogger("gaitstream.fleet")

BATCH = 200
SAVE_S = 1.0
TRY_AGAIN_S = 2.0


class CollectorPlace(msgspec.Struct, frozen=True):
    """How far the collector has come.

    Attributes:
        head: last number of its own journal that `positions` covers.
        positions: of the workers' journals.
    """

    head: int
    positions: Positions


class Collector:
    """Writes the events of all workers into one journal.

    Args:
        fleet: URL of the fleet's database.
        journal: folder of the journal.
        topics: prefixes of the topics wanted.
        key: this listener's key, where the workers ask for one.

    Attributes:
        collected: events written since it began.

    Raises:
        GaitstreamError: the fleet cannot be reached, or the journal cannot be opened.
    """

    def __init__(
        self, fleet: str, journal: Path, *, topics: Iterable[str] = ("",), key: Path | None = None
    ) -> None:
        self.collected = 0
        self._journal = Journal(journal)
        self._place = journal / "collected.json"
        self._stopping = threading.Event()
        self._unsaved = False
        self._topics = tuple(topics) or ("",)
        try:
            self._positions, changes = self._recall()
            self._subscriber = Subscriber(
                fleet=fleet,
                topics=(*self._topics, GalleryChanged.family),
                since=Positions(self._positions),
                key=key,
            )
        except BaseException:
            self._journal.close()
            raise
        self._eraser = Eraser(self._journal)
        for change in changes:
            self._erase(change)

    def stop(self) -> None:
        """Return from `run` soon; from any thread or a signal handler."""
        self._stopping.set()

    def run(self, seconds: float | None = None) -> None:
        """Collect until `stop`, or for so long."""
        end_s = None if seconds is None else time.monotonic() + seconds
        save_s = 0.0
        while not self._stopping.is_set() and (end_s is None or time.monotonic() < end_s):
            events = self._receive()
            if events:
                self._write(events)
            if events and time.monotonic() >= save_s:
                self._save()
                save_s = time.monotonic() + SAVE_S

    def close(self) -> None:
        """Save the place and let go of everything."""
        self._save()
        self._subscriber.close()
        self._eraser.close()
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(self) -> list[Received]:
        """What is there, at most a batch; waits a moment for the first."""
        events = list[Received]()
        while len(events) < BATCH:
            received = self._subscriber.receive(0.0 if events else 0.2)
            if received is None:
                break
            events.append(received)
        return events

    def _write(self, events: list[Received]) -> None:
        """On return they are in the journal, or the collector is stopping: then they come again."""
        wanted_ones = [event for event in events if wanted(event.topic, self._topics)]
        while not self._stopping.is_set():
            try:
                if wanted_ones:
                    self._journal.append_many([(one.topic, self._payload(one)) for one in wanted_ones])
            except JournalWriteError as error:
                log.error("%s; trying again", error)
                self._stopping.wait(TRY_AGAIN_S)
                continue
            self.collected += len(wanted_ones)
            for event in events:
                if isinstance(event.event, GalleryChanged):
                    self._erase(event.event)
                note(self._positions, event.publisher, event.epoch, event.seq)
            return

    def _payload(self, received: Received) -> bytes:
        """Without the names of who left the gallery: another worker may tell it before this one."""
        gone = self._eraser.gone
        return payload_without_names(received.payload, gone) if gone else received.payload

    def _erase(self, change: GalleryChanged) -> None:
        self._eraser.remove(change.removed)
        self._eraser.restore(change.added)

    def _save(self) -> None:
        """Keep the place; where that fails, what is behind the last one is read from the journal again."""
        place = CollectorPlace(self._journal.head, Positions(self._positions))
        try:
            self._journal.sync()
            replace_file(self._place, msgspec.json.encode(place))
        except OSError as error:
            if not self._unsaved:
                log.error("%s: the place cannot be kept (%s); collecting goes on", self._place, error)
            self._unsaved = True
        else:
            self._unsaved = False

    def _recall(self) -> tuple[dict[str, dict[str, int]], list[GalleryChanged]]:
        """The saved place, and behind it what the journal itself says; and who left the gallery there."""
        try:
            place = msgspec.json.decode(self._place.read_bytes(), type=CollectorPlace)
        except FileNotFoundError:
            place = CollectorPlace(0, Positions({}))
        except (OSError, ValueError) as error:
            raise EventError(
                f"{self._place}: the place cannot be read ({error}); delete it to read it from the journal"
            ) from error
        positions = {journal: dict(epochs) for journal, epochs in place.positions.publishers.items()}
        changes: list[GalleryChanged] = []
        after = place.head
        while records := self._journal.read(after):
            after = records[-1].seq
            for record in records:
                try:
                    event = decode(record.payload)
                except MalformedError:
                    continue
                note(positions, event.publisher, event.epoch, event.seq)
                if isinstance(event, GalleryChanged):
                    changes.append(event)
        return positions, changes


def note(positions: dict[str, dict[str, int]], journal: str, epoch: str, seq: int) -> None:
    """An event was dealt with; the newest epoch stands last."""
    epochs = positions.setdefault(journal, {})
    if next(reversed(epochs), None) != epoch:
        epochs.pop(epoch, None)
    epochs[epoch] = seq

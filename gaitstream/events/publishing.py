"""What a run needs of its publisher, wherever that runs, and the settings it is opened with."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import msgspec

from gaitstream.addresses import DEFAULT_ENDPOINT, DEFAULT_REPLAY
from gaitstream.errors import EventError
from gaitstream.events.codec import Wire
from gaitstream.events.journal import Journal, Sync
from gaitstream.events.publisher import Publisher
from gaitstream.events.schema import Event


class JournalPlace(Protocol):
    """Which journal, and where."""

    @property
    def id(self) -> bytes:
        """Names it for as long as it lives."""

    @property
    def directory(self) -> Path:
        """Where it lies."""


class Publishing(Protocol):
    """`Publisher`, or `PublisherProcess`, which keeps one in a process of its own."""

    @property
    def journal(self) -> JournalPlace:
        """Where events are kept."""

    @property
    def endpoint(self) -> str:
        """Address of the publishing socket."""

    @property
    def replay(self) -> str:
        """Address of the replay socket."""

    def publish(self, event: Event) -> object:
        """Take an event; on return it is in the journal. JournalWriteError: not now; EventError: never."""

    def publish_payload(self, topic: str, payload: bytes) -> object:
        """`publish` for an encoded event."""

    def forget(self, persons: set[str]) -> None:
        """See `Publisher.forget`."""

    def remember(self, persons: set[str]) -> None:
        """See `Publisher.remember`."""


class PublisherSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A publisher and its journal, before they are opened: see `Journal` and `Publisher`."""

    directory: str
    sync: Sync = "batch"
    keep_bytes: int = 1024 * 1024 * 1024
    keep_s: float | None = None
    endpoint: str = DEFAULT_ENDPOINT
    replay: str = DEFAULT_REPLAY
    wire: Wire = "json"
    keys: str | None = None
    names: bool = True
    insecure: bool = False

    def open(self, gone: Iterable[str] = ()) -> Publisher:
        """Open both in this process.

        Args:
            gone: ids of people whose names were erased already: no event is to have them.

        Raises:
            BusyError: another process writes the journal, or has an address.
            EventError: what else is wrong with them.
        """
        journal = Journal(self.directory, sync=self.sync, keep_bytes=self.keep_bytes, keep_s=self.keep_s)
        try:
            return Publisher(
                journal,
                self.endpoint,
                self.replay,
                wire=self.wire,
                keys=self.keys,
                names=self.names,
                insecure=self.insecure,
                gone=gone,
            )
        except EventError:
            journal.close()
            raise

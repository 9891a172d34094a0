"""Reads a journal's folder from outside, with a cursor of its own, whether or not its owner runs.

This is what sinks and exports use: a consumer that is slow, or whose own consumer is away, costs the run
nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterable
from pathlib import Path
from typing import IO, NamedTuple

from gaitstream.errors import EventError
from gaitstream.events.epochs import KEPT, Epochs
from gaitstream.events.journal import LOCK
from gaitstream.events.positions import Positions
from gaitstream.events.reading import Reader, list_files, wanted
from gaitstream.events.segment import HEADER_BYTES, Record, parse

FAR = 1 << 62
MAX_EPOCHS = 2 * KEPT
"""In a cursor: more than any journal remembers, so that what is read again after a restore is known."""


class RecordBatch(NamedTuple):
    """Events read at once.

    Attributes:
        records: of the topics wanted, in order.
        lost: events that are damaged, or were deleted before they could be read.
        end: nothing more is there now.
    """

    records: list[Record]
    lost: int
    end: bool


class Follower:
    """One consumer of a journal's folder.

    Args:
        directory: the journal's.
        topics: prefixes of the topics wanted.
        since: `now`, `beginning`, or UTC nanoseconds of publishing; counts where there is no cursor yet.
        cursor: a file that `commit` writes, and the beginning where it is not there; None keeps no place.
        exclusive: refuse a cursor that another exclusive follower uses, until `close`.

    Raises:
        EventError: the folder does not exist or is no journal, or the cursor's file is in use, or cannot be
            read or written.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        topics: Iterable[str] = ("",),
        since: str | int = "beginning",
        cursor: str | Path | None = None,
        exclusive: bool = False,
    ) -> None:
        self._lock: IO[str] | None = None
        self.directory = Path(directory)
        if not self.directory.is_dir():
            raise EventError(f"{directory}: there is no journal; give the folder that events.journal names")
        if not _may_be_journal(self.directory):
            raise EventError(
                f"{directory} is no journal of events; give the folder that events.journal names"
            )
        self._topics = tuple(topics) or ("",)
        self._path = Path(cursor) if cursor is not None else None
        if self._path is not None and exclusive:
            self._lock = _lock(self._path)
        saved = Positions.load(self._path) if self._path is not None else None
        self._since_ns = since if isinstance(since, int) and saved is None else 0
        self._cursor: dict[str, int] = {}
        for epochs in saved.publishers.values() if saved is not None else ():
            self._cursor.update(epochs)
        self._reader = Reader(self.directory)
        self._begin(since)

    @property
    def positions(self) -> Positions:
        """How far reading has come."""
        return Positions({self._journal(): dict(self._cursor)})

    def read(self) -> RecordBatch:
        """What comes next, at most about 64 KiB of it; empty when there is nothing now."""
        piece = self._reader.read()
        for record in piece.records:
            self._note(record.epoch, record.seq)
        records = [
            record
            for record in piece.records
            if record.time_ns >= self._since_ns and wanted(record.topic, self._topics)
        ]
        return RecordBatch(records, piece.lost, piece.end)

    def commit_at(self, record: Record) -> None:
        """Save that everything up to a record has been dealt with, and nothing of what was read after it.

        Raises:
            EventError: the cursor's file cannot be written.
        """
        if self._path is None:
            return
        reached = {epoch: seq for epoch, seq in self._cursor.items() if epoch != record.epoch}
        newest = list(self._cursor)
        later = newest[newest.index(record.epoch) + 1 :] if record.epoch in newest else []
        kept = {epoch: seq for epoch, seq in reached.items() if epoch not in later}
        Positions({self._journal(): kept | {record.epoch: record.seq}}).save(self._path)

    def commit(self) -> None:
        """Save that everything read so far has been dealt with.

        Raises:
            EventError: the cursor's file cannot be written.
        """
        if self._path is not None:
            self.positions.save(self._path)

    def close(self) -> None:
        """Let others use the cursor."""
        if self._lock is not None:
            self._lock.close()

    def _begin(self, since: str | int) -> None:
        epochs = read_epochs(self.directory)
        files = list_files(self.directory)
        first = files[0].header.first if files else 1
        self._reader.reached = self._cursor
        if self._cursor:
            self._reader.seek(epochs.start(self._cursor, FAR, first).after)
            return
        if self._since_ns:
            self._reader.seek_time(self._since_ns)
        else:
            self._reader.seek(first - 1)
        if self._since_ns or since == "now":
            self._pass_over()
        if self._path is not None:  # what waits before the first commit must not be passed over by a restart
            if not self._cursor:
                epoch = epochs.at(self._reader.position)
                self._note(epoch, self._reader.position if epoch else 0)
            self.commit()

    def _pass_over(self) -> None:
        """Note what is there already: all of it, or up to the time to begin at."""
        while not (piece := self._reader.read()).end:
            for record in piece.records:
                if self._since_ns and record.time_ns >= self._since_ns:
                    self._reader.seek(record.seq - 1)
                    return
                self._note(record.epoch, record.seq)

    def _note(self, epoch: str, seq: int) -> None:
        if epoch:
            self._cursor.pop("", None)
        if next(reversed(self._cursor), None) != epoch:
            self._cursor.pop(epoch, None)
            while len(self._cursor) >= MAX_EPOCHS:
                del self._cursor[next(iter(self._cursor))]
        self._cursor[epoch] = seq

    def _journal(self) -> str:
        files = list_files(self.directory)
        return files[-1].header.journal.hex() if files else ""


def _may_be_journal(folder: Path) -> bool:
    """Whether a folder has a journal's files, or none yet."""
    try:
        found = [path for path in folder.iterdir() if path.name != "lost+found"]
    except OSError as error:
        raise EventError(f"{folder}: the journal cannot be read ({error.strerror})") from error
    ours = (path.name == LOCK or (path.suffix == ".journal" and path.is_file()) for path in found)
    return not found or any(ours)


def _lock(cursor: Path) -> IO[str]:
    """A file beside the cursor, which itself is replaced at each commit; held as long as it is open."""
    beside = cursor.with_name(f"{cursor.name}.lock")
    try:
        file = beside.open("w")
    except OSError as error:
        raise EventError(f"{cursor}: the cursor cannot be kept there ({error}); give --cursor") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise EventError(f"{cursor}: another sink uses this cursor; give --cursor") from error
    return file


def read_epochs(directory: Path) -> Epochs:
    """The epochs a journal remembers, from its newest file that lists them."""
    for file in reversed(list_files(directory)):
        epochs: Epochs | None = None
        with contextlib.suppress(OSError):
            for _, record in parse(file.path.read_bytes()[HEADER_BYTES:], whole=True).records:
                if not record.topic:
                    with contextlib.suppress(ValueError):
                        epochs = Epochs.decode(record.payload)
                elif epochs is not None:
                    epochs.note(record.epoch, record.seq)
        if epochs is not None:
            return epochs
    return Epochs()

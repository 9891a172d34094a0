"""The durable journal: every event is here before it is on the wire.

A directory of append-only segments (`segment.py` has their layout). Sequence numbers count from 1 per
topic and survive both restarts and the deletion of old segments: each segment begins with the numbers
reached before it.
"""

from __future__ import annotations

import fcntl
import os
import threading
import uuid
from array import array
from pathlib import Path
from typing import Literal

import msgspec

from gaitstream.errors import EventError
from gaitstream.events.segment import HEADER_BYTES, MAGIC, Record, Torn, pack, scan, unpack

Sync = Literal["batch", "always", "never"]
"""`batch`: one fsync for all events waiting, before they go on the wire (no loss on power failure).
`always`: one per event. `never`: leave it to the system (no loss when the process is killed)."""

HEADS_TOPIC = ""
"""Record at the start of a segment that holds the sequence numbers reached before it."""
_OFFSET_BITS = 40


class Journal:
    """Append and read events; one process at a time owns the directory. Safe to use from several threads.

    Args:
        directory: made when missing, with mode 0700.
        sync: when data are forced to the disk.
        segment_bytes: size at which a new file is begun.
        keep_bytes: the oldest files are deleted beyond this total; the newest is always kept.

    Raises:
        EventError: another process has it open, it cannot be written, or an older file is damaged.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        sync: Sync = "batch",
        segment_bytes: int = 16 * 1024 * 1024,
        keep_bytes: int = 1024 * 1024 * 1024,
    ) -> None:
        self.directory = Path(directory)
        self.policy = sync
        self.segment_bytes = segment_bytes
        self.keep_bytes = keep_bytes
        self.torn_bytes = 0
        """Bytes of a torn record cut off when this journal was opened."""
        self._guard = threading.RLock()
        self._heads: dict[str, int] = {}
        self._index: dict[str, array[int]] = {}
        self._number = 0
        self._size = 0
        self._fd = -1
        self._dirty = False
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EventError(
                f"{self.directory}: the journal cannot be written ({error}); set events.journal"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise EventError(
                f"{self.directory}: another process writes this journal; stop it, or set events.journal "
                "to another folder"
            ) from error
        self.id = self._read_id()
        try:
            self._recover()
        except BaseException:
            os.close(self._lock)
            raise

    def append(self, topic: str, payload: bytes) -> Record:
        """Write one event; on return it outlives this process (and, with `always`, a power failure)."""
        with self._guard:
            if self._size >= self.segment_bytes:
                self._rotate()
            record = Record(topic, self._heads.get(topic, 0) + 1, payload)
            self._write(record)
            if self.policy == "always":
                os.fsync(self._fd)
            return record

    def sync(self) -> None:
        """Force what was appended to the disk, unless the policy is `never`."""
        with self._guard:
            dirty, self._dirty = self._dirty, False
            fd = os.dup(self._fd) if dirty and self.policy == "batch" else -1
        if fd >= 0:  # outside the lock: appending goes on meanwhile
            try:
                os.fdatasync(fd)
            finally:
                os.close(fd)

    def read(self, topic: str, after: int = 0, limit: int = 1000) -> list[Record]:
        """Up to `limit` events of a topic with sequence numbers above `after`, in order."""
        with self._guard:
            places = self._index.get(topic, array("Q"))
            first = self._heads.get(topic, 0) - len(places) + 1
            wanted = places[max(0, after + 1 - first) :][:limit]
            return self._load(wanted)

    def heads(self) -> dict[str, int]:
        """The last sequence number by topic."""
        with self._guard:
            return dict(self._heads)

    def firsts(self) -> dict[str, int]:
        """The first sequence number still kept, by topic; head + 1 when none is."""
        with self._guard:
            return {topic: head - len(self._index.get(topic, ())) + 1 for topic, head in self._heads.items()}

    def close(self) -> None:
        """Force everything to the disk and let go of the directory; may be called twice."""
        with self._guard:
            if self._fd >= 0:
                if self.policy != "never":
                    os.fsync(self._fd)
                os.close(self._fd)
                os.close(self._lock)
                self._fd = -1

    def _read_id(self) -> bytes:
        for path in self._segments():
            head = path.read_bytes()[:HEADER_BYTES]
            if len(head) == HEADER_BYTES and head.startswith(MAGIC):
                return head[len(MAGIC) :]
        return uuid.uuid4().bytes

    def _segments(self) -> list[Path]:
        return sorted(self.directory.glob("*.journal"))

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:08d}.journal"

    def _recover(self) -> None:
        paths = self._segments()
        for path in paths:
            self._number = int(path.stem)
            data = path.read_bytes()
            try:
                for offset, record in scan(data):
                    self._note(record, offset)
            except Torn as torn:
                if path != paths[-1]:
                    raise EventError(
                        f"{path} is damaged at byte {torn.offset}; restore it from a copy, or move the "
                        f"folder {self.directory} away to begin a new journal"
                    ) from torn
                self._cut(path, data, torn.offset)
        if paths and paths[-1].exists():
            self._fd = os.open(paths[-1], os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            self._size = os.fstat(self._fd).st_size
        else:
            self._rotate()

    def _cut(self, path: Path, data: bytes, offset: int) -> None:
        """Truncate a torn tail; what was cut is kept beside the file."""
        self.torn_bytes = len(data) - offset
        if offset < HEADER_BYTES:
            path.unlink()
            return
        path.with_suffix(".torn").write_bytes(data[offset:])
        os.truncate(path, offset)

    def _note(self, record: Record, offset: int) -> None:
        if record.topic == HEADS_TOPIC:
            for topic, head in msgspec.json.decode(record.payload, type=dict[str, int]).items():
                self._heads.setdefault(topic, head)
            return
        self._heads[record.topic] = record.seq
        places = self._index.setdefault(record.topic, array("Q"))
        places.append(self._number << _OFFSET_BITS | offset)

    def _write(self, record: Record) -> None:
        data = pack(record)
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            raise EventError(
                f"{self._path(self._number)}: the journal cannot be written ({error})"
            ) from error
        if written != len(data):
            os.ftruncate(self._fd, self._size)
            raise EventError(
                f"{self._path(self._number)}: the disk is full; free space or move events.journal"
            )
        self._note(record, self._size)
        self._size += len(data)
        self._dirty = True

    def _rotate(self) -> None:
        if self._fd >= 0:
            os.fsync(self._fd)
            os.close(self._fd)
        self._number += 1
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._fd = os.open(self._path(self._number), flags, 0o600)
        os.write(self._fd, MAGIC + self.id)
        self._size = HEADER_BYTES
        self._write(Record(HEADS_TOPIC, 0, msgspec.json.encode(self._heads)))
        self._sync_directory()
        self._forget()

    def _sync_directory(self) -> None:
        if self.policy != "never":
            folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _forget(self) -> None:
        """Delete the oldest segments beyond `keep_bytes` and what the index says of them."""
        sizes = [(path, path.stat().st_size) for path in self._segments()]
        total = sum(size for _, size in sizes)
        oldest = self._number
        for path, size in sizes[:-1]:
            if total <= self.keep_bytes:
                oldest = int(path.stem)
                break
            path.unlink()
            total -= size
        bound = oldest << _OFFSET_BITS
        for topic, places in self._index.items():
            if places and places[0] < bound:
                self._index[topic] = array("Q", (place for place in places if place >= bound))

    def _load(self, places: array[int]) -> list[Record]:
        records: list[Record] = []
        number, fd = -1, -1
        try:
            for place in places:
                if place >> _OFFSET_BITS != number:
                    if fd >= 0:
                        os.close(fd)
                    number = place >> _OFFSET_BITS
                    fd = os.open(self._path(number), os.O_RDONLY | os.O_CLOEXEC)
                records.append(self._load_one(fd, place & ((1 << _OFFSET_BITS) - 1)))
        finally:
            if fd >= 0:
                os.close(fd)
        return records

    def _load_one(self, fd: int, offset: int) -> Record:
        size = int.from_bytes(os.pread(fd, 4, offset), "big")
        try:
            return unpack(os.pread(fd, 8 + size, offset), 0)[0]
        except Torn as torn:
            raise EventError(f"{self.directory}: an event was damaged after it was written") from torn

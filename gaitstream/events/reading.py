"""Reading a journal's directory, by its owner or by another process while the owner writes.

A `Reader` goes forward from a number or a time. It never fails over what it finds: damaged records and files
that are gone are skipped and counted, and an incomplete record at the very end is left until it is whole.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from gaitstream.events.segment import (
    FRAME_BYTES,
    HEADER_BYTES,
    MARK,
    MAX_BODY_BYTES,
    Header,
    Record,
    parse,
    unpack_header,
)

PIECE_BYTES = 64 * 1024
"""Read at a time: what one client can make the process hold, and how long it holds the interpreter."""
_LARGEST = 2 * MAX_BODY_BYTES
MARK_EVERY = 64
ANCHOR_BYTES = 40
"""Of the last record read: where they are not in their place any more, the file is another one."""


class File(NamedTuple):
    """One segment."""

    number: int
    path: Path
    header: Header


class Piece(NamedTuple):
    """What one read gave.

    Attributes:
        records: in order.
        lost: numbers passed over because their records are damaged or gone.
        end: nothing more is there now.
    """

    records: list[Record]
    lost: int
    end: bool


Marks = dict[int, list[tuple[int, int]]]
"""By segment, some sequence numbers with their offsets, rising."""


def segment_path(directory: Path, number: int) -> Path:
    """Where a segment lies."""
    return directory / f"{number:08d}.journal"


def list_files(directory: Path) -> list[File]:
    """The segments of a directory in order; files without a readable record are left out."""
    found = []
    for path in sorted(directory.glob("*.journal")):
        header = read_header(path) if path.stem.isdecimal() else None
        if header is not None:
            found.append(File(int(path.stem), path, header))
    return found


def read_header(path: Path) -> Header | None:
    """A segment's header, or what its first record says where the header is damaged."""
    try:
        with path.open("rb") as file:
            header = unpack_header(file.read(HEADER_BYTES))
            if header is None and (records := parse(file.read(), whole=True).records):
                header = Header(b"", records[0][1].seq, records[0][1].time_ns)
    except OSError:
        return None
    return header


class _ReplacedError(Exception):
    """The file being read belongs to another history of the journal."""


class Reader:
    """Goes forward through a journal.

    Args:
        directory: the journal's.
        files: gives the segments there are; by default the directory is listed.
        marks: known places, shared by all readers of one owner.

    Attributes:
        position: the last number read or passed.
        reached: the last number that the caller has of each epoch, where the directory may be cut or restored
            from a copy while it is read: what is in it then is read from its beginning, and what is had
            already is passed over. None where that cannot be.
    """

    def __init__(
        self,
        directory: Path,
        *,
        files: Callable[[], list[File]] | None = None,
        marks: Marks | None = None,
    ) -> None:
        self._directory = directory
        self._list = files or (lambda: list_files(directory))
        self._marks: Marks = {} if marks is None else marks
        self.position = 0
        self.reached: Mapping[str, int] | None = None
        self._number = -1
        self._oldest = -1
        self._offset = HEADER_BYTES
        self._head = b""
        self._anchor: tuple[int, bytes] = (0, b"")

    def seek(self, after: int) -> None:
        """Go on behind a number."""
        self.position = after
        files = self._list()
        index = bisect_right([file.header.first for file in files], after + 1) - 1
        self._enter(files, max(0, index))
        self._skip(after)

    def seek_time(self, time_ns: int) -> None:
        """Go to the first file that can hold events published at or after a time."""
        files = self._list()
        index = 0
        while index + 1 < len(files) and files[index + 1].header.created_ns <= time_ns:
            index += 1
        self._enter(files, index)
        self.position = files[index].header.first - 1 if files else 0

    def read(self, limit: int | None = None) -> Piece:
        """The next records, at most about `PIECE_BYTES` of them and none numbered above `limit`."""
        if self._number < 0:
            return self._next_file()
        try:
            data, last = self._load(PIECE_BYTES)
        except _ReplacedError:
            return self._start_over(self._list())
        except OSError:
            return self._next_file()
        parsed = parse(data, whole=last and self._has_follower())
        if not parsed.records and parsed.end == 0 and not last:  # one record larger than a piece
            data, last = self._load(_LARGEST)
            parsed = parse(data, whole=last and self._has_follower())
        base = self._offset
        records: list[Record] = []
        lost = 0
        for offset, record in parsed.records:
            if limit is not None and record.seq > limit:
                self._offset, self._anchor = base + offset, (0, b"")
                return Piece(records, lost, end=True)
            if not record.topic:
                continue
            if self._is_passed(record):
                self.position = max(self.position, record.seq)
                continue
            lost += max(0, record.seq - self.position - 1)
            self.position = record.seq
            records.append(record)
        if parsed.records:
            at = parsed.records[-1][0]
            self._anchor = (base + at, data[at : at + ANCHOR_BYTES])
        self._offset = base + parsed.end
        if records or not last:
            return Piece(records, lost, end=False)
        return self._next_file()

    def _is_passed(self, record: Record) -> bool:
        if self.reached is None:
            return record.seq <= self.position
        return record.seq <= self.reached.get(record.epoch, 0)

    def _load(self, size: int) -> tuple[bytes, bool]:
        """Bytes from where reading stands, and whether they reach the file's end.

        Raises:
            _ReplacedError: another history has its file here; what lies in front of it may be new too.
        """
        fd = os.open(segment_path(self._directory, self._number), os.O_RDONLY | os.O_CLOEXEC)
        try:
            length = os.fstat(fd).st_size
            at, before = self._anchor
            if length < self._offset or os.pread(fd, len(before), at) != before:
                if self.reached is not None and os.pread(fd, HEADER_BYTES, 0) != self._head:
                    raise _ReplacedError
                # The same file with other records: written anew to erase a name, or restored from a copy.
                self._offset, self._anchor = HEADER_BYTES, (0, self._head)
            data = os.pread(fd, size, self._offset)
            return data, self._offset + len(data) >= length
        finally:
            os.close(fd)

    def _has_follower(self) -> bool:
        return any(file.number > self._number for file in self._list())

    def _next_file(self) -> Piece:
        """Enter the next segment; what its first number leaves out is lost."""
        files = self._list()
        following = [file for file in files if file.number > self._number]
        if self.reached is not None and files:
            if files[-1].number < self._number or files[0].number < self._oldest:
                return self._start_over(files)
            self._oldest = files[0].number
        if not following:
            return Piece([], 0, end=True)
        lost = 0
        if following[0].header.first > self.position + 1 and self.position >= 0:
            lost = following[0].header.first - 1 - self.position
            self.position = following[0].header.first - 1
        self._enter(files, len(files) - len(following))
        return Piece([], lost, end=False)

    def _start_over(self, files: list[File]) -> Piece:
        """Begin with the first file: the directory was restored from a copy."""
        self._enter(files, 0)
        self.position = files[0].header.first - 1 if files else 0
        return Piece([], 0, end=False)

    def _enter(self, files: list[File], index: int) -> None:
        """Go to the beginning of one of the files; where there are none, of the first that comes."""
        self._oldest = files[0].number if files else -1
        self._number, self._offset = files[index].number if files else -1, HEADER_BYTES
        self._head = _bytes_at(segment_path(self._directory, self._number), 0, HEADER_BYTES)
        self._anchor = (0, self._head)

    def _skip(self, after: int) -> None:
        """Go near a number inside the segment, by known places."""
        if self._number < 0:
            return
        places = self._marks.get(self._number)
        if places is None:  # the owner may drop it meanwhile
            places = self._marks[self._number] = _walk(segment_path(self._directory, self._number))
        index = bisect_right(places, (after + 1, 1 << 62)) - 1
        if index >= 0:
            at = places[index][1]
            self._offset = at
            self._anchor = (at, _bytes_at(segment_path(self._directory, self._number), at, ANCHOR_BYTES))


def _bytes_at(path: Path, offset: int, size: int) -> bytes:
    """Some bytes of a file; fewer where it ends, or cannot be read."""
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            return file.read(size)
    except OSError:
        return b""


def _walk(path: Path) -> list[tuple[int, int]]:
    """Some numbers of a file with their offsets, found by the lengths alone, up to the first damage."""
    places: list[tuple[int, int]] = []
    try:
        data = path.read_bytes()
    except OSError:
        return []
    offset, count = HEADER_BYTES, 0
    while data[offset : offset + 4] == MARK and offset + FRAME_BYTES + 8 <= len(data):
        if count % MARK_EVERY == 0:
            seq = int.from_bytes(data[offset + FRAME_BYTES : offset + FRAME_BYTES + 8], "big")
            if places and seq < places[-1][0]:
                break
            places.append((seq, offset))
        offset += FRAME_BYTES + int.from_bytes(data[offset + 4 : offset + 8], "big")
        count += 1
    return places


def wanted(topic: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a topic begins with one of the prefixes."""
    return topic.startswith(prefixes)

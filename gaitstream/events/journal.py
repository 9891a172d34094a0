"""The durable journal: every event is here before it is on the wire.

A directory of append-only segments (`segment.py` has their layout). Sequence numbers count from 1 through the
whole journal and survive restarts and the deletion of old segments; each opening begins a new epoch
(`epochs.py`). Nothing found in the directory is cut or refused: what cannot be read is passed over and told.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from gaitstream.errors import BusyError, EventError, JournalWriteError
from gaitstream.events.durable import sync_folder
from gaitstream.events.epochs import Epochs
from gaitstream.events.migration import migrate
from gaitstream.events.reading import MARK_EVERY, File, Marks, Reader, list_files, segment_path, wanted
from gaitstream.events.segment import (
    HEADER_BYTES,
    Header,
    Record,
    pack,
    pack_event,
    pack_header,
    parse,
    record_of,
)

log = logging.getLogger(__name__)

Sync = Literal["batch", "always", "never"]
"""`batch`: one fsync for all events waiting, before they go on the wire (no loss on power failure).
`always`: one per event. `never`: leave it to the system (no loss when the process is killed)."""

LOCK = "lock"
EPOCHS_TOPIC = ""
"""Records with this topic list the epochs; no subscriber sees them."""
ROOM_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
DAY_S = 86_400.0
STEADY_S = 600.0
"""Nothing is deleted for its age until the clock has run evenly for so long."""
STEP_S = 60.0
"""From which difference on the clock was set, and did not just drift."""
_pwrite = os.pwrite


class Journal:
    """Append and read events; one process at a time owns the directory. Safe to use from several threads.

    Args:
        directory: made when missing, with mode 0700.
        sync: when data are forced to the disk.
        segment_bytes: size at which a new file is begun.
        keep_bytes: the oldest files are deleted beyond this total; the newest is always kept.
        keep_s: files with nothing younger than this are deleted, once the clock has run evenly for ten
            minutes; None keeps them whatever their age.
        clock: UTC nanoseconds.
        monotonic: seconds that nobody sets.

    Attributes:
        id: 16 bytes that name this journal for as long as it lives.
        epoch: name of this opening of it; another one where `expire` finds the folder replaced.
        head: the last number given.
        damaged: stretches of the newest file that could not be read when it was opened.

    Raises:
        EventError: another process has it open, or the directory cannot be made.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        sync: Sync = "batch",
        segment_bytes: int = 16 * 1024 * 1024,
        keep_bytes: int = 1024 * 1024 * 1024,
        keep_s: float | None = None,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = Path(directory)
        self.policy = sync
        self.segment_bytes = segment_bytes
        self.keep_bytes = keep_bytes
        self.keep_s = keep_s
        self.damaged = 0
        self.guard = threading.RLock()
        """Held while a number is given and written; a caller may hold it over both."""
        self._clock = clock
        self._monotonic = monotonic
        self._steady_from_s = monotonic()
        self._ahead_s = clock() / 1e9 - self._steady_from_s
        self._fd = -1
        self._size = 0
        self.head = 0
        self._dirty = False
        self._closed = False
        self._rewriting = threading.Lock()
        self._epochs = Epochs()
        self._marks: Marks = {}
        self._files: list[File] = []
        self._last_number = 0
        self._away = ""
        self.id = b""
        self._lock = self._take_lock()
        try:
            _remove_unfinished(self.directory)
            self._open()
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def first(self) -> int:
        """The first number still kept; `head + 1` when none is."""
        with self.guard:
            return self._files[0].header.first if self._files else self.head + 1

    @property
    def epochs(self) -> Epochs:
        """Which numbers were given when."""
        return self._epochs

    def append(self, topic: str, payload: bytes, time_ns: int | None = None) -> Record:
        """Write one event; on return it outlives this process (and, with `always`, a power failure).

        Args:
            topic: not empty.
            payload: the encoded event.
            time_ns: UTC nanoseconds of publishing; None takes the clock.

        Raises:
            JournalWriteError: there is no room, or the disk fails; nothing was written. Try again later.
        """
        with self.guard:
            return self.append_guarded(topic, payload, self._clock() if time_ns is None else time_ns)

    def append_guarded(self, topic: str, payload: bytes, time_ns: int) -> Record:
        """`append` for a caller who holds `guard`, as who must know the number before the payload does."""
        offset = self._size
        if offset >= self.segment_bytes or self._fd < 0 or self._unwritten_epoch:
            self._prepare(time_ns)
            offset = self._size
        seq = self.head + 1
        self._write(pack_event(topic, seq, payload, time_ns, self._epoch_bytes), offset)
        self.head = seq
        if seq % MARK_EVERY == 0:
            self._marks[self._files[-1].number].append((seq, offset))
        return record_of((topic, seq, payload, time_ns, self.epoch))

    def append_many(self, events: Sequence[tuple[str, bytes]], time_ns: int | None = None) -> list[Record]:
        """`append` for several events at once: all of them are written, or none.

        Raises:
            JournalWriteError: as for `append`.
        """
        with self.guard:
            stamp = self._clock() if time_ns is None else time_ns
            self._prepare(stamp)
            seq, offset, epoch = self.head, self._size, self.epoch
            records, parts = list[Record](), list[bytes]()
            marks = self._marks[self._files[-1].number]
            new_marks = list[tuple[int, int]]()
            for topic, payload in events:
                seq += 1
                data = pack_event(topic, seq, payload, stamp, self._epoch_bytes)
                if seq % MARK_EVERY == 0:
                    new_marks.append((seq, offset))
                offset += len(data)
                records.append(record_of((topic, seq, payload, stamp, epoch)))
                parts.append(data)
            self._write(parts[0] if len(parts) == 1 else b"".join(parts), self._size)
            marks += new_marks
            self.head = seq
            return records

    def _prepare(self, now_ns: int) -> None:
        """A file with room, and the list of epochs in it."""
        if self._size >= self.segment_bytes or self._fd < 0:
            self._rotate(now_ns)
        if self._unwritten_epoch:
            self._write_epoch()

    def sync(self) -> None:
        """Force what was appended to the disk, unless the policy is `never`.

        Raises:
            OSError: the disk fails.
        """
        with self.guard:
            dirty, self._dirty = self._dirty, False
            fd = os.dup(self._fd) if dirty and self.policy == "batch" and self._fd >= 0 else -1
        if fd >= 0:  # outside the lock: appending goes on meanwhile
            try:
                os.fdatasync(fd)
            finally:
                os.close(fd)

    def reader(self) -> Reader:
        """A reader of this journal, to be used from one thread."""
        return Reader(self.directory, files=self.files, marks=self._marks)

    def files(self) -> list[File]:
        """The segments, oldest first."""
        with self.guard:
            return list(self._files)

    def read(self, after: int = 0, *, prefixes: Iterable[str] = ("",), limit: int = 1000) -> list[Record]:
        """Up to `limit` events numbered above `after`, of topics that begin with one of the prefixes."""
        reader, found = self.reader(), list[Record]()
        chosen = tuple(prefixes)
        reader.seek(after)
        while len(found) < limit:
            piece = reader.read()
            found += [record for record in piece.records if wanted(record.topic, chosen)]
            if piece.end:
                break
        return found[:limit]

    def expire(self) -> None:
        """Delete what is beyond `keep_bytes` or `keep_s`; call it about once a second.

        Where the folder was deleted, moved or replaced meanwhile, writing goes on in the one that is there
        now, in a new epoch; if another process writes that one, `append` raises until it does no more.
        """
        with self.guard:
            if self._closed:
                return
            if not self._is_in_place():
                self._move_in()
            if self.keep_s is not None and self._files and self.head >= self._files[-1].header.first:
                age_s = (self._clock() - self._files[-1].header.created_ns) / 1e9
                if not 0 <= age_s <= min(DAY_S, self.keep_s / 2) and self._is_steady():
                    with contextlib.suppress(EventError):
                        self._rotate(self._clock())
            self._forget()

    def rewrite(self, change: Callable[[Record], bytes], to: int | None = None) -> int:
        """Give events another payload, to erase a name: every file that changes is written anew.

        Args:
            change: the payload to keep; the record's own where nothing changes. Whatever it raises ends this.
            to: files that begin behind this number are not looked at; None looks at all of them.

        Returns:
            Events that changed.

        Raises:
            JournalWriteError: no room for the new file, or it cannot be read; those before it are done.
            EventError: the journal is closed, or was while this went on.
        """
        with self._rewriting:
            with self.guard:
                last = self.head if to is None else min(to, self.head)
                if self._files and last >= self._files[-1].header.first:
                    self._rotate(self._clock(), must=True)
                files = [file for file in self._files[:-1] if file.header.first <= last]
            return sum(self._rewrite_file(file, change) for file in files)

    def close(self) -> None:
        """Force everything to the disk and let go of the directory; may be called twice.

        A `rewrite` that goes on in another thread ends with the file it is at.
        """
        self._closed = True
        with self._rewriting, self.guard:
            if self._lock < 0:
                return
            self._let_go()

    def _let_go(self) -> None:
        """Close the file in use, and give up the lock."""
        if self._fd >= 0:
            if self.policy != "never":
                with contextlib.suppress(OSError):
                    os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _is_in_place(self) -> bool:
        """Whether the lock held and the file in use are those of the folder."""
        if self._lock < 0 or not _is_at(self._lock, self.directory / LOCK):
            return False
        return self._fd < 0 or _is_at(self._fd, self._files[-1].path)

    def _move_in(self) -> None:
        """Go on in the folder that is there now, as after a restart; the numbers go on from ours."""
        self._last_number = max([self._last_number, *(file.number for file in self._files)])
        self._let_go()
        self._files = []
        self._marks.clear()
        try:
            self._lock = self._take_lock()
            self._open()
        except (EventError, OSError) as error:
            self._let_go()
            self._files = []
            if not self._away:
                log.error("%s: it was deleted or replaced; no event can be kept: %s", self.directory, error)
            self._away = str(error)
            return
        self._away = ""
        log.warning(
            "%s: the folder, or a file in use, was deleted or replaced; writing goes on in what is there, "
            "behind number %d",
            self.directory,
            self.head,
        )

    def _open(self) -> None:
        """Learn what the folder holds, and begin an epoch behind it."""
        migrate(self.directory)
        self._files = list_files(self.directory)
        self.id = self.id or next((f.header.journal for f in reversed(self._files) if f.header.journal), b"")
        self.id = self.id or uuid.uuid4().bytes
        self._recover()
        self.epoch = self._epochs.begin(self.head + 1)
        self._epoch_bytes = bytes.fromhex(self.epoch)
        self._unwritten_epoch = True
        with contextlib.suppress(EventError):  # a full disk refuses events, not the start
            self._write_epoch()

    def _take_lock(self) -> int:
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EventError(
                f"{self.directory}: the journal cannot be written ({error}); set events.journal"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise BusyError(
                f"{self.directory}: another process writes this journal; stop it, or set events.journal "
                "to another folder"
            ) from error
        return lock

    def _recover(self) -> None:
        """Learn numbers and epochs from the newest file that holds any, and go on behind its end."""
        known = self._epochs
        self.head = max([self.head, *(file.header.first - 1 for file in self._files)])
        for file in reversed(self._files):
            data = file.path.read_bytes()
            parsed = parse(data[HEADER_BYTES:], whole=True)
            places = self._marks.setdefault(file.number, [])
            epoch = ""
            for offset, record in parsed.records:
                if record.topic == EPOCHS_TOPIC:
                    with contextlib.suppress(ValueError):
                        self._epochs = Epochs.decode(record.payload)
                else:
                    places.append((record.seq, offset + HEADER_BYTES))
                    self.head = max(self.head, record.seq)
                    if record.epoch != epoch:
                        epoch = record.epoch
                        self._epochs.note(epoch, record.seq)
            self._marks[file.number] = places[::MARK_EVERY]
            if file is self._files[-1]:
                self.damaged = parsed.damaged
            if parsed.records:
                break
        self._epochs.join(known)
        _remove_empty(self.directory)
        if (
            self._files
            and self._files[-1].number + 1 == self._next_number()
            and self._files[-1].header.journal == self.id
        ):
            self._fd = os.open(self._files[-1].path, os.O_RDWR | os.O_CLOEXEC)
            self._size = os.fstat(self._fd).st_size

    def _write_epoch(self) -> None:
        """The list of epochs, at the start of an opening and of a file."""
        if self._fd < 0:
            self._rotate(self._clock())
            return
        epochs = Record(EPOCHS_TOPIC, self.head + 1, self._epochs.encode(), self._clock(), self.epoch)
        self._write(pack(epochs), self._size)
        self._unwritten_epoch = False

    def _write(self, data: bytes, end: int) -> None:
        """Write behind the `end` of the file in use, whole or not at all."""
        size = len(data)
        try:
            if _pwrite(self._fd, data, end) != size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self.policy == "always":
                os.fdatasync(self._fd)
        except OSError as error:
            with contextlib.suppress(OSError):  # else the next write goes over it
                os.ftruncate(self._fd, end)
            raise _write_error(segment_path(self.directory, self._files[-1].number), error) from error
        self._size = end + size
        self._dirty = True

    def _rotate(self, now_ns: int, *, must: bool = False) -> None:
        """Begin a new file; where there is no room for it the old one is used further, if there is one."""
        if self._lock < 0:
            raise JournalWriteError(self._away)
        number = self._next_number()
        path = segment_path(self.directory, number)
        first = self.head + 1
        start = pack_header(Header(self.id, first, now_ns)) + pack(
            Record(EPOCHS_TOPIC, first, self._epochs.encode(), now_ns, self.epoch)
        )
        try:
            self._check_open()
            fd = _create(path, start, sync=self.policy != "never")
        except OSError as error:
            if self._fd >= 0 and not must:
                return
            raise _write_error(path, error) from error
        if self._fd >= 0:
            if self.policy != "never":
                with contextlib.suppress(OSError):
                    os.fsync(self._fd)
            os.close(self._fd)
        self._fd, self._size = fd, len(start)
        self._unwritten_epoch = False
        self._files.append(File(number, path, Header(self.id, first, now_ns)))
        self._marks[number] = []
        self._sync_directory()
        self._forget()

    def _next_number(self) -> int:
        names = (int(path.stem) for path in self.directory.glob("*.journal") if path.stem.isdecimal())
        return max([self._last_number, *names]) + 1

    def _sync_directory(self) -> None:
        if self.policy != "never":
            sync_folder(self.directory)

    def _forget(self) -> None:
        """Delete the oldest segments beyond what is to be kept; the newest always stays."""
        sizes = [_size(file.path) for file in self._files]
        total = sum(sizes)
        for size in sizes[:-1]:
            if total <= self.keep_bytes and not self._is_too_old():
                return
            file = self._files.pop(0)
            self._marks.pop(file.number, None)
            with contextlib.suppress(OSError):
                file.path.unlink()
            total -= size

    def _is_too_old(self) -> bool:
        """Whether all events of the oldest file are: it ended when the next one was begun.

        Files begun while the clock was wrong, in the future or earlier than the file before, do not tell.
        """
        if self.keep_s is None or not self._is_steady():
            return False
        now_ns = self._clock()
        begun, *later = (file.header.created_ns for file in self._files)
        ended = next((at for at in later if at <= now_ns and (at >= begun or begun > now_ns)), now_ns)
        return ended < now_ns - self.keep_s * 1e9

    def _is_steady(self) -> bool:
        """Whether the clock has run evenly for a while; a step, or a new process, begins it anew."""
        now_s = self._monotonic()
        ahead_s = self._clock() / 1e9 - now_s
        if abs(ahead_s - self._ahead_s) > STEP_S:
            self._ahead_s, self._steady_from_s = ahead_s, now_s
        return now_s - self._steady_from_s >= STEADY_S

    def _rewrite_file(self, file: File, change: Callable[[Record], bytes]) -> int:
        self._check_open()
        try:
            data = file.path.read_bytes()
        except FileNotFoundError:
            return 0  # deleted meanwhile
        except OSError as error:
            raise _write_error(file.path, error) from error
        changed, parts = 0, [data[:HEADER_BYTES]]
        for _, record in parse(data[HEADER_BYTES:], whole=True).records:
            payload = change(record) if record.topic else record.payload
            changed += payload != record.payload
            parts.append(pack(record._replace(payload=payload)))
        if not changed:
            return 0
        beside = file.path.with_suffix(".new")
        try:
            beside.unlink(missing_ok=True)
            os.close(_create(beside, b"".join(parts), sync=True))
            with self.guard:
                if file not in self._files:
                    beside.unlink()
                    return 0
                beside.replace(file.path)
                self._marks.pop(file.number, None)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise _write_error(beside, error) from error
        self._sync_directory()
        return changed

    def _check_open(self) -> None:
        if self._closed:
            raise EventError(f"{self.directory}: the journal is closed")


def _create(path: Path, data: bytes, *, sync: bool) -> int:
    """Make a private file with this content; nothing stays of it when there is no room."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if os.pwrite(fd, data, 0) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if sync:
            os.fsync(fd)
    except OSError:
        os.close(fd)
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return fd


def _is_at(fd: int, path: Path) -> bool:
    """Whether an open file is the one at a path; also where that cannot be told."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _remove_unfinished(directory: Path) -> None:
    """What was being written in place of a file when the process was killed."""
    for path in directory.glob("*.new"):
        if path.stem.isdecimal():
            with contextlib.suppress(OSError):
                path.unlink()


def _remove_empty(directory: Path) -> None:
    """Files too short for a single record: a full disk left them when a file was begun."""
    for path in directory.glob("*.journal"):
        with contextlib.suppress(OSError):
            if path.stat().st_size <= HEADER_BYTES:
                path.unlink()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _write_error(path: Path, error: OSError) -> JournalWriteError:
    if error.errno in ROOM_ERRORS:
        return JournalWriteError(
            f"{path}: no room for the journal ({error.strerror}); free space or move events.journal",
            full=True,
        )
    return JournalWriteError(f"{path}: the journal cannot be written ({error})")

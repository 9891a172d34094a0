"""The embedded store: one SQLite file in WAL mode with mode 0600.

A process that is killed at any moment leaves it readable, others read while one writes, and deleted rows are
overwritten (`secure_delete`). Opening and reading take no write lock. A file that was moved away, replaced or
copied over is noticed and opened again. Whoever writes holds a lock on `<file>.lock`, so that the file can be
replaced by a copy without its deleted rows (`gaitstream.gallery.rewrite`) and no writer is lost.
"""

from __future__ import annotations

import glob
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gaitstream.errors import GalleryError, MissingGalleryError
from gaitstream.gallery.migrate import migrate
from gaitstream.gallery.rewrite import drop_unfinished, finish_rewrite, rewrite, swap_of
from gaitstream.gallery.room import no_room
from gaitstream.gallery.sql import SqlTransaction
from gaitstream.gallery.stores import file_of

APPLICATION_ID = 0x47414954  # "GAIT"
SCHEMA = 5
"""1 kept a threshold and a margin by the rule of thumb alone, 1 and 2 no checksums, 1 to 3 names in clear,
1 to 4 no sightings."""
BUSY_S = 10.0
"""How long a writer waits for another."""
POLL_S = 0.2
TABLES = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE person (
    id INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE, lookup BLOB NOT NULL UNIQUE,
    record BLOB NOT NULL
);
CREATE TABLE model (
    name TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, parts INTEGER NOT NULL, dim INTEGER NOT NULL,
    calibration BLOB
);
CREATE TABLE template (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    person INTEGER NOT NULL REFERENCES person(id) ON DELETE CASCADE,
    model TEXT NOT NULL REFERENCES model(name),
    created_ns INTEGER NOT NULL, source BLOB NOT NULL, checksum INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX template_by_person ON template (person, model);
CREATE INDEX template_by_model ON template (model, id);
CREATE TABLE picture (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    person INTEGER NOT NULL REFERENCES person(id) ON DELETE CASCADE,
    created_ns INTEGER NOT NULL, checksum INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX picture_by_person ON picture (person);
CREATE TABLE sighting (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    person INTEGER NOT NULL REFERENCES person(id) ON DELETE CASCADE,
    seen_ns INTEGER NOT NULL, checksum INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX sighting_by_person ON sighting (person);
CREATE INDEX sighting_by_time ON sighting (seen_ns);
CREATE TABLE change (sequence INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT NOT NULL, person TEXT NOT NULL);
CREATE TABLE audit (number INTEGER PRIMARY KEY, line BLOB NOT NULL);
"""


class SqliteStore:
    """See `gaitstream.gallery.base.Store`.

    Args:
        url: `sqlite:` and a path; `sqlite:///` and an absolute one.
        create: make the file when missing.

    Raises:
        MissingGalleryError: there is no such file, and `create` is False.
        GalleryError: it is no gallery of this version, or cannot be opened.
    """

    def __init__(self, url: str, *, create: bool = False) -> None:
        path = file_of(url)
        if path is None or not str(url).removeprefix("sqlite:").strip("/"):
            raise GalleryError(f"{url!r} names no file; give the gallery's file, such as people.gallery")
        self.path = path
        self.url = str(path)
        self._lock = FileLock(f"{path}.lock", timeout=BUSY_S, mode=0o600)
        self._db: sqlite3.Connection | None = None
        self._identity: tuple[int, int, int] | None = None
        if path.exists() and not path.is_file():
            raise GalleryError(f"{path} is no file; give the gallery's file, such as people.gallery")
        made = False
        if not path.exists() and not self._unfinished():
            if not create:
                raise MissingGalleryError(
                    f"{path}: no such gallery; make one with "
                    "'gaitstream enroll --person NAME --video FILE --cameras FILE'"
                )
            self._make_file()
            made = True
        elif path.exists() and not path.stat().st_size and self._key().exists():
            create = False
        self._may_make = create
        try:
            with self._explained():
                self._connect()
        except BaseException:
            if made and not path.stat().st_size:
                path.unlink()
            raise
        self._may_make = False

    @contextmanager
    def reading(self) -> Iterator[SqlTransaction]:
        """See `Store`."""
        with self._explained():
            db = self._connection()
            db.execute("BEGIN")
            try:
                yield SqlTransaction(db.execute)
            finally:
                db.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[SqlTransaction]:
        """See `Store`."""
        with self._explained(), self._lock:
            db = self._connection()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield SqlTransaction(db.execute)
                db.execute("COMMIT")
                _empty_log(db)
                self._identity = self._identify()
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def wait(self, seconds: float) -> None:
        """See `Store`."""
        deadline_s = time.monotonic() + seconds
        before = self._version()
        while (left_s := deadline_s - time.monotonic()) > 0:
            time.sleep(min(POLL_S, left_s))
            if self._version() != before:
                return

    def purge(self) -> list[str]:
        """See `Store`; where a reader holds on to deleted rows, a copy without them replaces the file."""
        with self._explained(), self._lock:
            db = self._connection()
            drop_unfinished(self.path)
            if not _empty_log(db):
                rewrite(db, self.path)
                self._drop_connection()
                self._connect()
        return []

    def check(self) -> list[str]:
        """See `Store`."""
        try:
            db = self._connection()
            found = [str(row[0]) for row in db.execute("PRAGMA integrity_check(20)")]
            return [] if found == ["ok"] else found
        except sqlite3.DatabaseError as error:
            return [str(error)]

    def files(self) -> list[Path]:
        """See `Store`."""
        name = glob.escape(self.path.name)
        return sorted(path for path in self.path.parent.glob(f"{name}*") if path.is_file())

    def close(self) -> None:
        """See `Store`."""
        self._drop_connection()

    def _refusal(self, error: sqlite3.OperationalError) -> str:
        """Why the file cannot be used, and what to do."""
        for mode, done in ((os.R_OK, "read"), (os.W_OK, "written")):
            if not os.access(self.path, mode, effective_ids=True):
                return (
                    f"may not be {done} by this user; give them the file, its .key and its folder (a gallery "
                    "is written to when it is opened, too)"
                )
        if not os.access(self.path.parent, os.W_OK | os.X_OK, effective_ids=True):
            return f"lies in {self.path.parent}, which this user may not write to; SQLite needs to, beside it"
        return (
            f"cannot be used now ({error}); see that no other process holds it, that it may be written, and "
            "that the disk has room"
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """SQLite's errors as errors that name the file and the next step."""
        try:
            yield
        except Timeout as error:
            raise GalleryError(
                f"{self.path} cannot be used now (locked: another process writes for over {BUSY_S:g} s); "
                "see that no other process holds it"
            ) from error
        except OSError as error:  # the lock's file, or the copy that replaces the gallery
            self._drop_connection()
            if (full := no_room(error, self.path.parent)) is not None:
                raise GalleryError(f"{self.path}: {full}") from error
            raise GalleryError(
                f"{self.path} cannot be written ({error}); see that its folder may be written and has room"
            ) from error
        except sqlite3.OperationalError as error:
            self._drop_connection()
            if (full := no_room(error, self.path.parent)) is not None:
                raise GalleryError(f"{self.path}: {full}") from error
            raise GalleryError(f"{self.path} {self._refusal(error)}") from error
        except sqlite3.DatabaseError as error:
            self._drop_connection()
            if "not a database" in str(error):
                raise GalleryError(
                    f"{self.path} is no gallery ({error}); give the file that 'gaitstream enroll' wrote"
                ) from error
            raise GalleryError(
                f"{self.path} is damaged ({error}); put a backup in its place, or move it away "
                "and enrol again"
            ) from error

    def _connection(self) -> sqlite3.Connection:
        """The connection, opened again when another file has taken the place of the one it is to."""
        if self._db is None or self._identify() != self._identity:
            self._drop_connection()
            self._connect()
        assert self._db is not None  # noqa: S101 - for the type checker
        return self._db

    def _drop_connection(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _identify(self) -> tuple[int, int, int] | None:
        """Device, inode and time of change of the file that is there now: a copy over it is another file."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns

    def _version(self) -> object:
        """Differs when anybody else has changed the file, or has put another one there."""
        try:
            return self._identify(), self._connection().execute("PRAGMA data_version").fetchone()
        except (sqlite3.DatabaseError, GalleryError):
            return None

    def _unfinished(self) -> bool:
        return swap_of(self.path).exists()

    def _key(self) -> Path:
        """Where the gallery's key is, unless it was said to be elsewhere."""
        return self.path.with_name(f"{self.path.name}.key")

    def _make_file(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
        except OSError as error:
            full = no_room(error, self.path.parent)
            raise GalleryError(f"{self.path} cannot be made ({full or error}); set gallery.path") from error

    def _connect(self) -> None:
        if self._unfinished():
            with self._lock:
                finish_rewrite(self.path)
        if not self.path.is_file():
            raise MissingGalleryError(
                f"{self.path} is gone: it was moved or deleted; put it back, or enrol anew"
            )
        identity = self._identify()
        db = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        self._db, self._identity = db, identity

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA secure_delete = ON")
        db.execute("PRAGMA synchronous = FULL")
        application, schema, tables = _identity_of(db)
        if application == APPLICATION_ID and schema == SCHEMA:
            return
        empty = not tables and not application
        if empty and not self._may_make:
            there = f"; its key {self._key()} is there, so it held a gallery" if self._key().exists() else ""
            raise GalleryError(
                f"{self.path} is empty: put a backup in its place, or remove it to begin anew{there}"
            )
        if empty or (application == APPLICATION_ID and 0 < schema < SCHEMA):
            with self._lock:
                self._bring_up(db)
            return
        later = application == APPLICATION_ID and schema > SCHEMA
        done = "a later version of gaitstream made it: update this one" if later else "enrol into a new file"
        raise GalleryError(f"{self.path} is no gallery of schema {SCHEMA} (it says {schema}); {done}")

    def _bring_up(self, db: sqlite3.Connection) -> None:
        """Make the tables of a new file, or those of an older schema new."""
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("BEGIN IMMEDIATE")
        try:
            _, schema, tables = _identity_of(db)
            if schema != SCHEMA:  # nobody was quicker
                if tables:
                    migrate(db, schema, _statements())
                else:
                    for statement in _statements():
                        db.execute(statement)
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {SCHEMA}")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        db.execute("PRAGMA foreign_keys = ON")


def _empty_log(db: sqlite3.Connection) -> bool:
    """Bring what the log holds into the file, and empty it; False while a reader needs it.

    A file that is moved into the place of another would else be read with the other's log.
    """
    db.execute("PRAGMA busy_timeout = 50")
    try:
        [busy, _, _] = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError:  # locked: somebody else is at it
        return False
    finally:
        db.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
    return not busy


def is_unused(path: Path) -> bool:
    """Whether a gallery's file holds nobody and no model; also where the disk has room for nothing more.

    Raises:
        sqlite3.Error: somebody has it open, or it cannot be read.
    """
    db = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")  # before the first look: it needs no -shm then
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")} & {"person", "model"}
        return all(db.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() is None for name in sorted(tables))
    finally:
        db.close()


def _statements() -> Sequence[str]:
    return [statement.strip() for statement in TABLES.split(";") if statement.strip()]


def _identity_of(db: sqlite3.Connection) -> tuple[int, int, int]:
    """Application id, schema and number of tables."""
    [application] = db.execute("PRAGMA application_id").fetchone()
    [schema] = db.execute("PRAGMA user_version").fetchone()
    [tables] = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return application, schema, tables

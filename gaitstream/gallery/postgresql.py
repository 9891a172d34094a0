"""The shared store: a PostgreSQL database for galleries that several machines use.

The rows and guarantees are those of the SQLite store. Writers take their turns by an advisory lock, so that
numbers appear in the order of commits; changes are told with NOTIFY. A server that is away is an error of the
call, and is connected to again by the next one. Everything arrives here sealed: the server sees no name, no
template and no picture in clear.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaitstream.errors import GalleryError, MissingGalleryError
from gaitstream.gallery.connection import Purpose, ServerConnection
from gaitstream.gallery.sql import Cursor, SqlTransaction

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

SCHEMA = 5
"""As the SQLite store counts."""
BUSY_S = 30
"""How long a writer waits for the one before."""
IDLE_S = 900
"""Far longer than a calibration takes in the middle of a transaction."""
_GALLERY = Purpose("a gallery in PostgreSQL", "the gallery's", GalleryError, "gaitstream_gallery", IDLE_S)
_TURN = 0x47414954
"""Number of the advisory lock: "GAIT"."""
_TABLES = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value BYTEA NOT NULL);
CREATE TABLE person (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, uid TEXT NOT NULL UNIQUE,
    lookup BYTEA NOT NULL UNIQUE, record BYTEA NOT NULL
);
CREATE TABLE model (
    name TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, parts INTEGER NOT NULL, dim INTEGER NOT NULL,
    calibration BYTEA
);
CREATE TABLE template (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person BIGINT NOT NULL REFERENCES person(id) ON DELETE CASCADE,
    model TEXT NOT NULL REFERENCES model(name),
    created_ns BIGINT NOT NULL, source BYTEA NOT NULL, checksum BIGINT NOT NULL, data BYTEA NOT NULL
);
ALTER TABLE template ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE INDEX template_by_person ON template (person, model);
CREATE INDEX template_by_model ON template (model, id);
CREATE TABLE picture (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person BIGINT NOT NULL REFERENCES person(id) ON DELETE CASCADE,
    created_ns BIGINT NOT NULL, checksum BIGINT NOT NULL, data BYTEA NOT NULL
);
ALTER TABLE picture ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE INDEX picture_by_person ON picture (person);
CREATE TABLE sighting (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person BIGINT NOT NULL REFERENCES person(id) ON DELETE CASCADE,
    seen_ns BIGINT NOT NULL, checksum BIGINT NOT NULL, data BYTEA NOT NULL
);
ALTER TABLE sighting ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE INDEX sighting_by_person ON sighting (person);
CREATE INDEX sighting_by_time ON sighting (seen_ns);
CREATE TABLE change (
    sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, token TEXT NOT NULL, person TEXT NOT NULL
);
CREATE TABLE audit (number BIGINT PRIMARY KEY, line BYTEA NOT NULL)
"""
_KEPT = (
    "the server's write-ahead log, its replicas and its backups keep the encrypted rows until they are "
    "recycled, and its tables what a transaction that was open meanwhile may still read, a backup's for one, "
    "until they are written anew again: that is up to whoever runs the server"
)


class PostgresStore:
    """See `gaitstream.gallery.base.Store`.

    Args:
        url: `postgresql://user:password@host:port/database`, with any parameter that libpq takes.
        create: make the tables when missing; the database must be there.

    Raises:
        MissingGalleryError: the database has no gallery, and `create` is False.
        GalleryError: it cannot be reached, or is no gallery of this version.
    """

    def __init__(self, url: str, *, create: bool = False) -> None:
        self._server = ServerConnection(url, _GALLERY)
        self.url = self._server.url
        self._cursors = 0
        with self._server.explained():
            db = self._server.get()
            if not self._is_gallery(db):
                if not create:
                    raise MissingGalleryError(
                        f"{self.url}: there is no such gallery in this database; make one with 'gaitstream "
                        "enroll --person NAME --video FILE --cameras FILE'"
                    )
                self._make(db)

    @contextmanager
    def reading(self) -> Iterator[SqlTransaction]:
        """See `Store`."""
        with self._server.explained():
            db = self._server.get()
            db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                yield SqlTransaction(self._execute, self._stream)
            finally:
                self._server.roll_back()

    @contextmanager
    def writing(self) -> Iterator[SqlTransaction]:
        """See `Store`."""
        with self._server.explained():
            db = self._server.get()
            db.execute("BEGIN")
            try:
                self._take_turn(db)
                writing = SqlTransaction(self._execute, self._stream)
                yield writing
                if writing.changed:
                    self._server.notify()
                db.execute("COMMIT")
            except BaseException:
                self._server.roll_back()
                raise

    def wait(self, seconds: float) -> None:
        """See `Store`."""
        self._server.wait(seconds)

    def purge(self) -> list[str]:
        """See `Store`; the tables are written anew without what was deleted.

        The server skips tables of another owner with no more than a warning.
        """
        skipped: list[str] = []

        def take(notice: psycopg.errors.Diagnostic) -> None:
            if notice.severity_nonlocalized == "WARNING":
                skipped.append(notice.message_primary or "")

        with self._server.explained():
            db = self._server.get()
            db.add_notice_handler(take)
            try:
                db.execute("VACUUM (FULL) template, picture, sighting, person, setting, change")
            finally:
                db.remove_notice_handler(take)
        if not skipped:
            return [_KEPT]
        stays = (
            f"{self.url}: deleted rows stay in the gallery's tables ({'; '.join(skipped)}): use the gallery "
            "as the user who owns them, and run VACUUM FULL as that user once"
        )
        log.warning("%s", stays)
        return [stays, _KEPT]

    def check(self) -> list[str]:
        """See `Store`."""
        try:
            with self.reading() as reading:
                for _ in reading.templates():
                    pass
        except GalleryError as error:
            return [str(error)]
        return []

    def files(self) -> list[Path]:
        """See `Store`."""
        return []

    def close(self) -> None:
        """See `Store`."""
        self._server.close()

    def _take_turn(self, db: psycopg.Connection[Any]) -> None:
        """Wait until nobody else writes."""
        import psycopg

        db.execute(f"SET LOCAL lock_timeout = '{BUSY_S}s'".encode())
        try:
            db.execute("SELECT pg_advisory_xact_lock(%s)", (_TURN,))
        except psycopg.errors.LockNotAvailable as error:
            raise GalleryError(
                f"{self.url}: somebody else has been writing to this gallery for {BUSY_S} s; try again. A "
                f"program that hangs in the middle of it is ended by the server after {IDLE_S // 60} minutes"
            ) from error
        db.execute("SET LOCAL lock_timeout TO DEFAULT")

    def _execute(self, query: str, values: Sequence[object]) -> Cursor:
        return self._server.get().execute(query.replace("?", "%s"), values, binary=True)

    def _stream(self, query: str, values: Sequence[object]) -> Cursor:
        """A cursor of the server, for results that may not fit memory."""
        self._cursors += 1  # several may be read at a time
        cursor = self._server.get().cursor(name=f"rows_{self._cursors}", binary=True)
        cursor.itersize = 500
        cursor.execute(query.replace("?", "%s"), values)
        return cursor

    def _is_gallery(self, db: psycopg.Connection[Any]) -> bool:
        row = db.execute("SELECT to_regclass('setting'), to_regclass('template')").fetchone()
        if row is None or None in row:
            return False
        found = db.execute("SELECT value FROM setting WHERE name = 'schema'").fetchone()
        schema = bytes(found[0]).decode() if found else "none"
        if schema == "4":
            self._add_sightings(db)
        elif schema != str(SCHEMA):
            raise GalleryError(
                f"{self.url} is no gallery of schema {SCHEMA} (it says {schema}); use another database"
            )
        return True

    def _make(self, db: psycopg.Connection[Any]) -> None:
        with db.transaction():
            db.execute("SELECT pg_advisory_xact_lock(%s)", (_TURN,))
            if not self._is_gallery(db):  # nobody was quicker
                for statement in _TABLES.split(";"):
                    db.execute(statement.encode())
                db.execute("INSERT INTO setting VALUES ('schema', %s)", (str(SCHEMA).encode(),))

    def _add_sightings(self, db: psycopg.Connection[Any]) -> None:
        """Take a gallery of schema 4 to schema 5."""
        with db.transaction():
            db.execute("SELECT pg_advisory_xact_lock(%s)", (_TURN,))
            row = db.execute("SELECT to_regclass('sighting')").fetchone()
            if row is None or row[0] is None:  # nobody was quicker
                for statement in _TABLES.split(";"):
                    if re.search(r"\bsighting\b", statement):
                        db.execute(statement.encode())
                db.execute("UPDATE setting SET value = %s WHERE name = 'schema'", (str(SCHEMA).encode(),))

"""The shared store: a PostgreSQL database for galleries that several machines use.

The rows and guarantees are those of the SQLite store. Writers take their turns by an advisory lock, so that
numbers appear in the order of commits; changes are told with NOTIFY. A server that is away is an error of the
call, and is connected to again by the next one. Everything arrives here sealed: the server sees no name, no
template and no picture in clear.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gaitstream.errors import GalleryError, MissingExtraError, MissingGalleryError
from gaitstream.gallery.sql import Cursor, SqlTransaction

if TYPE_CHECKING:
    import psycopg

SCHEMA = 5
"""As the SQLite store counts."""
CHANNEL = "gaitstream_gallery"
_TURN = 0x47414954
"""Number of the advisory lock: "GAIT"."""
_CONNECT_S = 5
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
    "recycled: that is up to whoever runs the server"
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
        self.url = _shown(url)
        self._address = url
        self._db: psycopg.Connection[Any] | None = None
        self._cursors = 0
        with self._explained():
            db = self._connection()
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
        with self._explained():
            db = self._connection()
            db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                yield SqlTransaction(self._execute, self._stream)
            finally:
                self._roll_back()

    @contextmanager
    def writing(self) -> Iterator[SqlTransaction]:
        """See `Store`."""
        with self._explained():
            db = self._connection()
            db.execute("BEGIN")
            try:
                db.execute("SELECT pg_advisory_xact_lock(%s)", (_TURN,))
                writing = SqlTransaction(self._execute, self._stream)
                yield writing
                if writing.changed:
                    db.execute(f"NOTIFY {CHANNEL}")
                db.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def wait(self, seconds: float) -> None:
        """See `Store`."""
        with self._explained():
            started_s = time.monotonic()
            for _ in self._connection().notifies(timeout=seconds, stop_after=1):
                return
            left_s = seconds - (time.monotonic() - started_s)
            if left_s > 0.01:  # the connection was closed
                time.sleep(left_s)

    def purge(self) -> list[str]:
        """See `Store`; the tables are written anew without what was deleted."""
        with self._explained():
            self._connection().execute("VACUUM (FULL) template, picture, sighting, person, setting, change")
        return [_KEPT]

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
        if self._db is not None:
            self._db.close()
            self._db = None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.OperationalError as error:
            self.close()
            raise GalleryError(
                f"{self.url} cannot be reached now ({_first_line(error)}); see that the server runs and lets "
                "this machine in"
            ) from error
        except psycopg.Error as error:
            self.close()
            raise GalleryError(
                f"{self.url} refused ({_first_line(error)}); see the server's log, and that the user may "
                "read and write the gallery's tables"
            ) from error

    def _connection(self) -> psycopg.Connection[Any]:
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtraError("psycopg", "cluster", "a gallery in PostgreSQL") from error

        if self._db is None or self._db.closed:
            self._db = psycopg.connect(
                self._address, autocommit=True, connect_timeout=_CONNECT_S, application_name="gaitstream"
            )
            self._db.execute(f"LISTEN {CHANNEL}")
        return self._db

    def _execute(self, query: str, values: Sequence[object]) -> Cursor:
        return self._connection().execute(query.replace("?", "%s"), values, binary=True)

    def _stream(self, query: str, values: Sequence[object]) -> Cursor:
        """A cursor of the server, for results that may not fit memory."""
        self._cursors += 1  # several may be read at a time
        cursor = self._connection().cursor(name=f"rows_{self._cursors}", binary=True)
        cursor.itersize = 500
        cursor.execute(query.replace("?", "%s"), values)
        return cursor

    def _roll_back(self) -> None:
        import psycopg

        if self._db is not None:
            with suppress(psycopg.Error):
                self._db.execute("ROLLBACK")

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


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__


def _shown(url: str) -> str:
    """A URL for messages: server and database, without user, password and parameters."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"

"""The fleet's tables, in a schema of their own beside whatever else the database holds.

A newer schema is refused by name, an older one is brought up to date: migrations only add, so that workers
of two versions can run side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gaitstream import __version__
from gaitstream.errors import FleetError

if TYPE_CHECKING:
    import psycopg

_TURN = 0x464C4554
"""Number of the advisory lock under which tables are made: "FLET"."""

MIGRATIONS = (
    """
    CREATE SCHEMA IF NOT EXISTS fleet;
    CREATE TABLE fleet.setting (name TEXT PRIMARY KEY, value BYTEA NOT NULL);
    CREATE SEQUENCE fleet.fence;
    CREATE TABLE fleet.worker (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, node TEXT NOT NULL, version TEXT NOT NULL,
        labels TEXT[] NOT NULL DEFAULT '{}', capacity DOUBLE PRECISION NOT NULL, journal TEXT NOT NULL,
        weight DOUBLE PRECISION NOT NULL DEFAULT 0, cameras INTEGER NOT NULL DEFAULT 0,
        load BYTEA, state TEXT NOT NULL DEFAULT 'alive',
        started_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(), expires_at TIMESTAMPTZ NOT NULL
    ) WITH (fillfactor = 50);
    CREATE INDEX worker_alive ON fleet.worker (node) WHERE state = 'alive';
    CREATE TABLE fleet.camera (
        id TEXT PRIMARY KEY, wanted BOOLEAN NOT NULL DEFAULT true, labels TEXT[] NOT NULL DEFAULT '{}',
        weight DOUBLE PRECISION NOT NULL DEFAULT 1, worker TEXT REFERENCES fleet.worker (id),
        token BIGINT NOT NULL DEFAULT 0, since TIMESTAMPTZ, node_before TEXT,
        freed_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
    ) WITH (fillfactor = 80);
    CREATE INDEX camera_of_worker ON fleet.camera (worker) WHERE worker IS NOT NULL;
    CREATE INDEX camera_free ON fleet.camera (node_before) WHERE worker IS NULL AND wanted;
    CREATE TABLE fleet.draining (node TEXT PRIMARY KEY);
    CREATE TABLE fleet.journal (
        id TEXT PRIMARY KEY, worker TEXT NOT NULL, endpoint TEXT NOT NULL, replay TEXT NOT NULL,
        server_key TEXT, registered_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
        seen_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
    )
    """,
)
"""Statements that bring a database from one schema to the next, oldest first."""
SCHEMA = len(MIGRATIONS)


def bring_up_to_date(db: psycopg.Connection[Any], url: str, *, create: bool) -> None:
    """Make the tables or add what is missing; does nothing when they are as this version knows them.

    Args:
        db: a connection outside a transaction.
        url: for messages.
        create: make them where there is no fleet yet.

    Raises:
        FleetError: there is no fleet, or a newer version of gaitstream made it.
    """
    found = read_schema(db)
    if found == SCHEMA:
        return
    if not found and not create:
        raise FleetError(f"{url}: there is no fleet in this database; 'gaitstream fleet up' makes it")
    with db.transaction():
        db.execute("SELECT pg_advisory_xact_lock(%s)", (_TURN,))
        found = read_schema(db)  # somebody may have been quicker
        if found > SCHEMA:
            raise _newer(url, found, db)
        for migration in MIGRATIONS[found:]:
            db.execute(migration.encode())
        _set(db, "schema", str(SCHEMA))
        _set(db, "version", __version__)


def read_schema(db: psycopg.Connection[Any]) -> int:
    """Which schema a database has; 0 without a fleet."""
    if not db.execute("SELECT to_regclass('fleet.setting') IS NOT NULL").fetchall()[0][0]:
        return 0
    return int(read_setting(db, "schema") or b"0")


def read_setting(db: psycopg.Connection[Any], name: str) -> bytes | None:
    """A value of the fleet; None when it was never set."""
    row = db.execute("SELECT value FROM fleet.setting WHERE name = %s", (name,)).fetchone()
    return bytes(row[0]) if row else None


def write_setting(db: psycopg.Connection[Any], name: str, value: bytes) -> None:
    """Keep a value of the fleet."""
    db.execute(
        "INSERT INTO fleet.setting VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def _set(db: psycopg.Connection[Any], name: str, value: str) -> None:
    write_setting(db, name, value.encode())


def _newer(url: str, found: int, db: psycopg.Connection[Any]) -> FleetError:
    made_by = (read_setting(db, "version") or b"a newer version").decode()
    return FleetError(
        f"{url}: the fleet has schema {found}, made by gaitstream {made_by}; this is gaitstream "
        f"{__version__}, which knows schemas up to {SCHEMA}: install {made_by} or newer here"
    )

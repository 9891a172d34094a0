"""A history in PostgreSQL, for a fleet: several consoles on several machines feed and read the same one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gaitstream.console.history import sql
from gaitstream.console.history.base import LATEST_NS, HistoryPlace
from gaitstream.console.history.wanted import IndexParts
from gaitstream.console.pooling import ConnectionPool
from gaitstream.errors import ConsoleError, MissingExtraError

if TYPE_CHECKING:
    import psycopg

SCHEMA = "gaitstream_console"
"""The tables stand apart, so that the gallery's database will do."""
_CONNECT_S = 5
_PLANNING = "-c plan_cache_mode=force_custom_plan -c jit=off"
"""A plan for any values reads too much where there are few; to compile takes longer than a page."""
_TURN = 0x47434F4E
"""Number of the advisory lock of writers: "GCON"."""
_TABLES = (
    f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
    """CREATE TABLE IF NOT EXISTS label (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, space TEXT NOT NULL, text TEXT NOT NULL,
        UNIQUE (space, text)
    )""",
    """CREATE TABLE IF NOT EXISTS event (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id BYTEA NOT NULL UNIQUE,
        time_ns BIGINT NOT NULL, kind BIGINT NOT NULL, camera BIGINT, person BIGINT, status BIGINT,
        reason BIGINT, run BIGINT, track BIGINT NOT NULL, waits SMALLINT NOT NULL, data BYTEA NOT NULL
    )""",
)


class PostgresHistory(sql.SqlHistory):
    """See `gaitstream.console.history.base.History`.

    Args:
        url: `postgresql://user:password@host:port/database`.

    Raises:
        ConsoleError: the server cannot be reached, or refuses.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._pool = ConnectionPool(self._connect, _is_whole)
        with self._writing():
            for statement in (*_TABLES, *sql.index_statements(", id")):
                self._rows(statement, ())

    def forget(self, person: str) -> int:
        """See `History`; the server's log and backups keep the id until they are recycled."""
        with self._changing():
            return sql.forget(person, self._labels, self._rows)

    def prune(self, before_ns: int, ahead_ns: int = LATEST_NS) -> int:
        """See `History`."""
        with self._changing():
            gone = self._rows(
                f"DELETE FROM event WHERE {sql.PAST} RETURNING id",
                (before_ns, ahead_ns, sql.last_past(before_ns, self._rows)),
            )
            return len(gone)

    def close(self) -> None:
        """See `History`."""
        self._pool.close()

    def _places(self, asked: IndexParts, limit: int) -> Iterable[HistoryPlace]:
        """One question for all parts."""
        if not asked.columns:
            return self._places_of(sql.PLACES.format(where=asked.further), (*asked.further.values, limit))
        equal = "".join(f"event.{column} = part.{column} AND " for column in asked.columns)
        arrays = ", ".join(["?::bigint[]"] * len(asked.columns))
        query = (
            f"SELECT place.* FROM unnest({arrays}) AS part ({', '.join(asked.columns)}) CROSS JOIN LATERAL "
            f"({sql.PLACES.format(where=equal + str(asked.further))}) AS place "
            "ORDER BY time_ns DESC, id DESC LIMIT ?"
        )
        columns = [list(values) for values in zip(*asked.parts, strict=True)]
        return self._places_of(query, (*columns, *asked.further.values, limit, limit))

    def _places_of(self, query: str, values: Sequence[object]) -> Iterable[HistoryPlace]:
        return [HistoryPlace(*row) for row in self._rows(query, values)]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction; writers take their turns, so that numbers rise in the order of commits."""
        with self._pool.borrow() as connection:
            try:
                self._rows("BEGIN", ())
                self._rows("SELECT pg_advisory_xact_lock(?)", (_TURN,))
                yield
                self._rows("COMMIT", ())
            except BaseException:
                self._labels.clear()
                connection.close()  # which ends its transaction
                raise

    def _rows(self, query: str, values: Sequence[object]) -> list[Any]:
        import psycopg

        with self._pool.borrow() as connection:
            try:
                cursor = connection.execute(query.replace("?", "%s"), values, binary=True)
                return cursor.fetchall() if cursor.description else []
            except psycopg.Error as error:
                raise self._fault(error) from error

    def _connect(self) -> psycopg.Connection[Any]:
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtraError("psycopg", "cluster", "a history in PostgreSQL") from error
        try:
            return psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=_CONNECT_S,
                application_name="gaitstream-console",
                options=f"-c search_path={SCHEMA} {_PLANNING}",
            )
        except psycopg.Error as error:
            raise self._fault(error) from error

    def _fault(self, error: Exception) -> ConsoleError:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return ConsoleError(f"the history at {_shown(self._url)}: {lines[0]}")


def _is_whole(connection: psycopg.Connection[Any]) -> bool:
    return not connection.closed


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

"""A connection to a PostgreSQL server: made when it is needed, made anew when lost, explained to users.

The shared gallery and the fleet both use it. A server that is away is an error of the call, and is
connected to again by the next one.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gaitstream.errors import GaitstreamError, MissingExtraError

if TYPE_CHECKING:
    import psycopg

ANSWER_S = 5
"""A machine that acknowledges nothing for twice so long is away; another may have its place by then."""
_ALIVE: dict[str, int] = {
    "connect_timeout": ANSWER_S, "tcp_user_timeout": 2 * ANSWER_S * 1000,
    "keepalives_idle": ANSWER_S, "keepalives_interval": 1, "keepalives_count": ANSWER_S,
}  # fmt: skip
_ALIVE_THERE = {"tcp_keepalives_idle": 10, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 3}
"""For the server: a machine that died keeps its connections and locks for 25 s, and not for two hours."""


@dataclass(frozen=True)
class Purpose:
    """What a connection is for.

    Attributes:
        extra_for: what needs the driver, for the error where it is missing: "a gallery in PostgreSQL".
        tables: whose tables these are: "the gallery's".
        error: what is raised.
        channel: whose notifications `wait` waits for.
        idle_s: how long a transaction may stand still before the server ends it: others wait for what a
            program that hangs in the middle of one has locked.
        options: parameters of libpq, beside those that every connection has.
    """

    extra_for: str
    tables: str
    error: type[GaitstreamError]
    channel: str
    idle_s: int
    options: tuple[tuple[str, str | int], ...] = ()


class ServerConnection:
    """One connection, used from one thread at a time.

    Args:
        url: `postgresql://user:password@host:port/database`, with any parameter that libpq takes.
        purpose: what for.

    Attributes:
        url: without user, password and parameters, for messages.
    """

    def __init__(self, url: str, purpose: Purpose) -> None:
        self.url = shown(url)
        self._address = url
        self._purpose = purpose
        self._db: psycopg.Connection[Any] | None = None

    def get(self) -> psycopg.Connection[Any]:
        """The connection, in autocommit mode; opened when there is none."""
        purpose = self._purpose
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtraError("psycopg", "cluster", purpose.extra_for) from error

        if self._db is None or self._db.closed:
            given = psycopg.conninfo.conninfo_to_dict(self._address)
            options: dict[str, Any] = {name: value for name, value in _ALIVE.items() if name not in given}
            options |= dict(purpose.options)
            self._db = psycopg.connect(
                self._address,
                autocommit=True,
                application_name="gaitstream",
                client_encoding="utf8",  # names are text whatever the database was made with
                **options,
            )
            own = {**_ALIVE_THERE, "idle_in_transaction_session_timeout": f"{purpose.idle_s}s"}
            words = [f"SET {name} = '{value}'" for name, value in own.items()]
            self._db.execute("; ".join([*words, f"LISTEN {purpose.channel}"]).encode())
        return self._db

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Errors of the driver inside become the purpose's; the connection is made anew after one."""
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtraError("psycopg", "cluster", self._purpose.extra_for) from error

        purpose = self._purpose
        try:
            yield
        except psycopg.OperationalError as error:
            self.close()
            raise purpose.error(
                f"{self.url} cannot be reached now ({_first_line(error)}); see that the server runs and lets "
                "this machine in"
            ) from error
        except psycopg.Error as error:
            self.close()
            raise purpose.error(
                f"{self.url} refused ({_first_line(error)}); see the server's log, and that the user may "
                f"read and write {purpose.tables} tables"
            ) from error

    def notify(self) -> None:
        """Wake everybody who waits; inside a transaction, when it is committed."""
        self.get().execute(f"NOTIFY {self._purpose.channel}".encode())

    def wait(self, seconds: float) -> bool:
        """Return when somebody notified, or after this time; whether somebody did."""
        with self.explained():
            started_s = time.monotonic()
            for _ in self.get().notifies(timeout=seconds, stop_after=1):
                return True
            left_s = seconds - (time.monotonic() - started_s)
            if left_s > 0.01:  # the connection was closed
                time.sleep(left_s)
            return False

    def roll_back(self) -> None:
        """End a transaction without its changes, if the connection is still there."""
        import psycopg

        if self._db is not None:
            with suppress(psycopg.Error):
                self._db.execute("ROLLBACK")

    def break_off(self) -> None:
        """Let a call fail that waits for a server that hangs; from any thread."""
        import psycopg

        db = self._db
        if db is not None:
            with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(db.fileno())) as held:
                held.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of it; `get` opens another."""
        if self._db is not None:
            self._db.close()
            self._db = None


def shown(url: str) -> str:
    """A URL for messages: server and database, without user, password and parameters."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__

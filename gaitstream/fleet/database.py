"""How everything of a fleet reaches its database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gaitstream.errors import FleetError
from gaitstream.fleet.tables import bring_up_to_date
from gaitstream.gallery.connection import Purpose, ServerConnection

if TYPE_CHECKING:
    import psycopg

ANSWER_S = 2
"""A server that answers nothing for so long is away: leases are short, so waiting longer helps nobody."""
IDLE_S = 5
"""As a session lasts: a worker that stands still in the middle of a renewal has lost its cameras by then."""
_FLEET = Purpose(
    "a fleet", "the fleet's", FleetError, "gaitstream_fleet", IDLE_S,
    (
        ("connect_timeout", ANSWER_S), ("tcp_user_timeout", ANSWER_S * 1000), ("keepalives_idle", ANSWER_S),
        ("keepalives_interval", 1), ("keepalives_count", 2),
    ),
)  # fmt: skip

Row = tuple[Any, ...]


class FleetDatabase:
    """The fleet's database, used from one thread at a time.

    Args:
        url: `postgresql://user:password@host:port/database`.
        create: make the tables when missing; the database must be there.

    Attributes:
        url: without credentials, for messages.

    Raises:
        FleetError: it cannot be reached, has no fleet, or one of a newer version.
    """

    def __init__(self, url: str, *, create: bool = False) -> None:
        self._server = ServerConnection(url, _FLEET)
        self.url = self._server.url
        with self._server.explained():
            bring_up_to_date(self._server.get(), self.url, create=create)

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection[Any]]:
        """Everything inside happens, or nothing."""
        with self._server.explained():
            db = self._server.get()
            with db.transaction():
                yield db

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Row]:
        """What a query finds."""
        with self._server.explained():
            return self._server.get().execute(query.encode(), values).fetchall()

    def run(self, statement: str, values: Sequence[object] = (), *, tell: bool = False) -> None:
        """Change something; with `tell`, everybody who waits is woken."""
        with self._server.explained():
            self._server.get().execute(statement.encode(), values)
            if tell:
                self._server.notify()

    def tell(self) -> None:
        """Wake everybody who waits."""
        with self._server.explained():
            self._server.notify()

    def wait(self, seconds: float) -> bool:
        """Return when something changed, or after this time; whether something did."""
        return self._server.wait(seconds)

    def my_address(self) -> str | None:
        """This machine's address as the server sees it; None where they speak over a socket file."""
        found = self.rows("SELECT host(inet_client_addr())")[0][0]
        return str(found) if found is not None else None

    def break_off(self) -> None:
        """Let a call fail that waits for a server that hangs; from any thread."""
        self._server.break_off()

    def close(self) -> None:
        """Let go of it."""
        self._server.close()

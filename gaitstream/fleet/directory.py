"""Where the events of a fleet are: every worker registers its journal's addresses, subscribers look them up.

A journal keeps its id wherever it is served from, so that whoever follows it goes on where they were: after
its worker was started again, or when another one serves the volume of a machine that died.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from gaitstream.errors import FleetError
from gaitstream.events.discovery import PublisherAddress
from gaitstream.events.keys import SERVER, read_pair
from gaitstream.events.publishing import Publishing
from gaitstream.fleet.database import FleetDatabase

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often a subscriber's directory is read again where nobody tells of a change."""
_WILD = ("0.0.0.0", "*", "[::]")


@dataclass(frozen=True)
class Served:
    """A journal and where it is served, as it is registered.

    Attributes:
        journal: its id.
        worker: name of who serves it.
    """

    journal: str
    worker: str
    endpoint: str
    replay: str
    server_key: str | None

    @classmethod
    def of(cls, publisher: Publishing, worker: str, address: str, keys: Path | None) -> Served:
        """What a publisher serves.

        Args:
            publisher: it.
            worker: who it belongs to.
            address: by which others reach this machine, where the publisher listens on every one.
            keys: folder of its keys.
        """
        return cls(
            publisher.journal.id.hex(), worker, reachable(publisher.endpoint, address),
            reachable(publisher.replay, address), read_pair(keys / f"{SERVER}.key").public if keys else None,
        )  # fmt: skip


def register(database: FleetDatabase, served: Served) -> None:
    """Tell everybody where a journal is served now."""
    database.run(
        "INSERT INTO fleet.journal (id, worker, endpoint, replay, server_key) VALUES (%s, %s, %s, %s, %s) "
        "ON CONFLICT (id) DO UPDATE SET worker = excluded.worker, endpoint = excluded.endpoint, "
        "replay = excluded.replay, server_key = excluded.server_key, seen_at = clock_timestamp()",
        (served.journal, served.worker, served.endpoint, served.replay, served.server_key),
        tell=True,
    )


def list_publishers(database: FleetDatabase) -> list[PublisherAddress]:
    """All journals that were ever registered; `alive` are those whose worker renews its session."""
    rows = database.rows(
        "SELECT j.id, j.endpoint, j.replay, j.server_key, EXISTS (SELECT 1 FROM fleet.worker w WHERE "
        "w.journal = j.id AND w.state = 'alive' AND w.expires_at > clock_timestamp()) "
        "FROM fleet.journal j ORDER BY j.registered_at"
    )
    return [PublisherAddress(*row) for row in rows]


class FleetDirectory:
    """See `gaitstream.events.discovery.Directory`: read by a thread, so that nobody waits for the database.

    Args:
        url: of the fleet's database.

    Raises:
        FleetError: it cannot be reached, or has no fleet.
    """

    def __init__(self, url: str) -> None:
        self._database = FleetDatabase(url)
        self._found = list_publishers(self._database)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="gaitstream-directory", daemon=True)
        self._thread.start()

    def publishers(self) -> list[PublisherAddress]:
        """See `Directory`."""
        return self._found

    def close(self) -> None:
        """See `Directory`."""
        self._stop.set()
        self._thread.join(2 * LOOK_S)

    def _follow(self) -> None:
        away = False
        while not self._stop.is_set():
            try:
                self._database.wait(LOOK_S)
                self._found = list_publishers(self._database)
                away = False
            except FleetError as error:
                if not away:
                    log.warning("%s; the publishers known so far are followed", error)
                away = True
                self._stop.wait(LOOK_S)
        self._database.close()


def reachable(endpoint: str, address: str) -> str:
    """An address to connect to, of one to listen on: every interface becomes this machine's address."""
    host = endpoint.removeprefix("tcp://").rpartition(":")[0]
    return endpoint.replace(f"//{host}:", f"//{address}:") if host in _WILD and address else endpoint

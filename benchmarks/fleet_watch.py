"""Looks at a fleet all the time: how long cameras waited, and who took them over."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable

from gaitstream.errors import FleetError
from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.status import FleetStatus, read_status

LOOK_S = 0.25
STOPPED_S = 10.0
"""Between two looks; a database that does not answer is given up after two."""


class FleetWatch:
    """Looks at the fleet in a thread of its own.

    Args:
        url: of its database.
        kind_of: what is told apart, by node.

    Attributes:
        waited_s: longest time a camera waited although somebody could take it.
        moves: cameras that went from one kind of node to another, by "KIND to KIND".
        possible_s: since when cameras can be taken, by `time.monotonic`.
    """

    def __init__(self, url: str, kind_of: Callable[[str], str]) -> None:
        self.waited_s = 0.0
        self.moves: Counter[str] = Counter()
        self.possible_s = time.monotonic()
        self._kind_of = kind_of
        self._database = FleetDatabase(url)
        self._held: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()
        self._database.close()

    def _look(self) -> None:
        looked_s = time.monotonic()
        while not self._stop.wait(LOOK_S):
            if time.monotonic() - looked_s > STOPPED_S:
                self.possible_s = time.monotonic()  # this machine stood still, and with it all workers
            looked_s = time.monotonic()
            with contextlib.suppress(FleetError):
                self._note(read_status(self._database))

    def _note(self, status: FleetStatus) -> None:
        longest_s = min(time.monotonic() - self.possible_s, max(status.waiting.values(), default=0.0))
        self.waited_s = max(self.waited_s, longest_s)
        now = {camera: self._kind_of(worker.node) for worker in status.workers for camera in worker.cameras}
        for camera, kind in now.items():
            if self._held.get(camera, kind) != kind:
                self.moves[f"{self._held[camera]} to {kind}"] += 1
        self._held |= now


def read_leases(database: FleetDatabase, node: str | None = None) -> dict[str, int]:
    """Token by camera, of a node or of all."""
    return dict(
        database.rows(
            "SELECT c.id, c.token FROM fleet.camera c JOIN fleet.worker w ON w.id = c.worker "
            "WHERE %s::text IS NULL OR w.node = %s",
            (node, node),
        )
    )


def taken_anew(database: FleetDatabase, before: dict[str, int]) -> bool:
    """Whether somebody has taken each of these cameras since."""
    now = read_leases(database)
    return all(now.get(camera, 0) > token for camera, token in before.items())

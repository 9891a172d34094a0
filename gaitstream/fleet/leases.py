"""Leases: which worker may read which camera, kept in PostgreSQL on the database's clock.

A worker has a session that expires, and renews it with one small row, however many cameras it has; a lease
is a camera's row that names the session, with a fencing token that rises with every lease. Three rules keep
a camera from having two workers:

- a session is renewed only while it has not expired, and leases are taken only in the transaction that
  renews;
- an expired session is buried by an UPDATE that waits for a renewal under way and then looks again; its
  cameras are free in the same transaction;
- a worker counts its session as over `STOP_S` before the database does, from before it asked for it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from gaitstream import __version__
from gaitstream.fleet.balance import ROUNDING, Taker, Totals, fitting, others_can_take, room_to_take
from gaitstream.fleet.database import FleetDatabase, Row
from gaitstream.fleet.load import Load

if TYPE_CHECKING:
    import psycopg

LEASE_S = 5.0
"""How long a session lasts without being renewed."""
BEAT_S = 1.0
"""How often it is renewed."""
STOP_S = 1.0
"""How long before its end a worker stops its cameras."""
PATIENCE_S = 1.0
"""How long a free camera is left to the node that had it, and to whom it falls by fair share."""
HEAVY_PATIENCE_S = 5.0
"""How long a camera that is too heavy for every worker waits for a stronger one."""
CHUNK = 64
"""Most cameras taken at once."""
KEEP_LOST = "1 hour"
"""How long a worker that is gone is still shown."""


@dataclass(frozen=True)
class WorkerIdentity:
    """Who a worker is.

    Attributes:
        name: of the place it runs in; stays over restarts.
        node: the machine.
        journal: id of its journal: nobody else can have it open.
        labels: what its cameras may ask for.
        id: of this session; a new one for each.
    """

    name: str
    node: str
    journal: str
    labels: tuple[str, ...] = ()
    id: str = ""

    def again(self) -> WorkerIdentity:
        """The same worker with a new session."""
        return WorkerIdentity(self.name, self.node, self.journal, self.labels, uuid.uuid4().hex)


@dataclass(frozen=True)
class Beat:
    """What a renewal found.

    Attributes:
        held: token by camera, of the leases that the worker keeps.
        unwanted: cameras among them that left the configuration.
        draining: the node is to be emptied.
    """

    held: Mapping[str, int]
    unwanted: frozenset[str]
    draining: bool


class Leases:
    """The leases as one worker sees them.

    Args:
        database: where they are.
        lease_s: how long a session lasts without being renewed.
    """

    def __init__(self, database: FleetDatabase, lease_s: float = LEASE_S) -> None:
        self._database = database
        self._lease = f"{lease_s} seconds"

    def begin(self, worker: WorkerIdentity, capacity: float) -> WorkerIdentity:
        """Begin a session; the one that the same journal had before is over: nobody else can have it open."""
        new = worker.again()
        with self._database.transaction() as db:
            before = self._free_sessions(
                db, "state = 'alive' AND journal = %s AND node = %s", (new.journal, new.node)
            )
            db.execute(
                "INSERT INTO fleet.worker (id, name, node, version, labels, capacity, journal, expires_at) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp() + %s::interval)",
                (
                    new.id,
                    new.name,
                    new.node,
                    __version__,
                    list(new.labels),
                    capacity,
                    new.journal,
                    self._lease,
                ),
            )
        if before:
            self._database.tell()
        return new

    def renew(
        self, worker: WorkerIdentity, capacity: float, weights: Mapping[str, float], load: Load
    ) -> Beat | None:
        """Keep the session; None when it is over, and with it every lease.

        Args:
            worker: whose.
            capacity: what it carries now.
            weights: measured, by camera; kept where they moved by a fifth.
            load: for those who look.
        """
        with self._database.transaction() as db:
            return self._renew(db, worker, capacity, weights, load)

    def take(
        self, worker: WorkerIdentity, capacity: float, totals: Totals, declined: Sequence[str] = ()
    ) -> dict[str, int]:
        """Take free cameras, first those that this node had before; returns their tokens.

        Args:
            worker: who takes them.
            capacity: what it carries.
            totals: of the fleet.
            declined: cameras it gave back lately.
        """
        with self._database.transaction() as db:
            if not self._touch(db, worker):
                return {}
            row = db.execute(
                "SELECT coalesce(sum(weight), 0) FROM fleet.camera WHERE worker = %s", (worker.id,)
            )
            held = float(row.fetchall()[0][0])
            taken: dict[str, int] = {}
            for patient, condition, values in _turns(worker):
                room = room_to_take(held, capacity, totals, patient=patient)
                found = self._lock_free(db, worker, condition, values, declined, room)
                chosen = fitting(found.items(), room)
                held += sum(found[camera] for camera in chosen)
                taken |= _assign(db, worker, chosen)
            if not taken and (not held or others_can_take(held, capacity, totals)):
                heavy = self._lock_heavy(db, worker, declined)
                held += sum(heavy.values())
                taken |= _assign(db, worker, list(heavy))
            if taken:
                db.execute(
                    "UPDATE fleet.worker SET weight = %s, cameras = cameras + %s WHERE id = %s",
                    (held, len(taken), worker.id),
                )
            return taken

    def give_back(self, worker: WorkerIdentity, cameras: Iterable[str]) -> None:
        """Free cameras whose last event is in the journal."""
        self._database.run(
            "UPDATE fleet.camera SET worker = NULL, node_before = NULL, freed_at = clock_timestamp() "
            "WHERE worker = %s AND id = ANY(%s)",
            (worker.id, list(cameras)),
            tell=True,
        )

    def end(self, worker: WorkerIdentity) -> None:
        """End a session in order; its cameras are free at once."""
        with self._database.transaction() as db:
            self._free_sessions(db, "id = %s", (worker.id,), "left")
        self._database.tell()

    def bury(self) -> list[str]:
        """End sessions that expired; returns the names of their workers."""
        with self._database.transaction() as db:
            names = self._free_sessions(db, "state = 'alive' AND expires_at < clock_timestamp()", ())
            if names:
                db.execute(
                    "DELETE FROM fleet.worker w WHERE state <> 'alive' AND expires_at < clock_timestamp() - "
                    "%s::interval AND NOT EXISTS (SELECT 1 FROM fleet.camera c WHERE c.worker = w.id)",
                    (KEEP_LOST,),
                )
        if names:
            self._database.tell()
        return names

    def anything_free(self) -> bool:
        """Whether a camera waits for a worker."""
        found = "SELECT EXISTS (SELECT 1 FROM fleet.camera WHERE worker IS NULL AND wanted)"
        return bool(self._database.rows(found)[0][0])

    def too_heavy(self) -> dict[str, float]:
        """Weights of free cameras that are heavier than what any worker carries that may read them."""
        rows = self._database.rows(
            "SELECT id, weight FROM fleet.camera WHERE worker IS NULL AND wanted "
            f"AND {_HEAVY} AND {_LONG_OVERDUE}"
        )
        return {row[0]: float(row[1]) for row in rows}

    def totals(self) -> Totals:
        """The fleet as a whole, by what its workers said last."""
        ready = self._database.rows(
            "SELECT count(*), coalesce(sum(capacity), 0), coalesce(sum(weight), 0), "
            f"coalesce(sum(cameras), 0) FROM fleet.worker WHERE {_READY}"
        )[0]
        free = self._database.rows(
            "SELECT coalesce(sum(weight), 0), count(*) FROM fleet.camera WHERE worker IS NULL AND wanted"
        )[0]
        return Totals(
            int(ready[0]), float(ready[1]), float(ready[2]), float(free[0]), int(ready[3]) + int(free[1])
        )

    def takers(self, worker: WorkerIdentity) -> list[Taker]:
        """The others who may take cameras."""
        rows = self._database.rows(
            f"SELECT capacity, weight, labels FROM fleet.worker WHERE {_READY} AND id <> %s", (worker.id,)
        )
        return [Taker(float(row[0]), float(row[1]), frozenset(row[2])) for row in rows]

    def wants(self, worker: WorkerIdentity) -> dict[str, tuple[float, frozenset[str]]]:
        """Weight and labels of the worker's cameras, by id."""
        rows = self._database.rows(
            "SELECT id, weight, labels FROM fleet.camera WHERE worker = %s", (worker.id,)
        )
        return {row[0]: (float(row[1]), frozenset(row[2])) for row in rows}

    def _renew(
        self,
        db: psycopg.Connection[Any],
        worker: WorkerIdentity,
        capacity: float,
        weights: Mapping[str, float],
        load: Load,
    ) -> Beat | None:
        if not self._touch(db, worker):
            return None
        rows = db.execute(
            "SELECT id, token, wanted, weight FROM fleet.camera WHERE worker = %s", (worker.id,)
        ).fetchall()
        weight = sum(_keep_weight(db, row, weights) for row in rows)
        draining = db.execute(
            "UPDATE fleet.worker SET capacity = %s, weight = %s, cameras = %s, load = %s WHERE id = %s "
            "RETURNING EXISTS (SELECT 1 FROM fleet.draining d WHERE d.node = worker.node)",
            (capacity, weight, len(rows), msgspec.json.encode(load), worker.id),
        ).fetchall()[0][0]
        return Beat(
            held={row[0]: row[1] for row in rows},
            unwanted=frozenset(row[0] for row in rows if not row[2]),
            draining=bool(draining),
        )

    def _touch(self, db: psycopg.Connection[Any], worker: WorkerIdentity) -> bool:
        """Renew the session and hold its row until the transaction ends; False when it is over."""
        renewed = db.execute(
            "UPDATE fleet.worker SET expires_at = clock_timestamp() + %s::interval "
            "WHERE id = %s AND state = 'alive' AND expires_at > clock_timestamp()",
            (self._lease, worker.id),
        )
        return renewed.rowcount == 1

    def _lock_free(
        self,
        db: psycopg.Connection[Any],
        worker: WorkerIdentity,
        condition: str,
        values: Sequence[object],
        declined: Sequence[str],
        room: float,
    ) -> dict[str, float]:
        """Weights of free cameras that there is room for and nobody else is taking, locked."""
        if room <= 0:
            return {}
        rows = db.execute(
            "SELECT id, weight FROM fleet.camera WHERE worker IS NULL AND wanted AND labels <@ %s "
            f"AND weight <= %s AND NOT id = ANY(%s) AND {condition} LIMIT %s FOR UPDATE SKIP LOCKED".encode(),
            (list(worker.labels), room + ROUNDING, list(declined), *values, min(CHUNK, int(room) + 1)),
        ).fetchall()
        return {row[0]: float(row[1]) for row in rows}

    def _lock_heavy(
        self, db: psycopg.Connection[Any], worker: WorkerIdentity, declined: Sequence[str]
    ) -> dict[str, float]:
        """Weight of one camera that is too heavy for every worker, locked: read badly is better than not."""
        rows = db.execute(
            "SELECT id, weight FROM fleet.camera WHERE worker IS NULL AND wanted AND labels <@ %s "
            f"AND NOT id = ANY(%s) AND {_HEAVY} AND {_LONG_OVERDUE} LIMIT 1 FOR UPDATE SKIP LOCKED".encode(),
            (list(worker.labels), list(declined)),
        ).fetchall()
        return {row[0]: float(row[1]) for row in rows}

    def _free_sessions(
        self, db: psycopg.Connection[Any], which: str, values: Sequence[object], state: str = "lost"
    ) -> list[str]:
        """End sessions and free their cameras; a row that is being renewed is left alone."""
        rows = db.execute(
            f"WITH over AS (SELECT id FROM fleet.worker WHERE {which} FOR UPDATE SKIP LOCKED), "
            "ended AS (UPDATE fleet.worker w SET state = %s, weight = 0, cameras = 0, "
            "expires_at = clock_timestamp() FROM over WHERE w.id = over.id RETURNING w.id, w.name, w.node), "
            "freed AS (UPDATE fleet.camera c SET worker = NULL, node_before = ended.node, "
            "freed_at = clock_timestamp() FROM ended WHERE c.worker = ended.id) "
            "SELECT name FROM ended".encode(),
            (*values, state),
        ).fetchall()
        return [row[0] for row in rows]


Turn = tuple[bool, str, Sequence[object]]
_READY = "state = 'alive' AND NOT EXISTS (SELECT 1 FROM fleet.draining d WHERE d.node = worker.node)"
_OVERDUE = f"freed_at < clock_timestamp() - interval '{PATIENCE_S} seconds'"
_LONG_OVERDUE = f"freed_at < clock_timestamp() - interval '{HEAVY_PATIENCE_S} seconds'"
_HEAVY = (
    f"weight > (SELECT max(worker.capacity) + {ROUNDING} FROM fleet.worker WHERE {_READY} "
    "AND camera.labels <@ worker.labels)"
)
_NOBODY_THERE = (
    "(node_before IS NULL OR NOT EXISTS "
    "(SELECT 1 FROM fleet.worker w WHERE w.node = camera.node_before AND w.state = 'alive'))"
)


def _turns(worker: WorkerIdentity) -> list[Turn]:
    """In which order a worker takes: what its node had, what falls to it, what nobody took."""
    return [
        (False, "node_before = %s", (worker.node,)),
        (True, _NOBODY_THERE, ()),
        (False, _OVERDUE, ()),
    ]


def _assign(db: psycopg.Connection[Any], worker: WorkerIdentity, cameras: list[str]) -> dict[str, int]:
    if not cameras:
        return {}
    rows = db.execute(
        "UPDATE fleet.camera SET worker = %s, token = nextval('fleet.fence'), since = clock_timestamp() "
        "WHERE id = ANY(%s) RETURNING id, token",
        (worker.id, cameras),
    ).fetchall()
    return {row[0]: int(row[1]) for row in rows}


def _keep_weight(db: psycopg.Connection[Any], row: Row, weights: Mapping[str, float]) -> float:
    """A camera's weight; the measured one replaces the known one where they differ by a fifth."""
    camera, known = row[0], float(row[3])
    measured = weights.get(camera, known)
    if abs(measured - known) <= 0.2 * known:
        return known
    db.execute("UPDATE fleet.camera SET weight = %s WHERE id = %s", (measured, camera))
    return measured

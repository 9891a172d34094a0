"""What `gaitstream fleet status` shows: workers, what they carry, and cameras by worker."""

from __future__ import annotations

from typing import Any

import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.leases import Leases
from gaitstream.fleet.load import Load

_STATE_STYLES = {"alive": "green", "draining": "yellow", "lost": "bold red", "left": "dim"}
_MOST_CAMERAS = 8
"""Names of cameras in one row before the rest is only counted."""
_NARROW = 100
_STATE = (
    "CASE WHEN w.state <> 'alive' THEN w.state WHEN w.expires_at < clock_timestamp() THEN 'lost' "
    "WHEN EXISTS (SELECT 1 FROM fleet.draining d WHERE d.node = w.node) THEN 'draining' ELSE 'alive' END"
)
"""A session that expired is lost, also while no other worker is there to bury it."""
_WORKERS = (
    f"SELECT w.id, w.name, w.node, w.version, w.capacity, w.weight, w.load, {_STATE}, "
    "extract(epoch FROM clock_timestamp() - w.started_at)::float8, "
    "extract(epoch FROM clock_timestamp() - w.expires_at)::float8 FROM fleet.worker w "
    "WHERE (w.state = 'alive' AND w.expires_at > clock_timestamp()) OR NOT EXISTS "
    "(SELECT 1 FROM fleet.worker n WHERE n.name = w.name AND n.started_at > w.started_at) "
    "ORDER BY w.state <> 'alive' OR w.expires_at < clock_timestamp(), w.name"
)
_CAMERAS = (
    "SELECT CASE WHEN w.expires_at > clock_timestamp() THEN w.id END, c.id, "
    "extract(epoch FROM clock_timestamp() - coalesce(c.since, c.freed_at))::float8, "
    "extract(epoch FROM clock_timestamp() - coalesce(w.expires_at, c.freed_at))::float8 "
    "FROM fleet.camera c LEFT JOIN fleet.worker w ON w.id = c.worker "
    "WHERE c.wanted OR w.expires_at > clock_timestamp() ORDER BY c.id"
)
"""Who has a camera, and since when; whose worker is lost waits from the end of its session."""


class WorkerStatus(msgspec.Struct, frozen=True):
    """One worker.

    Attributes:
        name: of it.
        node: the machine.
        state: `alive`, `draining`, `lost` (it stopped renewing) or `left` (it ended in order).
        version: of gaitstream.
        capacity: what it carries.
        weight: of what it has.
        load: as it was measured last.
        cameras: ids, with the seconds it has each.
        since_s: seconds since its session began.
        gone_s: seconds since it was lost or left; 0 while it is there.
    """

    name: str
    node: str
    state: str
    version: str
    capacity: float
    weight: float
    load: Load
    cameras: dict[str, float]
    since_s: float
    gone_s: float


class FleetStatus(msgspec.Struct, frozen=True):
    """The whole fleet.

    Attributes:
        workers: by name, those that are gone last.
        waiting: cameras without a worker, with the seconds they have waited.
        heavy: those among them that are heavier than what any worker carries, with their weights.
    """

    workers: list[WorkerStatus]
    waiting: dict[str, float]
    heavy: dict[str, float] = {}


def read_status(database: FleetDatabase) -> FleetStatus:
    """How the fleet is now."""
    rows = database.rows(_WORKERS)
    held = database.rows(_CAMERAS)
    workers = [_worker(row, {camera: s for holder, camera, s, _ in held if holder == row[0]}) for row in rows]
    waiting = {camera: s for holder, camera, _, s in held if holder is None}
    heavy = {camera: weight for camera, weight in Leases(database).too_heavy().items() if camera in waiting}
    return FleetStatus(workers, waiting, heavy)


def status_json(found: FleetStatus) -> str:
    """As one JSON object."""
    return msgspec.json.encode(found).decode()


def status_table(found: FleetStatus, width: int = 160) -> Group:
    """As a table for a terminal of this width."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("worker", "state", "since", "load", "frames/s", "p95", "people", "cameras"):
        table.add_column(heading, justify="left" if heading in ("worker", "state", "cameras") else "right")
    for worker in found.workers:
        table.add_row(*_cells(worker, _MOST_CAMERAS if width >= _NARROW else 3))
    held = sum(len(worker.cameras) for worker in found.workers)
    totals = Text(f"{held} cameras are read, {len(found.waiting)} wait for a worker")
    if found.waiting:
        longest = max(found.waiting.values())
        totals.append(
            f" ({', '.join(list(found.waiting)[:_MOST_CAMERAS])}; longest {longest:.0f} s)", "bold red"
        )
    if found.heavy:
        heavy = [f"{camera} ({weight:.1f})" for camera, weight in found.heavy.items()][:_MOST_CAMERAS]
        totals.append(
            f"\nheavier than what any worker carries: {', '.join(heavy)}; lower their fps, or add a worker "
            "with more capacity",
            "bold red",
        )
    return Group(table, totals)


def _worker(row: tuple[Any, ...], cameras: dict[str, float]) -> WorkerStatus:
    load = msgspec.json.decode(bytes(row[6]), type=Load) if row[6] else Load()
    gone_s = 0.0 if row[7] in ("alive", "draining") else round(row[9], 1)
    seconds = {camera: round(s, 1) for camera, s in cameras.items()}
    return WorkerStatus(
        row[1], row[2], row[7], row[3], row[4], round(row[5], 2), load, seconds, round(row[8], 1), gone_s
    )


def _cells(worker: WorkerStatus, most: int) -> list[Text | str]:
    names = list(worker.cameras)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    gone = f" {worker.gone_s:.0f} s ago" if worker.gone_s else ""
    state = Text(worker.state + gone, _STATE_STYLES.get(worker.state, ""))
    if worker.state in ("lost", "left"):
        return [worker.name, state, "", "", "", "", "", ""]
    return [
        worker.name,
        state,
        f"{worker.since_s:.0f} s",
        f"{worker.weight:.1f}/{worker.capacity:g}",
        f"{worker.load.fps:.1f}",
        f"{worker.load.lag_ms:.0f} ms",
        f"{worker.load.people:.1f}",
        ", ".join(names[:most]) + more,
    ]

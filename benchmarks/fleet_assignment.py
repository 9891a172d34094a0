"""The fleet's assignment at size, in a real PostgreSQL server: many workers, many cameras, no pictures.

python -m benchmarks.fleet_assignment [--workers 600] [--cameras 10000] [--seconds 30] [--threads 24]

Workers are objects that do what a worker's thread of leases does, driven by a few threads over as many
connections (as a connection pooler would); everything runs on one machine, so that the database shares its
cores with them. Measured: how long it takes until every camera has a worker, what keeping the leases costs
a second, and how many cameras move when a tenth of the workers dies.
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import statistics
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.leases import BEAT_S, LEASE_S, Leases, WorkerIdentity
from gaitstream.fleet.load import Load
from gaitstream.fleet.local_server import PostgresServer

SPARE = 1.25
"""Capacity of all workers together, in cameras."""
PATIENCE_S = 120.0


@dataclass
class SimulatedWorker:
    """One worker's session and what it holds."""

    identity: WorkerIdentity
    capacity: float
    cameras: dict[str, int] = field(default_factory=dict)
    alive: bool = True

    def beat(self, leases: Leases) -> float:
        """What `LeaseKeeper` does in a beat; how long it took, in seconds."""
        began_s = time.perf_counter()
        beat = leases.renew(self.identity, self.capacity, {}, Load())
        if beat is None:
            self.identity = leases.begin(self.identity, self.capacity)
            self.cameras = {}
            return time.perf_counter() - began_s
        self.cameras = dict(beat.held)
        leases.bury()
        if leases.anything_free() and len(self.cameras) < self.capacity:
            self.cameras |= leases.take(self.identity, self.capacity, leases.totals())
        return time.perf_counter() - began_s


class Fleet:
    """All workers, each beaten once a beat by a pool of threads.

    Attributes:
        took_s: of every beat.
        late: beats that began later than a lease allows.
    """

    def __init__(self, url: str, workers: list[SimulatedWorker], threads: int, lease_s: float) -> None:
        self.took_s: list[float] = []
        self.late = 0
        self._lease_s = lease_s
        self._due: queue.PriorityQueue[tuple[float, int]] = queue.PriorityQueue()
        self._workers = workers
        self._stop = threading.Event()
        now_s = time.monotonic()
        for number in range(len(workers)):
            self._due.put((now_s + BEAT_S * number / len(workers), number))
        self._threads = [threading.Thread(target=self._work, args=(url,)) for _ in range(threads)]

    def __enter__(self) -> Fleet:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, url: str) -> None:
        database = FleetDatabase(url)
        leases = Leases(database, self._lease_s)
        while not self._stop.is_set():
            try:
                due_s, number = self._due.get(timeout=0.2)
            except queue.Empty:
                continue
            worker = self._workers[number]
            if not worker.alive:
                continue
            wait_s = due_s - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
            self.late += wait_s < -self._lease_s
            self.took_s.append(worker.beat(leases))
            self._due.put((max(due_s + BEAT_S, time.monotonic()), number))
        database.close()


def until_taken(database: FleetDatabase) -> float:
    """Seconds until no camera waits."""
    began_s = time.monotonic()
    leases = Leases(database)
    while leases.anything_free():
        if time.monotonic() - began_s > PATIENCE_S:
            raise TimeoutError("cameras still wait")
        time.sleep(0.05)
    return time.monotonic() - began_s


def owners(database: FleetDatabase) -> dict[str, str]:
    """Worker by camera."""
    return dict(database.rows("SELECT id, worker FROM fleet.camera"))


def database_cpu_s(server: PostgresServer) -> float:
    """CPU time of the server's processes so far, ended ones as far as the parent counted them."""
    total = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            if str(server.folder) in (folder / "environ").read_text(errors="replace") or (
                (folder / "cwd").resolve().is_relative_to(server.folder)
            ):
                total += (int(words[11]) + int(words[12])) / 100
        except OSError:
            continue
    return total


def simulate(workers: int, cameras: int, seconds: float, threads: int, lease_s: float) -> dict[str, object]:
    """Everything; the figures by name."""
    server = PostgresServer(connections=threads + 10)
    try:
        url = server.new_database()
        database = FleetDatabase(url, create=True)
        database.run(
            "INSERT INTO fleet.camera (id) SELECT 'cam-' || n FROM generate_series(1, %s) n", (cameras,)
        )
        leases = Leases(database, lease_s=PATIENCE_S)  # until the threads take over
        capacity = float(-(-cameras * SPARE // workers))
        fleet = [
            SimulatedWorker(leases.begin(WorkerIdentity(f"w-{n}", f"n-{n}", f"j-{n}"), capacity), capacity)
            for n in range(workers)
        ]
        with Fleet(url, fleet, threads, lease_s) as running:
            all_taken_s = until_taken(database)
            loads = [len(worker.cameras) for worker in fleet]
            time.sleep(2 * BEAT_S)
            running.took_s.clear()
            cpu_s, began_s = database_cpu_s(server), time.monotonic()
            time.sleep(seconds)
            spent_s = time.monotonic() - began_s
            took, cpu_s = list(running.took_s), database_cpu_s(server) - cpu_s
            before = owners(database)
            dying = random.Random(1).sample(fleet, workers // 10)
            lost = sum(len(worker.cameras) for worker in dying)
            for worker in dying:
                worker.alive = False
            time.sleep(lease_s / 2)
            died_s = time.monotonic() - lease_s / 2
            while any(holder in {w.identity.id for w in dying} for holder in owners(database).values()):
                time.sleep(0.2)
            until_taken(database)
            recovered_s = time.monotonic() - died_s
            moved = sum(before[camera] != holder for camera, holder in owners(database).items())
        return {
            "workers": workers, "cameras": cameras, "threads": threads, "lease_s": lease_s,
            "all_taken_s": round(all_taken_s, 2), "least_and_most": [min(loads), max(loads)],
            "beats_per_s": round(len(took) / spent_s, 1), "wanted_beats_per_s": round(workers / BEAT_S, 1),
            "beat_p50_ms": round(1e3 * statistics.median(took), 2),
            "beat_p99_ms": round(1e3 * statistics.quantiles(took, n=100)[98], 2),
            "database_cores": round(cpu_s / spent_s, 3), "late_beats": running.late,
            "cameras_of_the_dead": lost, "moved": moved, "recovered_s": round(recovered_s, 2),
        }  # fmt: skip
    finally:
        server.close()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=600)
    parser.add_argument("--cameras", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=24)
    parser.add_argument("--lease", type=float, default=LEASE_S)
    args = parser.parse_args()
    print(json.dumps(simulate(args.workers, args.cameras, args.seconds, args.threads, args.lease), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

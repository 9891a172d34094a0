"""A worker of `fleet_chaos.py` without pictures: the product's leases, journal and publisher, and a counter.

python -m benchmarks.fleet_process CONFIG

Where the pipeline would decide who somebody is, this one counts, many times a second, so that whoever had a
camera when is seen from the events to a few milliseconds.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import threading
import time
from pathlib import Path

import msgspec

from gaitstream.events import Journal, Publisher, TrackStarted
from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.directory import Served, register
from gaitstream.fleet.keeper import Carrying, KeeperThreads, LeaseKeeper
from gaitstream.fleet.leases import LEASE_S, WorkerIdentity
from gaitstream.fleet.load import Capacity, LoadMeter
from gaitstream.fleet.roster import LeaseRoster
from gaitstream.parent import end_with_parent
from gaitstream.telemetry.stats import Stats

EVENT_S = 0.05
"""Pause between two events of a camera."""


class WorkerConfig(msgspec.Struct):
    """What a worker is told.

    Attributes:
        url: of the fleet's database.
        journal: folder of its journal.
    """

    url: str
    node: str
    journal: str
    capacity: float


def run(config: WorkerConfig, stop: threading.Event) -> None:
    """Count on every camera that is leased, until stopped."""
    roster, stats, run_id = LeaseRoster(), Stats(), secrets.token_hex(4)
    publisher = Publisher(Journal(config.journal, sync="never"), "tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
    identity = WorkerIdentity(f"{config.node}-0", config.node, publisher.journal.id.hex())

    def announce(database: FleetDatabase) -> None:
        register(database, Served.of(publisher, identity.name, "", None))

    keeper = LeaseKeeper(
        lambda: FleetDatabase(config.url), identity, roster,
        Carrying(Capacity(config.capacity, 1.0, 1e9), LoadMeter(lambda _: 15.0), stats.snapshot),
        lease_s=LEASE_S, announce=announce, follow=lambda _: None,
    )  # fmt: skip
    threads = KeeperThreads(keeper, roster, lambda: None)
    threads.start()
    cameras: dict[str, int] = {}
    while not stop.wait(EVENT_S):
        leaving, coming = roster.poll()
        for camera in leaving:
            cameras.pop(camera, None)
            roster.left(camera)
        for camera in coming:
            if roster.entered(camera):
                cameras[camera] = 0
        for camera in cameras:
            cameras[camera] += 1
            event = roster.mark(
                TrackStarted(time_ns=time.time_ns(), run=run_id, camera=camera, track=cameras[camera])
            )
            if event is not None:
                publisher.publish(event)
    threads.close()
    publisher.close()


def main() -> int:
    """Run until SIGTERM, or until the parent ends."""
    end_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    config = msgspec.json.decode(sys.argv[1], type=WorkerConfig)
    Path(config.journal).mkdir(parents=True, exist_ok=True)
    logging.info("worker %s is process %d", config.node, os.getpid())
    run(config, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What `fleet status` says of workers that are gone while nobody is left to bury them."""

from __future__ import annotations

import time

from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.leases import Leases, WorkerIdentity
from gaitstream.fleet.status import read_status

SHORT_S = 0.4


def begin(leases: Leases, name: str, journal: str) -> WorkerIdentity:
    return leases.begin(WorkerIdentity(name, "node", journal), 8)


def test_the_last_worker_is_lost_when_its_session_expires_and_its_cameras_wait(
    database: FleetDatabase,
) -> None:
    database.run("INSERT INTO fleet.camera (id) VALUES ('hall')")
    leases = Leases(database, SHORT_S)
    began_s = time.monotonic()
    leases.take(begin(leases, "a", "journal"), 8, leases.totals())
    taken_s = time.monotonic() - began_s
    (worker,) = read_status(database).workers
    assert (worker.state, set(worker.cameras), worker.gone_s) == ("alive", {"hall"}, 0)
    time.sleep(SHORT_S + 0.2)
    found = read_status(database)
    (worker,) = found.workers
    assert (worker.state, worker.cameras) == ("lost", {})
    assert worker.gone_s > 0
    assert abs(found.waiting["hall"] - worker.gone_s) < taken_s + 0.2


def test_an_expired_session_is_not_shown_beside_the_next_one_of_the_same_worker(
    database: FleetDatabase,
) -> None:
    leases = Leases(database, SHORT_S)
    begin(leases, "a", "journal")
    again = begin(leases, "a", "another journal")
    assert len(read_status(database).workers) == 2  # both may still act
    time.sleep(SHORT_S + 0.1)
    assert [worker.state for worker in read_status(database).workers] == ["lost"]
    leases.end(again)
    assert [worker.state for worker in read_status(database).workers] == ["left"]

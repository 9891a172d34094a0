"""What a worker does in a beat, with a clock of its own and a real database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psycopg
import pytest

from gaitstream.errors import FleetError
from gaitstream.fleet.clock import steady_s
from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.keeper import Carrying, KeeperThreads, LeaseKeeper
from gaitstream.fleet.leases import WorkerIdentity
from gaitstream.fleet.load import Capacity, LoadMeter
from gaitstream.fleet.roster import LeaseRoster
from gaitstream.telemetry.stats import Stats


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Worker:
    """A keeper with what it needs; `turn` is what the pipeline's thread would do."""

    def __init__(
        self, url: str, name: str, capacity: float, clock: Callable[[], float], lease_s: float = 5.0
    ) -> None:
        self.url, self.clock = url, clock if isinstance(clock, Clock) else Clock()
        self.roster = LeaseRoster(clock)
        self.stats = Stats()
        self.announced = self.followed = 0
        self.carrying = Carrying(Capacity(capacity, 1, 1000), LoadMeter(lambda _: 15.0), self.stats.snapshot)
        self.keeper = LeaseKeeper(
            self.connect, WorkerIdentity(f"{name}-0", name, f"journal-{name}"), self.roster, self.carrying,
            lease_s=lease_s, announce=self.announce, follow=self.follow, clock=clock,
        )  # fmt: skip
        self.connect_to: Callable[[], FleetDatabase] = lambda: FleetDatabase(self.url)

    def connect(self) -> FleetDatabase:
        return self.connect_to()

    def announce(self, _: FleetDatabase) -> None:
        self.announced += 1

    def follow(self, _: FleetDatabase) -> None:
        self.followed += 1

    def turn(self) -> None:
        leaving, coming = self.roster.poll()
        for camera in leaving:
            self.roster.left(camera)
        for camera in coming:
            self.roster.entered(camera)

    def beat(self, count: int = 1, every_s: float = 1.0) -> None:
        for _ in range(count):
            self.keeper.beat()
            self.turn()
            self.clock.now += every_s

    @property
    def cameras(self) -> set[str]:
        return {f"c{number}" for number in range(20) if self.roster.runs(f"c{number}")}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(database: FleetDatabase) -> FleetDatabase:
    for number in range(6):
        database.run("INSERT INTO fleet.camera (id) VALUES (%s)", (f"c{number}",))
    return database


def test_a_worker_takes_cameras_announces_itself_and_gives_all_back_at_the_end(
    site: FleetDatabase, fleet_url: str, clock: Clock
) -> None:
    worker = Worker(fleet_url, "a", 8, clock)
    worker.beat()
    assert len(worker.cameras) == 6
    assert (worker.announced, worker.followed) == (1, 1)
    worker.keeper.end()
    assert site.rows("SELECT count(*) FROM fleet.camera WHERE worker IS NULL") == [(6,)]
    assert site.rows("SELECT state FROM fleet.worker") == [("left",)]


def test_without_the_database_cameras_stop_in_time_and_come_back_with_it(
    site: FleetDatabase, fleet_url: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(fleet_url, "a", 8, clock)
    worker.beat()

    def away() -> FleetDatabase:
        raise FleetError("the database is away")

    there, worker.connect_to = worker.connect_to, away
    assert worker.keeper._database is not None
    worker.keeper._database.close()
    worker.keeper._database = None
    worker.beat(3)
    assert len(worker.cameras) == 6  # still within the lease
    worker.beat(1)
    assert worker.cameras == set()
    assert sum("the database is away" in line for line in caplog.messages) == 1
    worker.connect_to = there
    site.run("UPDATE fleet.worker SET expires_at = clock_timestamp() - interval '1 second'")
    worker.beat(3)
    assert len(worker.cameras) == 6
    tokens = [row[0] for row in site.rows("SELECT token FROM fleet.camera")]
    assert min(tokens) > 6


def test_a_session_that_others_ended_is_begun_anew(site: FleetDatabase, fleet_url: str, clock: Clock) -> None:
    worker = Worker(fleet_url, "a", 8, clock)
    worker.beat()
    site.run("UPDATE fleet.worker SET state = 'lost'")
    site.run("UPDATE fleet.camera SET worker = NULL")
    worker.beat()
    assert worker.cameras == set()
    worker.beat(2)
    assert len(worker.cameras) == 6
    assert worker.announced == 2


def test_a_camera_that_left_the_site_is_given_back(site: FleetDatabase, fleet_url: str, clock: Clock) -> None:
    worker = Worker(fleet_url, "a", 8, clock)
    worker.beat()
    site.run("UPDATE fleet.camera SET wanted = false WHERE id = 'c3'")
    worker.beat(2)
    assert worker.cameras == {"c0", "c1", "c2", "c4", "c5"}
    assert site.rows("SELECT worker FROM fleet.camera WHERE id = 'c3'") == [(None,)]


def test_a_node_is_drained_in_steps_and_takes_cameras_again_afterwards(
    site: FleetDatabase, fleet_url: str, clock: Clock
) -> None:
    worker = Worker(fleet_url, "a", 8, clock)
    worker.beat()
    site.run("INSERT INTO fleet.draining VALUES ('a')")
    worker.beat()
    assert len(worker.cameras) == 2
    worker.beat(2)
    assert worker.cameras == set()
    assert site.rows("SELECT count(*) FROM fleet.camera WHERE worker IS NULL") == [(6,)]
    site.run("DELETE FROM fleet.draining")
    worker.beat()
    assert len(worker.cameras) == 6


def test_a_machine_that_joins_gets_as_many_as_evenness_asks_and_no_more_move(
    site: FleetDatabase, fleet_url: str, clock: Clock
) -> None:
    first, second = Worker(fleet_url, "a", 8, clock), Worker(fleet_url, "b", 8, clock)
    first.beat()
    moved = set()
    for _ in range(40):
        before = first.cameras
        first.beat(every_s=0.5)
        second.beat(every_s=0.5)
        moved |= before - first.cameras
    assert (len(first.cameras), len(second.cameras)) == (4, 2)
    assert moved == second.cameras


def test_an_overloaded_worker_gives_cameras_to_others_and_does_not_take_them_back(
    site: FleetDatabase, fleet_url: str, clock: Clock
) -> None:
    first, second = Worker(fleet_url, "a", 8, clock), Worker(fleet_url, "b", 8, clock)
    first.beat()
    second.beat()
    first.carrying.capacity.now = 3.5  # as three bad measurements leave it
    for _ in range(12):
        first.beat(every_s=0.5)
        second.beat(every_s=0.5)
    assert (len(first.cameras), len(second.cameras)) == (3, 3)


def test_an_overloaded_worker_keeps_what_nobody_else_can_carry(
    site: FleetDatabase, fleet_url: str, clock: Clock
) -> None:
    worker = Worker(fleet_url, "a", 8, clock)
    worker.beat()
    worker.carrying.capacity.now = 3.0
    worker.beat(12)
    assert len(worker.cameras) == 6


def test_leases_are_kept_on_after_an_error_that_nobody_foresaw(
    site: FleetDatabase, fleet_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(fleet_url, "a", 6, Clock())

    def fail_once(database: FleetDatabase) -> None:
        worker.followed += 1
        if worker.followed == 1:
            raise ValueError("of no kind that is known")

    monkeypatch.setattr(worker.keeper, "_follow", fail_once)
    threads = KeeperThreads(worker.keeper, worker.roster, lambda: None)
    threads.start()
    deadline_s = time.monotonic() + 20
    while worker.followed < 3:
        assert time.monotonic() < deadline_s, "the thread has ended"
        time.sleep(0.05)
    threads.close()


def test_a_database_that_hangs_is_connected_to_anew_and_not_waited_for_at_the_end(
    site: FleetDatabase, fleet_url: str
) -> None:
    worker = Worker(fleet_url, "a", 6, steady_s, lease_s=2.0)
    threads = KeeperThreads(worker.keeper, worker.roster, lambda: None)
    threads.start()

    def until(what: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + 60
        while not what():
            assert time.monotonic() < deadline_s
            time.sleep(0.05)

    until(lambda: worker.announced == 1 and worker.followed > 0)
    with psycopg.connect(fleet_url) as holding:  # whoever wants the table hears nothing
        holding.execute("LOCK TABLE fleet.worker IN ACCESS EXCLUSIVE MODE")
        until(lambda: worker.keeper._away)
    until(lambda: worker.announced == 2)  # it came back by itself
    with psycopg.connect(fleet_url) as holding:
        holding.execute("LOCK TABLE fleet.worker IN ACCESS EXCLUSIVE MODE")
        closing = threading.Thread(target=threads.close, daemon=True)
        closing.start()
        closing.join(60)
        assert not closing.is_alive()

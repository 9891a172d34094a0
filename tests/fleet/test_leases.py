from __future__ import annotations

import io
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
from rich.console import Console

from gaitstream.errors import FleetError
from gaitstream.fleet import database as database_module
from gaitstream.fleet.balance import Totals
from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.leases import Leases, WorkerIdentity
from gaitstream.fleet.load import Load
from gaitstream.fleet.local_server import PostgresServer
from gaitstream.fleet.status import FleetStatus, read_status, status_table

SHORT_S = 0.4


def add_cameras(database: FleetDatabase, count: int, labels: tuple[str, ...] = ()) -> None:
    for number in range(count):
        database.run(
            "INSERT INTO fleet.camera (id, labels) VALUES (%s, %s)",
            (f"{'-'.join(labels)}c{number:03}", list(labels)),
        )


def begin(leases: Leases, name: str, capacity: float = 8, labels: tuple[str, ...] = ()) -> WorkerIdentity:
    return leases.begin(WorkerIdentity(name, f"node-{name[0]}", f"journal-{name}", labels), capacity)


def renew(leases: Leases, worker: WorkerIdentity):  # type: ignore[no-untyped-def]
    return leases.renew(worker, 8, {}, Load())


def take(leases: Leases, worker: WorkerIdentity, capacity: float = 8) -> dict[str, int]:
    return leases.take(worker, capacity, leases.totals())


def test_a_camera_has_one_worker_and_every_lease_a_higher_token(database: FleetDatabase) -> None:
    add_cameras(database, 6)
    leases = Leases(database)
    first, second = begin(leases, "a"), begin(leases, "b")
    by_first, by_second = take(leases, first), take(leases, second)
    assert not by_first.keys() & by_second.keys()
    assert len(by_first) + len(by_second) == 6
    assert len({*by_first.values(), *by_second.values()}) == 6
    leases.give_back(first, by_first)
    again = leases.take(second, 8, Totals(1, 8, 3, 3, 6))
    assert again.keys() == by_first.keys()
    assert min(again.values()) > max(*by_first.values(), *by_second.values())


def wait_long(database: FleetDatabase) -> None:
    database.run("UPDATE fleet.camera SET freed_at = freed_at - interval '1 minute'")


def test_a_camera_too_heavy_for_every_worker_is_read_by_one_that_can_spare_itself(
    database: FleetDatabase,
) -> None:
    add_cameras(database, 6)
    database.run("UPDATE fleet.camera SET weight = 20 WHERE id = 'c000'")
    leases = Leases(database)
    first = begin(leases, "a")
    assert take(leases, first).keys() == {f"c{number:03}" for number in range(1, 6)}
    assert leases.too_heavy() == {}, "a stronger worker may be about to come"
    wait_long(database)
    renew(leases, first)
    assert take(leases, first) == {}, "its others would suffer"
    assert leases.too_heavy() == {"c000": 20.0}
    assert "heavier than what any worker carries: c000 (20.0)" in text_of(read_status(database))
    second = begin(leases, "b")
    assert take(leases, second).keys() == {"c000"}
    assert (leases.too_heavy(), take(leases, first)) == ({}, {})
    leases.end(second)
    wait_long(database)
    begin(leases, "c", 4)
    strong = begin(leases, "d", 30)
    assert leases.too_heavy() == {}
    assert "c000" in take(leases, strong, 30)


def test_a_worker_gives_way_to_a_heavy_camera_where_its_others_fit_elsewhere(database: FleetDatabase) -> None:
    add_cameras(database, 3)
    database.run("UPDATE fleet.camera SET weight = 20 WHERE id = 'c000'")
    leases = Leases(database)
    first, second = begin(leases, "a"), begin(leases, "b")
    assert leases.take(first, 8, Totals(2, 16, 0, 22, 3)).keys() == {"c001", "c002"}
    wait_long(database)
    renew(leases, first)
    assert take(leases, first).keys() == {"c000"}
    assert leases.take(second, 8, leases.totals()) == {}


def text_of(found: FleetStatus) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(status_table(found))
    return console.export_text()


def test_an_expired_session_cannot_be_renewed_and_takes_nothing(database: FleetDatabase) -> None:
    add_cameras(database, 2)
    leases = Leases(database, SHORT_S)
    worker = begin(leases, "a")
    assert take(leases, worker)
    time.sleep(SHORT_S + 0.1)
    assert renew(leases, worker) is None
    assert take(leases, worker) == {}


def test_a_renewed_session_is_not_buried_and_an_expired_one_frees_its_cameras(
    database: FleetDatabase,
) -> None:
    add_cameras(database, 2)
    leases = Leases(database, SHORT_S)
    dead, alive = begin(leases, "a"), begin(leases, "b")
    held = leases.take(dead, 8, Totals(1, 8, 0, 2, 2))
    for _ in range(4):
        time.sleep(SHORT_S / 3)
        assert renew(leases, alive) is not None
    assert leases.bury() == ["a"]
    assert leases.bury() == []
    taken = leases.take(alive, 8, leases.totals())
    assert taken.keys() == held.keys()
    assert renew(leases, dead) is None


def test_burying_waits_for_no_renewal_under_way_and_does_not_win_over_it(
    database: FleetDatabase, fleet_url: str
) -> None:
    leases = Leases(database, SHORT_S)
    worker = begin(leases, "a")
    other = FleetDatabase(fleet_url)
    with database.transaction() as db:
        assert leases._touch(db, worker)
        time.sleep(SHORT_S / 2)
        db.execute(
            "SELECT pg_sleep(%s)", (SHORT_S,)
        )  # the renewal is still under way when the old end passes
        assert Leases(other).bury() == []
    other.close()


def test_a_worker_that_hangs_in_the_middle_of_a_renewal_keeps_its_cameras_no_longer(
    database: FleetDatabase, fleet_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_cameras(database, 2)
    monkeypatch.setattr(database_module, "_FLEET", replace(database_module._FLEET, idle_s=1))
    its_own = FleetDatabase(fleet_url)
    leases, others = Leases(its_own, 3.0), Leases(database)
    worker = begin(leases, "a")
    assert take(leases, worker)
    renewal = its_own.transaction()
    assert leases._touch(renewal.__enter__(), worker)
    deadline_s = time.monotonic() + 60
    while not others.anything_free():  # its session is over, and its row locked until the server ends it
        assert time.monotonic() < deadline_s
        others.bury()
        time.sleep(0.05)
    with pytest.raises(FleetError):
        renewal.__exit__(None, None, None)
    its_own.close()


def test_a_camera_goes_back_to_the_node_that_had_it(database: FleetDatabase) -> None:
    add_cameras(database, 4)
    leases = Leases(database)
    before = begin(leases, "a")
    held = take(leases, before)
    begin(leases, "a2")  # another worker of the same node is alive
    stranger = begin(leases, "b")
    leases.end(before)
    assert take(leases, stranger) == {}  # left to the node, for a while
    again = leases.begin(WorkerIdentity("a", "node-a", "journal-a"), 8)
    assert take(leases, again).keys() == held.keys()


def test_what_the_node_does_not_take_goes_to_others_after_a_moment(database: FleetDatabase) -> None:
    add_cameras(database, 2)
    leases = Leases(database)
    before = begin(leases, "a")
    take(leases, before)
    begin(leases, "a2")
    stranger = begin(leases, "b")
    leases.end(before)
    time.sleep(1.1)
    assert len(take(leases, stranger)) == 2


def test_the_same_journal_means_that_the_session_before_is_over(database: FleetDatabase) -> None:
    add_cameras(database, 2)
    leases = Leases(database)
    first = begin(leases, "a")
    held = take(leases, first)
    again = begin(leases, "a")
    assert renew(leases, first) is None
    assert take(leases, again).keys() == held.keys()


def test_capacity_weights_and_labels_bound_what_is_taken(database: FleetDatabase) -> None:
    add_cameras(database, 5)
    add_cameras(database, 2, ("north",))
    database.run("UPDATE fleet.camera SET weight = 2 WHERE id IN ('c000', 'c001')")
    leases = Leases(database)
    south, north = begin(leases, "a"), begin(leases, "b", labels=("north", "gpu"))
    taken = leases.take(south, 4, Totals(1, 4, 0, 9, 9))
    weight = database.rows("SELECT sum(weight) FROM fleet.camera WHERE worker IS NOT NULL")[0][0]
    assert weight == 4
    assert not any(camera.startswith("north") for camera in taken)
    rest = leases.take(north, 8, Totals(1, 8, 0, 5, 5))
    assert {"northc000", "northc001"} <= rest.keys()


def test_cameras_too_large_for_a_worker_do_not_hide_those_that_fit(database: FleetDatabase) -> None:
    add_cameras(database, 9)
    database.run("UPDATE fleet.camera SET weight = 5, freed_at = clock_timestamp() - interval '1 minute'")
    database.run("INSERT INTO fleet.camera (id) VALUES ('small')")
    leases = Leases(database)
    assert list(take(leases, begin(leases, "a", 1.5), 1.5)) == ["small"]


def test_a_new_weight_is_kept_where_it_moved(database: FleetDatabase) -> None:
    add_cameras(database, 2)
    leases = Leases(database)
    worker = begin(leases, "a")
    take(leases, worker)
    leases.renew(worker, 8, {"c000": 3.0, "c001": 1.1}, Load(fps=7))
    assert dict(database.rows("SELECT id, weight FROM fleet.camera")) == {"c000": 3.0, "c001": 1.0}
    assert leases.totals().weight == 4.0


def test_unwanted_cameras_and_draining_nodes_are_told(database: FleetDatabase) -> None:
    add_cameras(database, 2)
    leases = Leases(database)
    worker = begin(leases, "a")
    take(leases, worker)
    database.run("UPDATE fleet.camera SET wanted = false WHERE id = 'c001'")
    database.run("INSERT INTO fleet.draining VALUES ('node-a')")
    beat = renew(leases, worker)
    assert beat.unwanted == {"c001"}
    assert beat.draining
    assert leases.totals().workers == 0


def test_many_workers_at_once_share_everything_out_and_nothing_twice(
    database: FleetDatabase, fleet_url: str
) -> None:
    add_cameras(database, 40)
    taken: list[str] = []
    workers = 8
    ready = threading.Barrier(workers)

    def work(number: int) -> None:
        mine = FleetDatabase(fleet_url)
        leases = Leases(mine)
        worker = begin(leases, f"w{number}", 6)
        ready.wait()
        for _ in range(4):
            taken.extend(take(leases, worker, 6))
        mine.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(Counter(taken).values()) == 1
    assert len(taken) == 40


def test_a_newer_schema_is_refused_by_name(database: FleetDatabase, fleet_url: str) -> None:
    database.run("UPDATE fleet.setting SET value = '7' WHERE name = 'schema'")
    database.run("UPDATE fleet.setting SET value = '9.1.0' WHERE name = 'version'")
    with pytest.raises(FleetError, match=r"schema 7, made by gaitstream 9\.1\.0.*install 9\.1\.0 or newer"):
        FleetDatabase(fleet_url)


def test_a_database_without_a_fleet_says_how_to_make_one(fleet_url: str) -> None:
    with pytest.raises(FleetError, match="gaitstream fleet up"):
        FleetDatabase(fleet_url)


def test_a_database_without_an_encoding_keeps_leases_too(postgres_server: PostgresServer) -> None:
    database = FleetDatabase(postgres_server.new_database("SQL_ASCII"), create=True)
    add_cameras(database, 2)
    leases = Leases(database)
    worker = begin(leases, "größe ш")
    taken = take(leases, worker)
    beat = renew(leases, worker)
    assert beat is not None
    assert taken == beat.held
    assert sorted(taken) == ["c000", "c001"]
    database.close()

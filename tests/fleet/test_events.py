"""Finding and following the publishers of a fleet, and collecting what they say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gaitstream.errors import EventError
from gaitstream.events import (
    GalleryChanged,
    Journal,
    Positions,
    Publisher,
    Received,
    Subscriber,
    TrackEnded,
    TrackStarted,
)
from gaitstream.fleet.collect import Collector
from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.directory import Served, reachable, register
from tests.pipeline.walkers import free_port


@contextmanager
def serving(
    database: FleetDatabase, folder: Path, worker: str, endpoint: str = "tcp://127.0.0.1:0"
) -> Iterator[Publisher]:
    """A worker's journal on the wire, registered."""
    replay = "tcp://127.0.0.1:0"
    with Publisher(Journal(folder / worker, sync="never"), endpoint, replay) as publisher:
        register(database, Served.of(publisher, worker, "", None))
        yield publisher


def publish(publisher: Publisher, *tracks: int) -> None:
    for track in tracks:
        publisher.publish(TrackStarted(time_ns=time.time_ns(), camera="gate", track=track))


def receive(subscriber: Subscriber, count: int, timeout_s: float = 15.0) -> list[int]:
    """Tracks of so many events, and of those that come in the moment after."""
    heard: list[Received] = []
    deadline = time.monotonic() + timeout_s
    while len(heard) < count and time.monotonic() < deadline:
        received = subscriber.receive(0.2)
        heard += [received] if received else []
    while (received := subscriber.receive(0.5)) is not None:
        heard.append(received)
    return [one.event.track for one in heard if isinstance(one.event, TrackStarted)]


def collect(collector: Collector, count: int, timeout_s: float = 15.0) -> None:
    """Until so many are collected, and no other in the moment after."""
    deadline = time.monotonic() + timeout_s
    while collector.collected < count and time.monotonic() < deadline:
        collector.run(0.2)
    collector.run(0.5)
    assert collector.collected == count


def test_all_publishers_are_followed_also_those_that_come_later(
    database: FleetDatabase, fleet_url: str, tmp_path: Path
) -> None:
    with serving(database, tmp_path, "a") as first:
        publish(first, 1, 2)
        with Subscriber(fleet=fleet_url, since="beginning") as subscriber:
            assert receive(subscriber, 2) == [1, 2]
            with serving(database, tmp_path, "b") as second:
                publish(second, 11, 12)
                publish(first, 3)
                assert sorted(receive(subscriber, 3)) == [3, 11, 12]


def test_from_now_on_means_nothing_older_of_a_publisher_that_is_found_later(
    database: FleetDatabase, fleet_url: str, tmp_path: Path
) -> None:
    with serving(database, tmp_path, "a") as first, serving(database, tmp_path, "b") as second:
        publish(first, 1)
        publish(second, 4)
    with Subscriber(fleet=fleet_url, since="now") as subscriber, serving(database, tmp_path, "b") as second:
        publish(second, 5)
        assert receive(subscriber, 1) == [5]


def test_a_journal_that_is_served_elsewhere_goes_on_where_it_was(
    database: FleetDatabase, fleet_url: str, tmp_path: Path
) -> None:
    with Subscriber(fleet=fleet_url, since="beginning") as subscriber:
        with serving(database, tmp_path, "a") as first:
            publish(first, 1, 2)
            assert receive(subscriber, 2) == [1, 2]
            publish(first, 3)
        with serving(database, tmp_path, "a") as again:  # another port, another epoch
            publish(again, 4)
            assert receive(subscriber, 2) == [3, 4]


def test_another_journal_at_a_known_address_is_not_taken_for_the_one_before(
    database: FleetDatabase, fleet_url: str, tmp_path: Path
) -> None:
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    with serving(database, tmp_path, "a", endpoint) as first:
        publish(first, 1)
    with serving(database, tmp_path, "b", endpoint) as second:
        publish(second, 11, 12)
        with Subscriber(fleet=fleet_url, since="beginning") as subscriber:
            assert receive(subscriber, 2) == [11, 12]
            assert subscriber.lost == 0


def test_positions_of_a_publisher_that_is_away_are_kept(
    database: FleetDatabase, fleet_url: str, tmp_path: Path
) -> None:
    cursor = tmp_path / "cursor"
    with serving(database, tmp_path, "a") as first, serving(database, tmp_path, "b") as second:
        publish(first, 1)
        publish(second, 11)
        with Subscriber(fleet=fleet_url, since="beginning", cursor=cursor) as subscriber:
            assert sorted(receive(subscriber, 2)) == [1, 11]
            subscriber.commit()
    with serving(database, tmp_path, "a") as first:
        publish(first, 2)
        with Subscriber(fleet=fleet_url, cursor=cursor) as subscriber:
            assert receive(subscriber, 1) == [2]
            subscriber.commit()
    with serving(database, tmp_path, "b") as second:
        publish(second, 12)
        with Subscriber(fleet=fleet_url, cursor=cursor) as subscriber:
            assert receive(subscriber, 1) == [12]
    assert len(Positions.load(cursor).publishers) == 2  # type: ignore[union-attr]


def test_a_collector_writes_everything_once_also_when_it_was_killed(
    database: FleetDatabase, fleet_url: str, tmp_path: Path
) -> None:
    out = tmp_path / "all"
    with serving(database, tmp_path, "a") as first, serving(database, tmp_path, "b") as second:
        publish(first, 1, 2)
        publish(second, 11)
        with Collector(fleet_url, out) as collector:
            collect(collector, 3)
            saved = (out / "collected.json").read_bytes()
            publish(first, 3)
            collect(collector, 4)
        (out / "collected.json").write_bytes(saved)  # killed before it saved its place
        publish(second, 12)
        with Collector(fleet_url, out) as collector:
            collect(collector, 1)
    journal = Journal(out)
    assert len(journal.read()) == 5
    assert len({record.payload for record in journal.read()}) == 5
    journal.close()


def test_a_place_that_cannot_be_kept_is_no_reason_to_stop_collecting(
    database: FleetDatabase, fleet_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "all"
    with serving(database, tmp_path, "a") as worker:
        publish(worker, 1, 2)
        with Collector(fleet_url, out) as collector:
            collect(collector, 2)
            (out / "collected.json.new").mkdir()  # where the next place would be written
            publish(worker, 3)
            collect(collector, 3)
        assert caplog.text.count("the place cannot be kept") == 1
        (out / "collected.json.new").rmdir()
        publish(worker, 4)
        with Collector(fleet_url, out) as collector:
            collect(collector, 1)
    journal = Journal(out)
    assert len({record.payload for record in journal.read()}) == len(journal.read()) == 4
    journal.close()


@pytest.mark.parametrize("topics", [(), ("track/",)], ids=["all", "tracks alone"])
def test_who_leaves_the_gallery_leaves_the_collected_events(
    database: FleetDatabase, fleet_url: str, tmp_path: Path, topics: tuple[str, ...]
) -> None:
    out = tmp_path / "all"

    def seen(publisher: Publisher, person: str) -> None:
        publisher.publish(
            TrackEnded(
                time_ns=1,
                camera="gate",
                track=1,
                cause="lost",
                first_ns=1,
                seen=3,
                accepted=3,
                outcome="known",
                person=person,
                person_id=f"p-{person}",
            )
        )

    def names() -> bytes:
        return b"".join(path.read_bytes() for path in out.glob("*.journal"))

    with serving(database, tmp_path, "a") as first, serving(database, tmp_path, "b") as second:
        seen(first, "Ada Lovelace")
        seen(second, "Bob Bemer")
        with Collector(fleet_url, out, topics=topics) as collector:
            collect(collector, 2)
            saved = (out / "collected.json").read_bytes()
            assert b"Ada Lovelace" in names()
            first.publish(GalleryChanged(time_ns=2, people=1, removed=("p-Ada Lovelace",)))
            seen(second, "Ada Lovelace")  # this worker has not heard yet
            collect(collector, 3 if topics else 4)
            late_s = time.monotonic() + 10
            while b'"Ada Lovelace"' in names() and time.monotonic() < late_s:
                time.sleep(0.05)
        assert b'"Ada Lovelace"' not in names()
        assert names().count(b"p-Ada Lovelace") >= 2
        assert b'"Bob Bemer"' in names()
        (out / "collected.json").write_bytes(saved)  # killed before it saved its place
        with Collector(fleet_url, out, topics=topics) as collector:
            seen(first, "Cyd Charisse")
            collect(collector, 1)
    assert b'"Ada Lovelace"' not in names()


def test_an_address_of_every_interface_becomes_one_to_connect_to() -> None:
    assert reachable("tcp://0.0.0.0:5556", "10.0.0.2") == "tcp://10.0.0.2:5556"
    assert reachable("tcp://10.0.0.9:5556", "10.0.0.2") == "tcp://10.0.0.9:5556"


def test_a_directory_of_an_unknown_kind_is_named() -> None:
    with pytest.raises(EventError, match="etcd: is no directory of publishers; allowed: postgres"):
        Subscriber(fleet="etcd://here")

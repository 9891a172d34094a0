"""Publisher and subscriber over real sockets, across processes and a kill."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from gaitstream.errors import EventError
from gaitstream.events import Journal, Positions, Publisher, Received, Subscriber, decode
from gaitstream.events.reading import Reader
from tests.events.wiring import collect, online

PUBLISHING = Path(__file__).with_name("publishing.py")


def connect(subscriber: Subscriber) -> None:
    subscriber.wait_connected(10)
    assert subscriber.connected


def two_free_ports() -> int:
    for port in range(20_000, 60_000, 2):
        try:
            with socket.socket() as one, socket.socket() as two:
                one.bind(("127.0.0.1", port))
                two.bind(("127.0.0.1", port + 1))
                return port
        except OSError:
            continue
    raise AssertionError("no free ports")


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    with Publisher(Journal(tmp_path / "journal"), "tcp://127.0.0.1:0", "tcp://127.0.0.1:0") as publisher:
        yield publisher


def test_live_events_arrive_in_order(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, publisher.replay) as subscriber:
        connect(subscriber)
        for number in range(1, 101):
            publisher.publish(online(number))
        received = collect(subscriber, 100)
    assert [r.event.time_ns for r in received] == list(range(1, 101))
    assert [r.seq for r in received] == list(range(1, 101))
    assert {r.topic for r in received} == {"camera/a"}


def test_a_context_that_does_not_end_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An open socket keeps ZeroMQ from ending, for as long as it is open."""
    monkeypatch.setattr("gaitstream.events.ending.MOST_END_S", 0.2)
    publisher = Publisher(Journal(tmp_path / "journal"), "tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
    left = publisher._context.socket(zmq.PUB)
    publisher.publish(online(1))
    publisher.close()
    assert "ZeroMQ has not ended" in caplog.text
    journal = Journal(tmp_path / "journal")  # which is locked no longer
    assert journal.head == 1
    journal.close()
    left.close(linger=0)


def test_now_skips_the_past_and_beginning_replays_it(publisher: Publisher) -> None:
    for number in range(1, 2501):  # more than one reply holds
        publisher.publish(online(number))
    with (
        Subscriber(publisher.endpoint, publisher.replay) as now,
        Subscriber(publisher.endpoint, publisher.replay, since="beginning") as old,
    ):
        connect(now)
        connect(old)
        publisher.publish(online(2501))
        assert [r.seq for r in collect(old, 2501)] == list(range(1, 2502))
        assert [r.seq for r in collect(now, 1)] == [2501]
        assert now.receive(0.05) is None


def test_events_dropped_for_a_slow_subscriber_come_by_replay(tmp_path: Path) -> None:
    journal = Journal(tmp_path, sync="never")
    with (
        Publisher(journal, "tcp://127.0.0.1:0", "tcp://127.0.0.1:0", send_buffer=10) as publisher,
        Subscriber(publisher.endpoint, publisher.replay) as subscriber,
    ):
        connect(subscriber)
        for number in range(1, 20_001):
            publisher.publish(online(number))
        assert [r.seq for r in collect(subscriber, 20_000, 30)] == list(range(1, 20_001))
        assert subscriber.lost == 0


def test_no_publisher_is_an_error_that_says_what_to_do() -> None:
    port = two_free_ports()
    with Subscriber(f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port + 1}") as subscriber:
        assert subscriber.receive(0.01) is None
        with pytest.raises(EventError, match="start 'gaitstream run'"):
            subscriber.wait_connected(0.01)


def test_saved_positions_resume_exactly(publisher: Publisher) -> None:
    for number in range(1, 11):
        publisher.publish(online(number))
    with Subscriber(publisher.endpoint, publisher.replay, since="beginning") as first:
        head = collect(first, 4)
        saved = first.positions.to_json()
    assert [r.seq for r in head] == [1, 2, 3, 4]
    positions = Positions.from_json(saved)
    with Subscriber(publisher.endpoint, publisher.replay, since=positions) as second:
        assert [r.seq for r in collect(second, 6)] == [5, 6, 7, 8, 9, 10]


def test_topics_filter_on_the_wire_and_in_replay(publisher: Publisher) -> None:
    publisher.publish(online(1, "gate"))
    publisher.publish(online(2, "yard"))
    with Subscriber(publisher.endpoint, publisher.replay, topics=["camera/yard"], since="beginning") as sub:
        assert [r.topic for r in collect(sub, 1)] == ["camera/yard"]
        publisher.publish(online(3, "gate"))
        publisher.publish(online(4, "yard"))
        assert [r.event.time_ns for r in collect(sub, 1)] == [4]


def test_what_is_not_of_this_bus_is_ignored(publisher: Publisher) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(publisher.replay)
        dealer.send(b"GET / HTTP/1.1")
        with Subscriber(publisher.endpoint, publisher.replay) as subscriber:
            connect(subscriber)


def test_a_port_in_use_is_an_error_that_says_so(publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(EventError, match=r"is in use .* set events\.endpoint to a free port"):
        Publisher(Journal(tmp_path / "other"), publisher.endpoint, "tcp://127.0.0.1:0")


def test_an_address_of_another_machine_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EventError, match=r"events\.replay: tcp://192\.0\.2\.1:5592 cannot be bound"):
        Publisher(Journal(tmp_path), "tcp://127.0.0.1:0", "tcp://192.0.2.1:5592", insecure=True)


def test_the_event_is_in_the_journal_before_it_is_on_the_wire(publisher: Publisher) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as raw:
        raw.linger = 0
        raw.connect(publisher.endpoint)
        raw.subscribe(b"camera/")
        time.sleep(0.2)
        for number in range(1, 51):
            publisher.publish(online(number))
        for _ in range(50):
            assert raw.poll(5000)
            topic, payload = raw.recv_multipart()
            [stored] = publisher.journal.read(decode(payload).seq - 1, limit=1)
            assert (stored.topic, stored.payload) == (topic.decode(), payload)


def test_kill_and_restart_lose_and_double_nothing(tmp_path: Path) -> None:
    """kill -9 in the middle, three times, while a subscriber listens; then all events, once each."""
    port = two_free_ports()
    command = [sys.executable, str(PUBLISHING), str(tmp_path / "journal"), str(port)]
    received: list[Received] = []
    with Subscriber(
        f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port + 1}", since="beginning"
    ) as subscriber:
        for cycle in range(4):
            last = cycle == 3
            count, pause = ("50", "0") if last else ("1000000", "0.0002")
            with subprocess.Popen([*command, count, pause], stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                wanted = len(received) + 100
                while len(received) < wanted and not last:
                    received += collect(subscriber, 50, 20)
                if last:
                    assert process.stdout.readline() == "done\n"
                    journal_end = journal_head(tmp_path / "journal")
                    received += collect(subscriber, journal_end - len(received), 20)
                process.send_signal(signal.SIGKILL)
        assert subscriber.receive(1.2) is None
        assert subscriber.lost == 0
    assert [r.seq for r in received] == list(range(1, journal_end + 1))
    assert [r.event.time_ns for r in received] == list(range(1, journal_end + 1))


def journal_head(folder: Path) -> int:
    """The last number in the files, read past the owner's lock."""
    reader = Reader(folder)
    reader.seek(0)
    while not reader.read().end:
        pass
    return reader.position

"""Several publishers, times, cursors in files, asyncio."""

from __future__ import annotations

import asyncio
import datetime
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import zmq

from gaitstream.errors import EventError
from gaitstream.events import CameraOnline, Notice, Positions, Subscriber
from gaitstream.events.discovery import PublisherAddress
from tests.events.wiring import bus, collect, online


def test_topics_come_in_the_order_of_time(tmp_path: Path) -> None:
    with bus(tmp_path) as publisher:
        for number in range(300):
            publisher.publish(online(number, f"cam{number % 7}"))
        with Subscriber(publisher.endpoint, publisher.replay, since="beginning") as subscriber:
            assert [r.event.time_ns for r in collect(subscriber, 300)] == list(range(300))


def test_several_publishers_are_merged_by_time(tmp_path: Path) -> None:
    with bus(tmp_path / "one", sync="never") as one, bus(tmp_path / "two", sync="never") as two:
        for number in range(2000):
            (one if number % 3 else two).publish(online(number))
        with Subscriber(
            [one.endpoint, two.endpoint], [one.replay, two.replay], since="beginning"
        ) as subscriber:
            assert [r.event.time_ns for r in collect(subscriber, 2000)] == list(range(2000))
            one.publish(online(2000))
            [live] = collect(subscriber, 1)
            assert live.publisher == one.journal.id.hex()
            saved = subscriber.positions
        two.publish(online(2001))
        with Subscriber([one.endpoint, two.endpoint], [one.replay, two.replay], since=saved) as again:
            assert [r.event.time_ns for r in collect(again, 1)] == [2001]
            assert again.receive(0.3) is None


def test_a_publisher_that_is_away_does_not_hold_up_the_others(tmp_path: Path) -> None:
    with bus(tmp_path / "one") as one, bus(tmp_path / "two") as two:
        gone = two.endpoint, two.replay
        two.close()
        one.publish(online(1))
        with Subscriber([one.endpoint, gone[0]], [one.replay, gone[1]], since="beginning") as subscriber:
            assert [r.event.time_ns for r in collect(subscriber, 1)] == [1]
            with pytest.raises(EventError, match=gone[1]):
                subscriber.wait_connected(0.2)


def test_since_a_time(tmp_path: Path) -> None:
    with bus(tmp_path) as publisher:
        publisher.publish(online(1))
        time.sleep(0.02)
        moment = datetime.datetime.now(datetime.UTC)
        publisher.publish(online(2))
        for since in (moment, int(moment.timestamp() * 1e9)):
            with Subscriber(publisher.endpoint, publisher.replay, since=since) as subscriber:
                publisher.publish(online(3))
                assert [r.event.time_ns for r in collect(subscriber, 2)][:1] == [2]


def test_a_cursor_in_a_file(tmp_path: Path) -> None:
    cursor = tmp_path / "cursor"
    with bus(tmp_path / "journal") as publisher:
        for number in range(1, 7):
            publisher.publish(online(number))
        ports = publisher.endpoint, publisher.replay
        with Subscriber(*ports, since="beginning", cursor=cursor) as first:
            collect(first, 3)
            first.commit()
            collect(first, 1)  # received, and not dealt with
        with Subscriber(*ports, since="beginning", cursor=cursor) as second:
            assert [r.event.time_ns for r in collect(second, 3)] == [4, 5, 6]
    cursor.write_text("rubbish")
    with pytest.raises(EventError, match="no saved positions"):
        Subscriber(cursor=cursor)
    with Subscriber() as without, pytest.raises(EventError, match="commit needs a file"):
        without.commit()


def test_positions_are_text_and_those_of_version_1_are_refused_with_advice() -> None:
    positions = Positions({"p": {"e": 5}})
    text = positions.to_json()
    assert isinstance(text, str)
    assert Positions.from_json(text) == Positions.from_json(text.encode()) == positions
    with pytest.raises(EventError, match="since='beginning' or a time"):
        Positions.from_json('{"journal":"00","seqs":{"identity/a":4}}')


def test_asyncio(tmp_path: Path) -> None:
    with bus(tmp_path) as publisher:
        for number in range(100):
            publisher.publish(online(number))
        ticks = 0

        async def listen() -> list[int]:
            nonlocal ticks
            seen: list[int] = []

            async def tick() -> None:
                nonlocal ticks
                while True:
                    ticks += 1
                    await asyncio.sleep(0.01)

            ticking = asyncio.create_task(tick())
            with Subscriber(publisher.endpoint, publisher.replay, since="beginning") as subscriber:
                async for received in subscriber:
                    seen.append(received.event.time_ns)
                    if len(seen) == 150:
                        break
            ticking.cancel()
            return seen

        def later() -> None:
            for number in range(100, 150):
                time.sleep(0.005)
                publisher.publish(online(number))

        thread = threading.Thread(target=later)
        thread.start()
        assert asyncio.run(asyncio.wait_for(listen(), 20)) == list(range(150))
        thread.join()
    assert ticks > 10  # the loop went on meanwhile


def test_a_slow_user_is_told_nothing_wrong_and_misses_nothing(tmp_path: Path) -> None:
    """More than sockets and queues hold, while the user is busy."""
    notices: list[Notice] = []
    with bus(tmp_path, sync="never") as publisher:
        ports = publisher.endpoint, publisher.replay
        with Subscriber(*ports, on_notice=notices.append) as subscriber:
            subscriber.wait_connected(5)
            for number in range(60_000):
                publisher.publish(CameraOnline(time_ns=number, camera="a"))
            assert [r.event.time_ns for r in collect(subscriber, 60_000, 60)] == list(range(60_000))
    assert notices == []


def test_replay_answers_a_plain_req_socket(tmp_path: Path) -> None:
    """What docs/events.md promises to other languages."""
    with bus(tmp_path) as publisher, zmq.Context() as context, context.socket(zmq.REQ) as socket:
        for number in range(1, 1501):
            publisher.publish(online(number, "gate" if number % 2 else "yard"))
        while publisher.published < 1500:  # what is not sent yet is not replayed either
            time.sleep(0.01)
        socket.linger = 0
        socket.connect(publisher.replay)

        def ask(**request: object) -> tuple[dict[str, object], list[bytes]]:
            socket.send(msgspec.json.encode(request))
            assert socket.poll(5000)
            head, *events = socket.recv_multipart()
            return msgspec.json.decode(head), events

        numbers, events = ask()
        assert (numbers["head"], numbers["to"], numbers["done"], events) == (1500, 1500, True, [])
        refused, _ = ask(since="yesterday", id=7)
        assert "since: now, beginning" in str(refused["error"])
        assert refused["id"] == 7
        assert ask(id=8, prefixes=5)[0]["id"] == 8
        after, got = 0, list[bytes]()
        while True:
            answer, events = ask(after=after, prefixes=["camera/gate"])
            got += events
            after = int(str(answer["to"]))
            if answer["done"]:
                break
        assert [msgspec.json.decode(event)["time_ns"] for event in got] == list(range(1, 1501, 2))


@pytest.mark.parametrize("in_a_file", [True, False])
def test_what_waits_from_several_runs_comes_again_after_a_commit(tmp_path: Path, in_a_file: bool) -> None:
    """The queue holds events of three epochs while the place is saved in the first of them."""
    for first in (0, 100, 200):
        with bus(tmp_path / "journal", sync="never") as publisher:
            for number in range(first, first + 100):
                publisher.publish(online(number))
    with bus(tmp_path / "journal", sync="never") as publisher:
        ports = publisher.endpoint, publisher.replay
        cursor = tmp_path / "cursor" if in_a_file else None
        got = list[int]()
        place: Positions | str = "beginning"
        for count in (10, 100, 190):
            with Subscriber(*ports, since=place, cursor=cursor) as subscriber:  # type: ignore[arg-type]
                got += [received.event.time_ns for received in collect(subscriber, count)]
                if cursor is not None:
                    subscriber.commit()
                else:
                    place = Positions.from_json(subscriber.positions.to_json())
                assert subscriber.lost == 0
        assert got == list(range(300))


def test_a_publisher_restarted_while_the_user_is_slow_loses_nothing(tmp_path: Path) -> None:
    cursor = tmp_path / "cursor"
    with bus(tmp_path / "journal", sync="never") as publisher:
        ports = publisher.endpoint, publisher.replay
        subscriber = Subscriber(*ports, cursor=cursor)
        subscriber.wait_connected(5)
        for number in range(50):
            publisher.publish(online(number))
        got = [received.event.time_ns for received in collect(subscriber, 5)]
        subscriber.commit()
    with bus(tmp_path / "journal", *ports, sync="never") as publisher:
        for number in range(50, 100):
            publisher.publish(online(number))
        deadline = time.monotonic() + 10
        while len(subscriber._links[0].ready) < 95 and time.monotonic() < deadline:
            subscriber._wait(0.1)
        got += [received.event.time_ns for received in collect(subscriber, 1)]
        subscriber.commit()
        subscriber.close()
        with Subscriber(*ports, cursor=cursor) as again:
            got += [received.event.time_ns for received in collect(again, 94)]
            assert again.receive(0.3) is None
    assert got == list(range(100))


def test_several_publishers_give_each_event_once_over_many_sessions(tmp_path: Path) -> None:
    """One is restarted between sessions; each keeps its own epochs."""
    cursor, counts = tmp_path / "cursor", {"a": 20, "b": 7, "c": 3}
    published: set[tuple[str, int]] = set()
    got: list[tuple[str, int]] = []
    notices: list[Notice] = []
    publishers = {name: bus(tmp_path / name, sync="never") for name in counts}
    ports = {name: (publisher.endpoint, publisher.replay) for name, publisher in publishers.items()}
    for session in range(6):
        if session in (2, 4):
            publishers["a"].close()
            publishers["a"] = bus(tmp_path / "a", *ports["a"], sync="never")
        for name, publisher in publishers.items():
            for _ in range(counts[name]):
                published.add((name, publisher.publish(online(1, name)).seq))
        with Subscriber(
            [endpoint for endpoint, _ in ports.values()], [replay for _, replay in ports.values()],
            since="beginning", cursor=cursor, on_notice=notices.append,
        ) as subscriber:  # fmt: skip
            for received in collect(subscriber, len(published) - len(got)):
                got.append((received.topic.removeprefix("camera/"), received.seq))
                subscriber.commit()
            assert subscriber.receive(0.3) is None
        assert len(got) == len(published)
    assert set(got) == published
    assert notices == []
    saved = Positions.load(cursor)
    assert saved is not None
    own = {publisher.journal.id.hex(): publisher.journal.epochs for publisher in publishers.values()}
    assert {journal: len(epochs) for journal, epochs in saved.publishers.items()} == {
        publishers[name].journal.id.hex(): 3 if name == "a" else 1 for name in publishers
    }
    for journal, epochs in saved.publishers.items():
        assert {own[journal].at(seq) for seq in epochs.values()} == set(epochs)
    for publisher in publishers.values():
        publisher.close()


def test_positions_of_older_versions_with_epochs_of_others_are_read_by_their_largest_numbers(
    tmp_path: Path,
) -> None:
    with bus(tmp_path / "one", sync="never") as one, bus(tmp_path / "two", sync="never") as two:
        for number in range(30):
            one.publish(online(number))
        two.publish(online(30))
        mine, theirs = one.journal.epoch, two.journal.epoch
        old = {
            one.journal.id.hex(): {"old": 3, theirs: 0, mine: 20},
            two.journal.id.hex(): {"old": 4, mine: 10, theirs: 1},
        }
        saved = Positions.from_json(msgspec.json.encode({"publishers": old}))
        assert saved.publishers == {
            one.journal.id.hex(): {"old": 4, mine: 20},
            two.journal.id.hex(): {"old": 4, theirs: 1},
        }
        notices: list[Notice] = []
        with Subscriber(
            [one.endpoint, two.endpoint], [one.replay, two.replay], since=saved, on_notice=notices.append
        ) as subscriber:
            assert [received.event.time_ns for received in collect(subscriber, 10)] == list(range(20, 30))
            assert subscriber.receive(0.3) is None
        assert notices == []


def test_a_publisher_that_comes_back_after_another_answered_goes_on(tmp_path: Path) -> None:
    """Ports are given to another journal for a while."""
    notices: list[Notice] = []
    with bus(tmp_path / "one", sync="never") as publisher:
        ports = publisher.endpoint, publisher.replay
        publisher.publish(online(1))
        subscriber = Subscriber(*ports, since="beginning", on_notice=notices.append)
        got = [received.event.time_ns for received in collect(subscriber, 1)]
        publisher.publish(online(2))
        while not subscriber._links[0].ready:
            subscriber._wait(0.1)
    with bus(tmp_path / "two", *ports, sync="never") as other:
        other.publish(online(3))
        got_more = collect(subscriber, 2)
        assert [received.publisher == other.journal.id.hex() for received in got_more] == [False, True]
        got += [received.event.time_ns for received in got_more]
    with bus(tmp_path / "one", *ports, sync="never") as publisher:
        publisher.publish(online(4))
        got += [received.event.time_ns for received in collect(subscriber, 1)]
        assert subscriber.receive(1.5) is None
        assert len(subscriber.positions.publishers) == 2
    subscriber.close()
    assert got == [1, 2, 3, 4]
    assert [notice.kind for notice in notices if notice.kind != "epoch"] == ["journal"]


@pytest.mark.parametrize("names", [[f"c{number}" for number in range(100)], ["c7", "x" * 70_000]])
def test_more_topics_than_a_request_holds(tmp_path: Path, names: list[str]) -> None:
    with bus(tmp_path) as publisher:
        publisher.publish(online(1, "c7"))
        publisher.publish(online(2, "other"))
        topics = [f"camera/{name}" for name in names]
        with Subscriber(publisher.endpoint, publisher.replay, topics=topics, since="beginning") as subscriber:
            assert [received.event.time_ns for received in collect(subscriber, 1)] == [1]
            publisher.publish(online(3, "other"))
            publisher.publish(online(4, "c7"))
            assert [received.event.time_ns for received in collect(subscriber, 1)] == [4]


def test_one_topic_is_text_and_none_are_all(tmp_path: Path) -> None:
    with bus(tmp_path) as publisher:
        publisher.publish(online(1))
        ports = publisher.endpoint, publisher.replay
        with Subscriber(*ports, topics="identity/", since="beginning") as subscriber:
            subscriber.wait_connected(5)
            assert subscriber.receive(0.3) is None
        for topics in ("camera/", list[str](), ""):
            with Subscriber(*ports, topics=topics, since="beginning") as subscriber:
                assert len(collect(subscriber, 1)) == 1
                publisher.publish(online(2))
                assert len(collect(subscriber, 1)) == 1
    with pytest.raises(EventError, match="no publisher to listen to: give the address"):
        Subscriber([])
    with pytest.raises(EventError, match="topics: 5 is no prefix"):
        Subscriber(topics=[5])  # type: ignore[list-item]
    with pytest.raises(EventError, match=r"topics: '\\udcff' is no text; give UTF-8"):
        Subscriber(topics="\udcff")


def test_since_the_beginning_of_time(tmp_path: Path) -> None:
    with bus(tmp_path) as publisher:
        publisher.publish(online(1))
        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        for since in (0, 1, epoch, epoch - datetime.timedelta(days=1)):
            with Subscriber(publisher.endpoint, publisher.replay, since=since) as subscriber:
                assert [received.event.time_ns for received in collect(subscriber, 1)] == [1]


@pytest.mark.parametrize("since", ["yesterday", -5, 2**70, 1.5, True, None, datetime.datetime.max])
def test_what_is_no_place_to_begin_is_refused(since: object, tmp_path: Path) -> None:
    with pytest.raises(EventError, match=r"since: .* give 'now', 'beginning', a datetime"):
        Subscriber(since=since, cursor=tmp_path / "cursor")  # type: ignore[arg-type]


@pytest.mark.parametrize("knows_id", [True, False])
def test_a_refused_request_is_told_once(tmp_path: Path, knows_id: bool) -> None:
    notices: list[Notice] = []
    requests = 0
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        port = router.bind_to_random_port("tcp://127.0.0.1")
        endpoint, replay = "tcp://127.0.0.1:9", f"tcp://127.0.0.1:{port}"
        with Subscriber(endpoint, replay, on_notice=notices.append) as subscriber:
            deadline = time.monotonic() + 2.5
            while time.monotonic() < deadline:
                subscriber.receive(0.02)
                if router.poll(0):
                    client, body = router.recv_multipart()
                    requests += 1
                    answer = {"id": msgspec.json.decode(body)["id"] if knows_id else 0, "error": "too much"}
                    router.send_multipart([client, msgspec.json.encode(answer)])
    assert [(notice.kind, notice.detail) for notice in notices] == [("refused", f"{replay}: too much")]
    assert 2 <= requests <= 4


def test_a_closed_subscriber_says_so(tmp_path: Path) -> None:
    with bus(tmp_path) as publisher:
        with Subscriber(publisher.endpoint, publisher.replay, since="beginning") as subscriber:
            publisher.publish(online(1))
            publisher.publish(online(2))
            collect(subscriber, 1)
        for receive in (subscriber.receive, lambda: next(iter(subscriber))):
            with pytest.raises(EventError, match="the subscriber is closed"):
                receive()

        async def receive_one() -> None:
            await anext(aiter(subscriber))

        with pytest.raises(EventError, match="the subscriber is closed"):
            asyncio.run(receive_one())
        assert sum(next(iter(subscriber.positions.publishers.values())).values()) == 1
    with Subscriber() as silent:
        pass
    with pytest.raises(EventError, match="the subscriber is closed"):
        silent.wait_connected(1)


def test_a_publisher_that_moves_while_events_of_several_runs_wait_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[PublisherAddress] = []

    class Directory:
        def publishers(self) -> Sequence[PublisherAddress]:
            return found

        def close(self) -> None:
            pass

    monkeypatch.setattr("gaitstream.events.subscriber.open_directory", lambda _: Directory())
    for first in (0, 100):
        with bus(tmp_path, sync="never") as publisher:
            for number in range(first, first + 100):
                publisher.publish(online(number))
    with bus(tmp_path, sync="never") as publisher:
        found = [PublisherAddress(publisher.journal.id.hex(), publisher.endpoint, publisher.replay)]
        subscriber = Subscriber(fleet="here", since="beginning")
        got = [received.event.time_ns for received in collect(subscriber, 10)]
        while len(subscriber._links[0].ready) < 190:
            subscriber._wait(0.1)
    with bus(tmp_path, sync="never") as publisher, subscriber:
        publisher.publish(online(200))
        found = [PublisherAddress(publisher.journal.id.hex(), publisher.endpoint, publisher.replay)]
        subscriber._wait(0.1)
        got += [received.event.time_ns for received in collect(subscriber, 191)]
        assert subscriber.receive(0.3) is None
    assert got == list(range(201))

"""Whatever a client or a publisher sends: nothing ends, memory stays bounded, live delivery goes on."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaitstream.events import (
    CameraOnline,
    Journal,
    Notice,
    Publisher,
    Subscriber,
    Unrecognised,
    decode,
    encode,
)
from gaitstream.events.codec import MalformedError
from gaitstream.events.filters import MAX_SUBSCRIPTIONS
from gaitstream.events.notices import AT_ONCE, Notices
from gaitstream.events.ordering import MAX_HELD_BYTES, Ordering
from gaitstream.events.replay import ReplayStream
from gaitstream.events.wire import EventBatch
from tests.events.wiring import LOOPBACK, bus, collect, online, zmtp

PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    with bus(tmp_path / "journal", sync="never") as publisher:
        yield publisher


@pytest.fixture
def dealer(publisher: Publisher) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(publisher.replay)
        yield dealer


def rss_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 2**20


def still_works(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, publisher.replay) as subscriber:
        subscriber.wait_connected(5)
        publisher.publish(online(77))
        assert [r.event.time_ns for r in collect(subscriber, 1)] == [77]


REQUESTS = [
    b'{"after":{"\xff":1}}',
    b"[" * 60_000,
    b'{"after":' * 5_000,
    b"GET / HTTP/1.1\r\n\r\n",
    b"",
    b'{"after":1e400}',
    b'{"after":-9223372036854775808,"credit":-5}',
    b'{"cursor":{"\\ud800":18446744073709551615}}',
    b'{"since":"yesterday"}',
    b'{"since":-1}',
    b'{"since":99999999999999999999999999}',
    b'{"id":1,"grant":9223372036854775807}',
    msgspec.json.encode({"prefixes": ["x"] * 5000}),
]


@pytest.mark.parametrize("body", REQUESTS, ids=lambda body: repr(body[:20]))
def test_a_strange_request_ends_nothing(publisher: Publisher, dealer: zmq.Socket[bytes], body: bytes) -> None:
    dealer.send(body)
    dealer.send_multipart([b"", b"", body])
    dealer.send_multipart([body] * 50)
    time.sleep(0.05)
    still_works(publisher)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.one_of(
    st.binary(max_size=300),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "after", "cursor", "since", "prefixes", "credit", "grant"]), inner
        ),
        max_leaves=10,
    ).map(lambda value: msgspec.json.encode(value)),
))  # fmt: skip
def test_no_request_ends_the_answers(publisher: Publisher, dealer: zmq.Socket[bytes], body: bytes) -> None:
    dealer.send(body)
    dealer.send(b'{"id":424242}')
    while dealer.poll(5000):
        if msgspec.json.decode(dealer.recv_multipart()[0]).get("id") == 424242:
            return
    raise AssertionError("the replay socket is silent")


def test_a_fault_of_one_answer_ends_no_others(
    publisher: Publisher, dealer: zmq.Socket[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody thought of, wherever it comes up: in taking a request or in answering it."""
    for method in ("_place", "reply"):
        with monkeypatch.context() as patch:
            patch.setattr(ReplayStream, method, lambda *_: 1 / 0)
            dealer.send(b'{"id":1,"since":"beginning"}')
            assert not dealer.poll(300)
        dealer.send(b'{"id":2}')
        assert dealer.poll(5000), method
        assert msgspec.json.decode(dealer.recv_multipart()[0])["id"] == 2


@pytest.mark.parametrize("kind", [b"DEALER", b"SUB"])
def test_a_message_without_end_is_not_taken(publisher: Publisher, kind: bytes) -> None:
    before = rss_mib()
    with zmtp(publisher.replay if kind == b"DEALER" else publisher.endpoint, kind) as connection:
        block = b"\1" * 2**20
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"\2" + (500 * 2**20).to_bytes(8, "big"))
            for _ in range(500):
                connection.sendall(block)
            raise AssertionError("500 MiB were taken")
    still_works(publisher)
    assert rss_mib() - before < 20


def test_replays_that_nobody_reads_cost_bounded_memory(
    publisher: Publisher, dealer: zmq.Socket[bytes]
) -> None:
    for number in range(20_000):
        publisher.publish(online(number))
    before = rss_mib()
    dealer.rcvhwm = 1
    for number in range(2000):
        dealer.send(msgspec.json.encode({"id": number, "after": 0, "credit": 1000}))
    time.sleep(1.0)
    assert rss_mib() - before < 40
    still_works(publisher)


def test_connections_beyond_a_number_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each may hold a megabyte of replies that it never reads, so that there may be only so many."""
    request = b'{"after":0,"credit":1000}'
    journal = Journal(tmp_path / "journal", sync="never")
    with Publisher(journal, LOOPBACK, LOOPBACK, max_connections=20) as publisher:
        for number in range(20_000):
            publisher.publish(online(number))
        with Subscriber(publisher.endpoint, publisher.replay) as early:
            early.wait_connected(5)
            before = rss_mib()
            hostile = [zmtp(publisher.replay, b"DEALER", wait_s=0.01) for _ in range(60)]
            for connection in hostile:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(bytes([0, len(request)]) + request)
            time.sleep(1.0)
            assert rss_mib() - before < 40
            assert "there are 20 connections already" in caplog.text
            publisher.publish(online(1))
            assert [r.event.time_ns for r in collect(early, 1)] == [1]
            for connection in hostile:
                connection.close()
        still_works(publisher)


def test_more_subscriptions_than_anybody_needs_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaitstream.events.publisher.MAX_SUBSCRIPTIONS", 500)
    with bus(tmp_path / "journal", sync="never") as publisher:
        with Subscriber(publisher.endpoint, publisher.replay) as early:
            early.wait_connected(5)
            with zmtp(publisher.endpoint, b"SUB") as connection, contextlib.suppress(ConnectionError):
                deadline_s = time.monotonic() + 30
                for number in itertools.count():  # what the system's buffers hold is not taken yet
                    topic = b"\1camera/%d" % number
                    connection.sendall(bytes([0, len(topic)]) + topic)
                    assert time.monotonic() < deadline_s, f"{number} subscriptions were taken"
            publisher.publish(online(1))
            assert [r.event.time_ns for r in collect(early, 1)] == [1]
        still_works(publisher)


def test_a_listener_that_never_reads_costs_bounded_memory(publisher: Publisher) -> None:
    connections = [zmtp(publisher.endpoint, b"SUB") for _ in range(4)]
    for connection in connections:
        connection.sendall(b"\0\x05\1@all")  # a subscription, and nothing more
    time.sleep(0.2)
    before = rss_mib()
    for number in range(60_000):
        publisher.publish(online(number))
    while publisher.published < 60_000:
        time.sleep(0.01)
    assert rss_mib() - before < 4 * 20 + 20
    still_works(publisher)
    for connection in connections:
        connection.close()


def test_filters_without_end_cost_bounded_memory(publisher: Publisher) -> None:
    with zmq.Context() as context, context.socket(zmq.XSUB) as flood:
        flood.linger = 0
        flood.connect(publisher.endpoint)
        before = rss_mib()
        for number in range(100_000):
            flood.send(b"\1flood/%d" % number)
        time.sleep(0.5)
        assert rss_mib() - before < 60  # most of it the sending side's
        assert publisher._filters.subscriptions <= MAX_SUBSCRIPTIONS
        still_works(publisher)


def frames(*messages: bytes) -> bytes:
    return b"".join(bytes([0, len(message)]) + message for message in messages)


def is_live(publisher: Publisher, subscriber: Subscriber, number: int) -> bool:
    """Whether an event comes faster than the numbers that are repeated each second would bring it."""
    time.sleep(0.05)
    waits = []
    for _ in range(5):
        start_s = time.monotonic()
        publisher.publish(online(number))
        assert [r.event.time_ns for r in collect(subscriber, 1)] == [number]
        waits.append(time.monotonic() - start_s)
    return sorted(waits)[2] < 0.1


def test_ends_of_subscriptions_that_never_were_switch_nothing_off(publisher: Publisher) -> None:
    with (
        Subscriber(publisher.endpoint, publisher.replay) as early,
        zmq.Context() as context,
        context.socket(zmq.SUB) as single,
    ):
        single.linger = 0
        single.connect(publisher.endpoint)
        single.subscribe(b"camera/")
        early.wait_connected(5)
        time.sleep(0.3)
        assert is_live(publisher, early, 1)
        with zmtp(publisher.endpoint, b"XSUB") as connection:
            connection.sendall(frames(*[b"\0@all", b"\0", b"\0camera/", b"\0@"] * 5))
            time.sleep(0.3)
            assert is_live(publisher, early, 2)
            connection.sendall(frames(b"\1@all", b"\1camera/", b"\0@all", b"\0camera/", b"\0@all"))
            time.sleep(0.3)
            assert is_live(publisher, early, 3)
        time.sleep(1.5)  # its connection is forgotten, the others are not
        assert is_live(publisher, early, 4)
        numbers = [msgspec.json.decode(single.recv_multipart()[1])["time_ns"] for _ in range(20)]
        assert sorted(set(numbers)) == [1, 2, 3, 4]
        assert single.poll(0) == 0


def test_ends_of_subscriptions_make_no_room_for_more(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, publisher.replay) as early:
        early.wait_connected(5)
        before = rss_mib()
        sent = 0
        with zmtp(publisher.endpoint, b"XSUB") as connection, contextlib.suppress(ConnectionError):
            connection.settimeout(20)
            for _ in range(10):
                connection.sendall(frames(b"\0zz") * 20_000)
            for number in range(0, 400_000, 5000):
                connection.sendall(frames(*[b"\1%08d" % (number + i) + b"x" * 100 for i in range(5000)]))
                sent += 5000
        assert sent < 100_000
        assert rss_mib() - before < 40
        assert is_live(publisher, early, 1)


def test_who_subscribes_without_end_again_and_again_disconnects_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaitstream.events.publisher.MAX_SUBSCRIPTIONS", 500)
    with bus(tmp_path / "journal", sync="never") as publisher, zmq.Context() as context:
        early = context.socket(zmq.SUB)
        monitor = early.get_monitor_socket(zmq.Event.DISCONNECTED)
        early.linger = 0
        early.connect(publisher.endpoint)
        early.subscribe(b"camera/")
        assert until(lambda: publisher._filters.some)
        for number in range(10):
            with zmtp(publisher.endpoint, b"SUB", 0.02) as hostile, contextlib.suppress(ConnectionError):
                for one in range(1000):
                    hostile.sendall(frames(*[b"\1%d/%d" % (one, i) for i in range(10)]))
            publisher.publish(online(number))
            assert early.poll(30_000)
            assert msgspec.json.decode(early.recv_multipart()[1])["time_ns"] == number
        assert not monitor.poll(0)
        early.disable_monitor()
        early.close()
        monitor.close()


def test_what_a_listener_asked_for_ends_with_its_connection(publisher: Publisher) -> None:
    with zmtp(publisher.endpoint, b"SUB") as connection:
        connection.sendall(frames(b"\1camera/"))
        assert until(lambda: publisher._filters.some)
    assert until(lambda: not publisher._filters.some)
    assert publisher._filters.subscriptions == 0


def until(true: Callable[[], bool], timeout_s: float = 30.0) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while not true() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return true()


def test_live_delivery_does_not_wait_for_replays(tmp_path: Path) -> None:
    with bus(tmp_path, sync="never") as publisher:
        for number in range(30_000):
            publisher.publish(online(number))
        stop = threading.Event()

        def drain() -> None:
            while not stop.is_set():
                with Subscriber(publisher.endpoint, publisher.replay, since="beginning") as old:
                    for _ in range(500):
                        if stop.is_set():
                            return
                        old.receive(0.1)

        threads = [threading.Thread(target=drain) for _ in range(2)]
        with Subscriber(publisher.endpoint, publisher.replay) as subscriber:
            subscriber.wait_connected(5)
            for thread in threads:
                thread.start()
            waits = []
            for number in range(100):
                start = time.perf_counter()
                publisher.publish(online(number))
                assert subscriber.receive(5) is not None
                waits.append(time.perf_counter() - start)
                time.sleep(0.005)
            stop.set()
        for thread in threads:
            thread.join()
    assert sorted(waits)[50] < 0.1  # readers and publisher share one interpreter here


PAYLOADS = [
    (b"", MalformedError),
    (b"{", MalformedError),
    (b'{"type":"camera.online","time_ns":1,"camera":"\xff"}', MalformedError),
    (b"[" * 100_000, MalformedError),
    (b'{"a":' * 100_000, MalformedError),
    (b"\x81" * 100_000, MalformedError),
    (b"\xc1", MalformedError),
    (b"[]", MalformedError),
    (b"\x81\x01\x02", MalformedError),
    (b'{"type":5}', Unrecognised),
    (b'{"type":"camera.online","time_ns":"now","camera":"a"}', Unrecognised),
    (b'{"type":"camera.online","schema":3,"time_ns":1,"camera":"a"}', Unrecognised),
]


@pytest.mark.parametrize(("payload", "outcome"), PAYLOADS, ids=lambda value: repr(value)[:24])
def test_a_payload_is_an_event_or_malformed(payload: bytes, outcome: type) -> None:
    if outcome is MalformedError:
        with pytest.raises(MalformedError):
            decode(payload)
    else:
        assert isinstance(decode(payload), outcome)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=100))
def test_any_payload_is_an_event_or_malformed(payload: bytes) -> None:
    for data in (payload, b"{" + payload, b'{"type":"camera.online",' + payload):
        try:
            decode(data)
        except MalformedError:
            continue


def test_a_subscriber_survives_malformed_messages_and_tells(tmp_path: Path) -> None:
    notices: list[Notice] = []
    journal = Journal(tmp_path, sync="never")
    for payload in (b"\xff\xff", b'{"type":"camera.online","schema":9,"time_ns":1,"camera":"a"}'):
        journal.append("camera/a", payload)
    with Publisher(journal, "tcp://127.0.0.1:0", "tcp://127.0.0.1:0") as publisher:
        publisher.publish(online(5))
        with Subscriber(
            publisher.endpoint, publisher.replay, since="beginning", on_notice=notices.append
        ) as subscriber:
            newer, known = collect(subscriber, 2)
    assert isinstance(newer.event, Unrecognised)
    assert newer.event.type == "camera.online"
    assert isinstance(known.event, CameraOnline)
    assert subscriber.malformed == 1
    assert [notice.kind for notice in notices] == ["malformed", "schema"]


JUNK = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"@all", b"@heads", b"[" * 10_000, b'{"publisher":"p","epoch":"e","first":1}']),
    st.builds(
        lambda first, topics, sizes: msgspec.json.encode(
            {"publisher": "p", "epoch": "e", "first": first, "topics": topics, "sizes": sizes}
        ),
        st.integers(), st.lists(st.text(max_size=3), max_size=3), st.lists(st.integers(-1, 5), max_size=3),
    ),
)  # fmt: skip


Answer = Callable[[int], Iterable[list[bytes]]]


@contextlib.contextmanager
def hostile(answer: Answer, live: Iterable[list[bytes]] = ()) -> Iterator[tuple[str, str]]:
    """Somebody at a publisher's address: what `answer` gives for a request's id, and `live` besides."""
    over = threading.Event()
    addresses: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

    def work() -> None:
        with zmq.Context() as context, context.socket(zmq.PUB) as pub, context.socket(zmq.ROUTER) as router:
            pub.linger = router.linger = 0
            pub.sndhwm = router.sndhwm = 0
            bound = [socket.bind_to_random_port("tcp://127.0.0.1") for socket in (pub, router)]
            addresses.put((f"tcp://127.0.0.1:{bound[0]}", f"tcp://127.0.0.1:{bound[1]}"))
            messages = iter(live)
            while not over.is_set():
                if router.poll(5):
                    who, request = router.recv_multipart()[:2]
                    for message in answer(msgspec.json.decode(request)["id"]):
                        router.send_multipart([who, *message])
                for message in itertools.islice(messages, 50):
                    pub.send_multipart(message)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield addresses.get(timeout=10)
    finally:
        over.set()
        thread.join()


def says(identifier: int, payloads: Sequence[bytes] = (), **fields: object) -> list[bytes]:
    """An answer."""
    told = {
        "id": identifier, "publisher": "p", "live": "e", "epoch": "e", "after": 0, "to": len(payloads),
        "seqs": list(range(1, len(payloads) + 1)), "topics": ["x"] * len(payloads),
        "times": [0] * len(payloads), "sizes": list(map(len, payloads)), "done": True,
    }  # fmt: skip
    return [msgspec.json.encode({**told, **fields}), *([b"".join(payloads)] if payloads else [])]


def test_journals_and_epochs_without_end_are_not_all_remembered() -> None:
    count = itertools.count()

    def answer(identifier: int) -> list[list[bytes]]:
        return [
            says(identifier, publisher=f"{next(count)}", epoch=f"{n}", to=1, done=False) for n in range(200)
        ]

    with hostile(answer) as ports, Subscriber(*ports, on_notice=lambda _: None) as subscriber:
        deadline_s = time.monotonic() + 10
        while next(count) < 500 and time.monotonic() < deadline_s:
            subscriber.receive(0.05)
        positions = subscriber.positions.publishers
    assert 2 <= len(positions) <= 65
    assert sum(map(len, positions.values())) <= 65 * 64


@pytest.mark.parametrize("fields", [
    {"publisher": "p" * 10_000}, {"epoch": "e" * 10_000}, {"live": "l" * 10_000}, {"to": 2**63}, {"lost": -1},
    {"rewound": -1}, {"after": -1},
], ids=lambda fields: next(iter(fields)))  # fmt: skip
def test_numbers_and_ids_that_no_journal_has_are_malformed(fields: dict[str, Any]) -> None:
    notices: list[Notice] = []
    with (
        hostile(lambda identifier: [says(identifier, **fields)]) as ports,
        Subscriber(*ports, on_notice=notices.append) as subscriber,
    ):
        assert until(lambda: subscriber.receive(0.05) is not None or bool(notices))
        assert subscriber.positions.publishers == {}
    assert {notice.kind for notice in notices} == {"malformed"}


def test_what_comes_too_early_is_kept_up_to_an_amount() -> None:
    ordering = Ordering()
    for first in range(2, 200, 2):
        ordering.live(EventBatch("p", "e", first, ["t"], [2**20]), [bytes(2**20)])
        ordering.live(EventBatch("p", "e", 1000 + first, [], []), [])
    assert ordering._held_bytes == sum(len(payloads[0]) for _, payloads in ordering._held.values())
    assert ordering._held_bytes <= MAX_HELD_BYTES


def test_large_events_wait_in_the_socket_and_all_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaitstream.events.link.MAX_QUEUED_BYTES", 2**20)
    filled = [encode(CameraOnline(time_ns=n, camera="c" * 200_000)) for n in range(1, 41)]
    answers = [filled[n : n + 2] for n in range(0, 40, 2)]

    def answer(identifier: int) -> Iterator[list[bytes]]:
        for number, two in enumerate(answers):
            seqs = [2 * number + 1, 2 * number + 2]
            fields = {"seqs": seqs, "to": seqs[1], "done": number == len(answers) - 1}
            yield says(identifier, two, **fields, **({} if number == 0 else {"after": None}))

    with hostile(answer) as ports, Subscriber(*ports, since="beginning") as subscriber:
        got = []
        for received in collect(subscriber, 40):
            got.append(received.event.time_ns)
            assert sum(len(one.payload) for one in subscriber._links[0].ready) <= 2**20 + 400_200
    assert got == list(range(1, 41))


def test_an_event_larger_than_any_journal_holds_is_none() -> None:
    large = encode(CameraOnline(time_ns=1, camera="c" * 2**20))
    with (
        hostile(lambda identifier: [says(identifier, [large])]) as ports,
        Subscriber(*ports, since="beginning", on_notice=lambda _: None) as subscriber,
    ):
        assert until(lambda: subscriber.receive(0.05) is not None or subscriber.malformed > 0)
        assert subscriber.malformed == 1


def test_who_sends_nothing_but_junk_keeps_nobody_waiting() -> None:
    def events() -> Iterator[list[bytes]]:
        for first in itertools.count(1, 100):
            head = {"publisher": "p", "epoch": "e", "first": first, "topics": ["x"] * 100, "sizes": [1] * 100}
            yield [b"@all", msgspec.json.encode(head), b"?" * 100]

    with (
        hostile(lambda identifier: [says(identifier)], events()) as ports,
        Subscriber(*ports, on_notice=lambda _: None) as subscriber,
    ):
        for _ in range(20):
            start_s = time.monotonic()
            assert subscriber.receive(0.02) is None
            assert time.monotonic() - start_s < 5


def test_what_a_publisher_causes_is_told_in_bounds_and_without_its_control_characters() -> None:
    told: list[Notice] = []
    now = [0.0]
    notices = Notices(told.append, lambda: now[0])
    for number in range(1000):
        notices.tell(Notice("lost", "a", 3, "\x1b[2J" * 1000))
        notices.tell(Notice("refused", "a", 0, f"because of {number}"))
    notices.catch_up()
    assert len(told) == 2 * AT_ONCE
    assert all(notice.detail.isprintable() and len(notice.detail) < 2000 for notice in told)
    now[0] = 1.0
    notices.catch_up()
    notices.catch_up()
    assert len(told) == 2 * AT_ONCE + 2
    assert sum(notice.events for notice in told) == 3000
    notices.tell(Notice("lost", "a", 1, ""))
    assert told[-1].events == 1


@settings(max_examples=60, deadline=None)
@given(
    live=st.lists(st.lists(JUNK, min_size=1, max_size=4), max_size=5),
    answer=st.lists(JUNK, min_size=1, max_size=4),
)
def test_a_hostile_publisher_raises_nothing(live: list[list[bytes]], answer: list[bytes]) -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as pub, context.socket(zmq.ROUTER) as router:
        pub.linger = router.linger = 0
        ports = [pub.bind_to_random_port("tcp://127.0.0.1"), router.bind_to_random_port("tcp://127.0.0.1")]
        addresses = [f"tcp://127.0.0.1:{port}" for port in ports]
        with Subscriber(*addresses, on_notice=lambda _: None) as subscriber:
            subscriber.receive(0.02)
            if router.poll(1000):
                router.send_multipart([router.recv_multipart()[0], *answer])
            for message in live:
                pub.send_multipart([b"@all", *message])
                pub.send_multipart(message)
            subscriber.receive(0.02)

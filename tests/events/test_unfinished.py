"""Clients that send and send what never becomes a message, and those that send much that does."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
import zmq

from gaitstream.events import Notice, Publisher, Subscriber
from gaitstream.events.unfinished import HELD_BYTES, PART_BYTES, Unfinished
from gaitstream.events.wire import MAX_REQUEST_BYTES
from tests.events.test_hostile import rss_mib, still_works
from tests.events.wiring import bus, shake_hands, zmtp

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="other systems do not count a connection's bytes"
)

PATIENCE_S = 60.0
PIECE = 256 * 1024


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    with bus(tmp_path / "journal", sync="never") as publisher:
        yield publisher


def part(size: int) -> bytes:
    """A part of a message, after which more will come."""
    header = bytes([1, size]) if size < 256 else b"\3" + size.to_bytes(8, "big")
    return header + bytes(size)


def send_on(connection: socket.socket, piece: bytes) -> None:
    """Send the same again and again, not as fast as it goes."""
    connection.settimeout(PATIENCE_S)
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        connection.sendall(piece)
        time.sleep(0.02)


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("kind", [b"SUB", b"DEALER"])
def test_a_message_without_end_takes_no_memory(
    publisher: Publisher, kind: bytes, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    before_mib = rss_mib()
    piece = part(size) * (PIECE // len(part(size)))
    address = publisher.replay if kind == b"DEALER" else publisher.endpoint
    with zmtp(address, kind) as connection, pytest.raises(ConnectionError):
        send_on(connection, piece)
    assert rss_mib() < before_mib + 100
    still_works(publisher)
    assert "never becomes a message" in caplog.text


def test_whole_messages_are_taken_for_as_long_as_they_come(publisher: Publisher, tmp_path: Path) -> None:
    request = msgspec.json.encode({"id": 1, "prefixes": ["x" * 1000] * 60, "credit": 1})
    assert MAX_REQUEST_BYTES / 2 < len(request) <= MAX_REQUEST_BYTES
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer, context.socket(zmq.SUB) as sub:
        dealer.linger = sub.linger = 0
        dealer.connect(publisher.replay)
        sub.connect(publisher.endpoint)
        for _ in range(20 * HELD_BYTES // len(request)):
            dealer.send(request)
            assert dealer.poll(int(PATIENCE_S * 1000)), "the connection was closed"
            dealer.recv_multipart()
        for number in range(1000):
            sub.subscribe(f"{number:0250}")
        deadline_s = time.monotonic() + PATIENCE_S
        while publisher._filters.subscriptions < 1000 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert publisher._door.refused == 0


def look(unfinished: Unfinished, now_s: float) -> list[int]:
    """Look until somebody holds too much; whose descriptors these are."""
    deadline_s = time.monotonic() + PATIENCE_S
    found = unfinished.greedy(now_s)
    while not found and time.monotonic() < deadline_s:
        time.sleep(0.01)
        found = unfinished.greedy(now_s)
    return [descriptor for descriptor, _ in found]


def test_what_a_connection_holds_is_what_was_not_read() -> None:
    unfinished = Unfinished()
    with contextlib.ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        router = stack.enter_context(context.socket(zmq.ROUTER))
        router.linger = 0
        port = router.bind_to_random_port("tcp://127.0.0.1")
        monitor = router.get_monitor_socket(zmq.Event.ACCEPTED)
        raw = stack.enter_context(zmtp(f"tcp://127.0.0.1:{port}", b"DEALER"))
        descriptor = int.from_bytes(monitor.recv_multipart()[0][2:], sys.byteorder)
        unfinished.accept(descriptor)
        assert unfinished.greedy(0.0) == []
        many = HELD_BYTES // 1000 + 10
        raw.sendall(part(1000) * many)
        assert look(unfinished, 0.0) == [descriptor]
        raw.sendall(b"\0\0")  # the last part, of no bytes
        for piece in router.recv_multipart(copy=False)[1:]:
            unfinished.took(piece)
        assert unfinished.greedy(0.0) == []
        assert unfinished.greedy(1e9) == []  # what was not used of the past does not count for what comes
        raw.sendall(part(1000) * 2 * many)
        assert look(unfinished, 1e9) == [descriptor]
        router.disable_monitor()
        monitor.close(linger=0)
    assert unfinished.greedy(2e9) == []
    assert PART_BYTES > 42  # of CURVE


def test_other_descriptors_are_left_alone(tmp_path: Path) -> None:
    unfinished = Unfinished()
    with (tmp_path / "file").open("wb") as file:
        unfinished.accept(file.fileno())
        unfinished.accept(10**6)
        assert unfinished.greedy(0.0) == []
        file.write(b"it is open")


@contextlib.contextmanager
def endless(kind: bytes, piece: bytes) -> Iterator[str]:
    """Somebody at a publisher's address who shakes hands and then sends the same again and again."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(8) as pool:
        server.settimeout(0.1)

        def serve(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.settimeout(PATIENCE_S)
                shake_hands(connection, kind)
                time.sleep(0.2)  # what comes before both have shaken hands is an error
                while not over.is_set():
                    connection.sendall(piece)
                    time.sleep(0.002)

        def accept() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    pool.submit(serve, server.accept()[0])

        pool.submit(accept)
        try:
            yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()


def test_a_subscriber_is_not_filled_by_a_message_without_end(tmp_path: Path) -> None:
    told: list[Notice] = []
    before_mib, piece = rss_mib(), part(1000) * 250
    with (
        endless(b"XPUB", piece) as live,
        endless(b"ROUTER", piece) as replay,
        Subscriber(live, replay, on_notice=told.append) as subscriber,
    ):
        deadline_s = time.monotonic() + PATIENCE_S
        while not ({live, replay} <= {one.detail.partition(": ")[0] for one in told}):
            assert time.monotonic() < deadline_s, told
            assert subscriber.receive(0.1) is None
    assert rss_mib() < before_mib + 200
    assert all("a message without end" in one.detail for one in told if one.kind == "malformed")

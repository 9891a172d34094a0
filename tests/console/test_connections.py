"""Connections that are held to hold the console up, over a real socket."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi", reason="needs the extra [console]")

from gaitstream.console import connections, guards, streams
from gaitstream.console.live import LivePicture
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.pages import stream as stream_page
from gaitstream.console.site import ConsoleSite
from tests.console.certificate import make_certificate
from tests.console.world import PASSWORD, console

SOON_S = 20.0
MOMENT_S = 1.0
"""That the console waits; whoever means well is sooner also on a busy machine."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A console that waits for moments only."""
    monkeypatch.setattr(connections, "REQUEST_S", MOMENT_S)
    monkeypatch.setattr(connections, "STALLED_S", 2 * MOMENT_S)
    monkeypatch.setattr(connections, "LOOK_S", MOMENT_S / 4)
    monkeypatch.setattr(connections, "TLS_CLOSES_S", 2 * MOMENT_S)
    monkeypatch.setattr(guards, "PATIENCE_S", MOMENT_S)
    monkeypatch.setattr(guards, "SLOWEST_BYTES_S", 1e9)
    monkeypatch.setattr(stream_page, "BEAT_S", 0.1)


@pytest.fixture
def served(tmp_path: Path, impatient: None) -> Iterator[tuple[str, ConsoleSite]]:
    """The address of such a console, and what it holds."""
    with console(ConsoleOptions(tmp_path / "state", port=0), ("vera",)) as made:
        yield made


@pytest.fixture
def address(served: tuple[str, ConsoleSite]) -> str:
    """Of such a console."""
    return served[0]


def connect(address: str, buffer_bytes: int = 0) -> socket.socket:
    """Connect, with so little room for what is not read yet."""
    url = httpx.URL(address)
    connection = socket.socket()
    if buffer_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    connection.settimeout(SOON_S)
    connection.connect((socket.gethostbyname(url.host), url.port))
    return connection


def has_read_enough(connection: socket.socket, wanted_bytes: int, piece_bytes: int, pause_s: float) -> bool:
    """Whether somebody who reads slowly gets so much."""
    read_bytes = 0
    while read_bytes < wanted_bytes:
        piece = connection.recv(piece_bytes)
        if not piece:
            return False
        read_bytes += len(piece)
        time.sleep(pause_s)
    return True


def is_held(connection: socket.socket) -> bool:
    """Whether the console still has its end of a connection open."""
    mine = f":{connection.getsockname()[1]:04X}"
    ends = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(state in ("01", "08") for _, _, of, state, *_ in ends if of.endswith(mine))


def is_hung_up_on(connection: socket.socket, drip: bytes = b"") -> bool:
    """Whether the other side closes, while one says a byte now and then."""
    connection.settimeout(0.05)
    end_s = time.monotonic() + SOON_S
    while time.monotonic() < end_s:
        try:
            connection.send(drip)
            if connection.recv(4096) == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def test_whoever_says_nothing_is_hung_up_on(address: str) -> None:
    with connect(address) as silent:
        assert is_hung_up_on(silent)


def test_whoever_says_a_byte_now_and_then_is_hung_up_on_also_after_a_whole_request(address: str) -> None:
    with connect(address) as slow:
        slow.send(b"GET /login HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert is_hung_up_on(slow, b"a")
    with connect(address) as slow:
        slow.send(b"GET /login HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert slow.recv(64).startswith(b"HTTP/1.1 200")
        slow.send(b"GET /login HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert is_hung_up_on(slow, b"a")


def test_a_body_that_does_not_come_is_told_so(address: str) -> None:
    head = "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n"
    with connect(address) as slow:
        slow.send(f"{head}Content-Type: application/x-www-form-urlencoded\r\n\r\nname=".encode())
        assert slow.recv(64).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("pause_s", [0.0, 0.5])
@pytest.mark.parametrize("form", ["", "Content-Type: application/x-www-form-urlencoded\r\n"])
def test_a_body_that_is_none_is_answered_once_and_breaks_nothing(
    address: str, pause_s: float, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With the head, or after it was answered: anybody could fill the log with what that broke."""
    with connect(address) as broken:
        head = f"POST /login HTTP/1.1\r\nHost: localhost\r\n{form}Transfer-Encoding: chunked\r\n\r\n"
        pieces = (head, "ZZ\r\n\r\n") if pause_s else (f"{head}ZZ\r\n\r\n",)
        for piece in pieces:
            broken.send(piece.encode())
            time.sleep(pause_s)
        said = b""
        while more := broken.recv(4096):
            said += more
    assert said.count(b"HTTP/1.1 4") == 1
    assert not [record for record in caplog.records if record.exc_info]


LONG = b"GET /static/vendor/htmx.min.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""What anybody may ask for."""


def test_whoever_reads_nothing_of_many_answers_is_hung_up_on(address: str) -> None:
    readers = [connect(address, 4096) for _ in range(8)]
    for reader in readers:
        reader.send(LONG * 100)
    end_s = time.monotonic() + SOON_S
    while any(map(is_held, readers)):
        assert time.monotonic() < end_s, "the console holds who reads nothing"
        time.sleep(0.1)
    for reader in readers:
        reader.close()


def test_whoever_reads_nothing_of_a_last_answer_is_hung_up_on(address: str) -> None:
    """All of it is on its way, so that the answer is over; what is left does not end with `close`."""
    with connect(address, 4096) as reader:
        reader.send(LONG * 3)
        end_s = time.monotonic() + SOON_S
        while is_held(reader):
            assert time.monotonic() < end_s, "the console holds who reads nothing"
            time.sleep(0.1)


@pytest.mark.parametrize("answers", [1, 100])
def test_under_tls_whoever_reads_nothing_is_hung_up_on_too(
    tmp_path: Path, impatient: None, answers: int, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = make_certificate(tmp_path)
    options = ConsoleOptions(tmp_path / "state", port=0, certificate=certificate, certificate_key=key)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with (
        console(options, ()) as (address, _),
        trusting.wrap_socket(connect(address, 4096), server_hostname="localhost") as reader,
    ):
        reader.send(LONG * answers)
        end_s = time.monotonic() + SOON_S
        while is_held(reader):
            assert time.monotonic() < end_s, "the console holds who reads nothing"
            time.sleep(0.1)
    assert "Traceback" not in caplog.text


def test_whoever_reads_slowly_gets_everything(address: str) -> None:
    with connect(address, 4096) as reader:
        reader.send(LONG * 20)
        began_s = time.monotonic()
        assert has_read_enough(reader, 800_000, 16_384, 0.1)
        assert time.monotonic() - began_s > 2 * MOMENT_S


@pytest.mark.parametrize("reads", [True, False])
def test_live_pictures_go_on_for_a_slow_reader_and_end_for_none(
    served: tuple[str, ConsoleSite], monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    address, site = served

    async def next_picture(camera: str, after: int = 0, wait_s: float = 2.0) -> LivePicture:
        await asyncio.sleep(0.01)
        return LivePicture(after + 1, b"x" * 50_000)

    monkeypatch.setattr(site.live, "next", next_picture)
    with logged_in(address) as client, connect(address, 4096) as viewer:
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        viewer.send(
            f"GET /live/gate/stream HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n\r\n".encode()
        )
        assert viewer.recv(16).startswith(b"HTTP/1.1 200")
        if reads:
            assert has_read_enough(viewer, 600_000, 16_384, 0.1)
        else:
            end_s = time.monotonic() + SOON_S
            while is_held(viewer):
                assert time.monotonic() < end_s
                time.sleep(0.1)


def test_of_one_address_only_so_many_connections_are_taken(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_OF_ONE", 3)
    held = [connect(address) for _ in range(3)]
    with connect(address) as refused:
        assert refused.recv(64).startswith(b"HTTP/1.1 503")
    for one in held:
        one.close()
    monkeypatch.setattr(connections, "MOST_OF_ONE", 99)
    monkeypatch.setattr(connections, "MOST", 0)
    with connect(address) as refused:
        assert refused.recv(64).startswith(b"HTTP/1.1 503")


def test_the_document_of_the_interface_is_for_who_has_an_account(address: str) -> None:
    assert httpx.get(f"{address}/api/v1/openapi.json").status_code == 401
    with logged_in(address) as client:
        assert "/api/v1/events" in client.get("/api/v1/openapi.json").json()["paths"]


@contextmanager
def logged_in(address: str, **headers: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, headers=headers, timeout=SOON_S) as client:
        assert log_in(client, PASSWORD) == 303
        yield client


def log_in(client: httpx.Client, password: str) -> int:
    page = client.get("/login")
    csrf = re.search(r'name="csrf" value="(\w+)"', page.text)
    assert csrf is not None
    form = {"csrf": csrf[1], "name": "vera", "password": password}
    cookie = page.headers["set-cookie"].partition(";")[0]  # under TLS alone, which the proxy here only says
    return client.post("/login", data=form, headers={"Cookie": cookie}).status_code


def test_a_stream_outlives_all_of_this_and_one_user_has_only_so_many(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MOST_OF_ONE", 2)
    with logged_in(address) as client, client.stream("GET", "/stream") as one:
        lines = one.iter_lines()
        began_s = time.monotonic()
        while time.monotonic() - began_s < 2 * MOMENT_S:
            next(lines)
        with client.stream("GET", "/stream"):
            refused = client.get("/stream")
            assert (refused.status_code, "2 streams open" in refused.text) == (429, True)


@pytest.mark.parametrize("trusted", [(), ("127.0.0.1",)])
def test_forwarded_addresses_do_not_help_to_guess(tmp_path: Path, trusted: tuple[str, ...]) -> None:
    """Neither where nobody may say them, nor behind a proxy, which adds the true one at the end."""
    options = ConsoleOptions(tmp_path / "state", port=0, trusted_proxies=trusted, names=("localhost",))
    with console(options, ("vera",)) as (address, _), httpx.Client(base_url=address) as client:
        answers = []
        for number in range(7):
            client.headers["X-Forwarded-For"] = f"10.9.8.{number}, 203.0.113.7"
            answers.append(log_in(client, "a wrong password"))
        assert answers == [401] * 5 + [429] * 2
        client.headers["X-Forwarded-For"] = "198.51.100.4"
        assert log_in(client, PASSWORD) == (303 if trusted else 429)

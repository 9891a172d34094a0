"""Connections that are held to hold the console up, over a real socket."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi", reason="needs the extra [console]")

from gaitstream.console import connections, guards, streams
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.pages import stream as stream_page
from tests.console.world import PASSWORD, console

SOON_S = 20.0
MOMENT_S = 1.0
"""That the console waits; whoever means well is sooner also on a busy machine."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A console that waits for moments only."""
    monkeypatch.setattr(connections, "REQUEST_S", MOMENT_S)
    monkeypatch.setattr(guards, "PATIENCE_S", MOMENT_S)
    monkeypatch.setattr(guards, "SLOWEST_BYTES_S", 1e9)
    monkeypatch.setattr(stream_page, "BEAT_S", 0.1)


@pytest.fixture
def address(tmp_path: Path, impatient: None) -> Iterator[str]:
    """Of such a console."""
    with console(ConsoleOptions(tmp_path / "state", port=0), ("vera",)) as (address, _):
        yield address


def connect(address: str) -> socket.socket:
    url = httpx.URL(address)
    return socket.create_connection((url.host, url.port), SOON_S)


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

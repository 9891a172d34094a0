"""Who may listen: loopback is open, everything else needs keys, and a list that may change while it runs."""

from __future__ import annotations

import logging
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import zmq

from gaitstream.errors import EventError
from gaitstream.events import Journal, Publisher, Subscriber
from gaitstream.events.keys import allow, new_pair, read_allowed, read_pair, read_public, revoke
from tests.events.wiring import LOOPBACK, collect, online, zmtp


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    for name in ("server", "alerts", "wall", "stranger"):
        new_pair(folder, name)
    for name in ("alerts", "wall"):
        allow(folder, read_public(folder / f"{name}.pub"), name)
    return folder


@pytest.fixture
def publisher(tmp_path: Path, keys: Path) -> Iterator[Publisher]:
    with Publisher(Journal(tmp_path / "journal", sync="never"), LOOPBACK, LOOPBACK, keys=keys) as publisher:
        yield publisher


def subscriber(publisher: Publisher, keys: Path, name: str, server: str = "server") -> Subscriber:
    return Subscriber(
        publisher.endpoint, publisher.replay, since="beginning",
        key=keys / f"{name}.key", server_key=keys / f"{server}.pub",
    )  # fmt: skip


def refused(caplog: pytest.LogCaptureFixture, why: str, timeout_s: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if any("from 127.0.0.1:" in r.getMessage() and why in r.getMessage() for r in caplog.records):
            return True
        time.sleep(0.05)
    return False


def refused_each_time(
    caplog: pytest.LogCaptureFixture, why: str, make: Callable[[], Subscriber], tries: int = 8
) -> bool:
    """Whether nothing is delivered and the address is logged; a connection may close before it is read."""
    for _ in range(tries):
        with make() as listening:
            assert listening.receive(0.3) is None
            if refused(caplog, why, 0.5):
                return True
    return False


def test_an_allowed_key_gets_all(publisher: Publisher, keys: Path) -> None:
    publisher.publish(online(1))
    with subscriber(publisher, keys, "alerts") as listening:
        assert [r.event.time_ns for r in collect(listening, 1)] == [1]
        publisher.publish(online(2))
        assert [r.event.time_ns for r in collect(listening, 1)] == [2]


def test_nothing_goes_in_clear_over_the_wire(publisher: Publisher, keys: Path) -> None:
    """A relay between both sees neither topics nor names."""
    seen = bytearray()
    host, port = publisher.endpoint.removeprefix("tcp://").split(":")
    with socket.create_server(("127.0.0.1", 0)) as relay:

        def pump(one: socket.socket, other: socket.socket) -> None:
            while data := one.recv(65536):
                seen.extend(data)
                other.sendall(data)

        def serve() -> None:
            near = relay.accept()[0]
            far = socket.create_connection((host, int(port)))
            threading.Thread(target=pump, args=(near, far), daemon=True).start()
            threading.Thread(target=pump, args=(far, near), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        with Subscriber(
            f"tcp://127.0.0.1:{relay.getsockname()[1]}", publisher.replay,
            key=keys / "alerts.key", server_key=keys / "server.pub",
        ) as listening:  # fmt: skip
            listening.wait_connected(5)
            time.sleep(0.3)
            publisher.publish(online(1, "secret-garden"))
            assert len(collect(listening, 1)) == 1
    assert len(seen) > 500
    assert b"secret-garden" not in seen
    assert b"@all" not in seen


def test_a_strange_key_is_refused_and_logged(
    publisher: Publisher, keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    publisher.publish(online(1))
    with subscriber(publisher, keys, "stranger") as listening:
        assert listening.receive(0.5) is None
        assert refused(caplog, "its key is not allowed")


def test_a_client_without_a_key_is_refused_and_logged(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.publish(online(1))
    make = partial(Subscriber, publisher.endpoint, publisher.replay, since="beginning")
    assert refused_each_time(caplog, "it has no key", make)


def test_another_server_key_is_refused_and_logged(
    publisher: Publisher, keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.publish(online(1))
    make = partial(subscriber, publisher, keys, "alerts", server="wall")
    assert refused_each_time(caplog, "takes this for another publisher", make)


def test_a_revoked_key_is_cut_off_and_a_new_one_let_in(
    publisher: Publisher, keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with subscriber(publisher, keys, "alerts") as alerts, subscriber(publisher, keys, "wall") as wall:
        publisher.publish(online(1))
        assert [len(collect(one, 1)) for one in (alerts, wall)] == [1, 1]
        revoke(keys, "alerts")
        assert refused(caplog, "its key is not allowed")
        publisher.publish(online(2))
        assert [r.event.time_ns for r in collect(wall, 1)] == [2]
        assert alerts.receive(1.5) is None
        allow(keys, read_public(keys / "alerts.pub"), "alerts")
        publisher.publish(online(3))
        assert [r.event.time_ns for r in collect(alerts, 2)] == [2, 3]


def test_a_list_that_cannot_be_read_is_said_once_and_the_old_one_counts(
    publisher: Publisher, keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with subscriber(publisher, keys, "wall") as wall:
        publisher.publish(online(1))
        assert len(collect(wall, 1)) == 1
        (keys / "allowed").rename(keys / "put away")
        (keys / "allowed").mkdir()
        time.sleep(3.0)
        assert sum("the list cannot be read" in line for line in caplog.messages) == 1
        publisher.publish(online(2))
        assert [r.event.time_ns for r in collect(wall, 1)] == [2]


@pytest.mark.parametrize("kind", [zmq.XPUB, zmq.ROUTER])
def test_an_address_that_somebody_takes_at_a_revocation_is_asked_for_again(
    kind: int, tmp_path: Path, keys: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The publisher closes its sockets then, and any program of the machine may be quicker."""
    make, made = Publisher._make, list[int]()
    thieves: list[socket.socket] = []

    def steal(publisher: Publisher, asked: int) -> zmq.Socket[bytes]:
        made.append(asked)
        if asked == kind and made.count(kind) == 2:
            address = publisher.endpoint if kind == zmq.XPUB else publisher.replay
            thieves.append(listen(int(address.rpartition(":")[2])))
        return make(publisher, asked)

    monkeypatch.setattr(Publisher, "_make", steal)
    caplog.set_level(logging.WARNING)
    journal = Journal(tmp_path / "journal", sync="never")
    with (
        Publisher(journal, LOOPBACK, LOOPBACK, keys=keys) as publisher,
        subscriber(publisher, keys, "wall") as wall,
    ):
        publisher.publish(online(1))
        assert len(collect(wall, 1)) == 1
        revoke(keys, "alerts")
        assert said(caplog, "it is tried again until it works")
        publisher.publish(online(2))
        time.sleep(1.5)
        thieves[0].close()
        assert said(caplog, "it is listened at again")
        publisher.publish(online(3))
        assert [r.event.time_ns for r in collect(wall, 2)] == [2, 3]
    assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 1, caplog.text


def listen(port: int) -> socket.socket:
    """Take a port as soon as it is free."""
    deadline = time.monotonic() + 5
    while True:
        thief = socket.socket()
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            thief.bind(("127.0.0.1", port))
        except OSError:
            thief.close()
            assert time.monotonic() < deadline
            continue
        thief.listen()
        return thief


def said(caplog: pytest.LogCaptureFixture, what: str, timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if any(what in record.getMessage() for record in list(caplog.records)):
            return True
        time.sleep(0.05)
    return False


def test_strangers_that_keep_coming_do_not_stop_the_others(publisher: Publisher, keys: Path) -> None:
    with subscriber(publisher, keys, "alerts") as alerts:
        alerts.wait_connected(5)
        for _ in range(50):
            zmtp(publisher.endpoint, b"SUB").close()
            publisher.publish(online(1))
        assert len(collect(alerts, 50)) == 50


@pytest.mark.parametrize("address", ["tcp://*:0", "tcp://0.0.0.0:0", "tcp://[::]:0", "tcp://192.0.2.1:5556"])
def test_other_machines_need_keys(tmp_path: Path, address: str) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(EventError, match=r"gaitstream keys new server.* --insecure"):
        Publisher(journal, LOOPBACK, address)
    journal.close()


def test_insecure_is_allowed_and_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Publisher(Journal(tmp_path), "tcp://0.0.0.0:0", "ipc://*", insecure=True):
        assert "open to other machines without keys" in caplog.text


def test_keys_open_other_addresses(tmp_path: Path, keys: Path) -> None:
    with Publisher(Journal(tmp_path / "journal"), "tcp://0.0.0.0:0", LOOPBACK, keys=keys) as publisher:
        assert publisher.endpoint.startswith("tcp://0.0.0.0:")


def test_key_files(tmp_path: Path) -> None:
    path = new_pair(tmp_path, "alerts")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    pair = read_pair(path)
    assert pair.secret not in repr(pair)
    assert read_public(path.with_suffix(".pub")) == read_public(pair.public) == pair.public
    with pytest.raises(EventError, match="exists"):
        new_pair(tmp_path, "alerts")
    with pytest.raises(EventError, match="one word"):
        new_pair(tmp_path, "../alerts")
    with pytest.raises(EventError, match="is no key"):
        read_pair(path.with_suffix(".pub"))
    with pytest.raises(EventError, match="is no public key"):
        read_public(path)


def test_the_list(tmp_path: Path) -> None:
    one, two = zmq.curve_keypair()[0].decode(), zmq.curve_keypair()[0].decode()
    allow(tmp_path, one, "wall display")
    allow(tmp_path, one, "wall")
    with pytest.raises(EventError, match="taken by another key"):
        allow(tmp_path, two, "wall")
    allow(tmp_path, two, "alerts")
    assert [entry.name for entry in read_allowed(tmp_path)] == ["wall", "alerts"]
    assert revoke(tmp_path, two).name == "alerts"
    with pytest.raises(EventError, match="it has wall"):
        revoke(tmp_path, "alerts")


def test_a_subscriber_says_which_key_is_missing(tmp_path: Path) -> None:
    with pytest.raises(EventError, match=r"server_key='server\.pub'"):
        Subscriber(key=tmp_path / "a.key")
    with pytest.raises(EventError, match="cannot be read"):
        Subscriber(key=tmp_path / "a.key", server_key=tmp_path / "b.pub")

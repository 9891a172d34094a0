"""The publisher in a process of its own: whatever ends it, nothing is lost and nothing comes twice."""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gaitstream.errors import BusyError, EventError, JournalWriteError
from gaitstream.events import GalleryChanged, IdentityFinal, Journal, Subscriber, decode, encode
from gaitstream.events.apart import OFTEN, Publish, PublisherProcess, _Child
from gaitstream.events.apart_process import FILES, MEMORY_BYTES
from gaitstream.events.publishing import PublisherSettings
from tests.events.wiring import LOOPBACK, collect, online, zmtp

PING = b"\x04\x07\x04PING\0\0"
WAIT_S = 60.0


def settings(folder: Path, **fields: Any) -> PublisherSettings:
    known = {"endpoint": LOOPBACK, "replay": LOOPBACK, "sync": "never"}
    return PublisherSettings(directory=str(folder / "journal"), **known | fields)


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[PublisherProcess]:
    with PublisherProcess(settings(tmp_path)) as publisher:
        yield publisher


def pid(publisher: PublisherProcess) -> int:
    """Of the process that serves; waited for."""
    wait_for(lambda: publisher._child is not None)
    assert publisher._child is not None
    return publisher._child.process.pid


def wait_for(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def kept(folder: Path) -> list[int]:
    """Times of the journal's events; the process must have ended."""
    journal = Journal(folder / "journal")
    times = [decode(record.payload).time_ns for record in journal.read(limit=10_000)]
    journal.close()
    return times


def test_events_pass_through_the_process(publisher: PublisherProcess, tmp_path: Path) -> None:
    with Subscriber(publisher.endpoint, publisher.replay, since="beginning") as subscriber:
        publisher.publish(online(1))
        publisher.publish_payload("camera/a", encode(online(2), "msgpack"))
        received = collect(subscriber, 2, WAIT_S)
    assert [one.event.time_ns for one in received] == [1, 2]
    assert {one.event.publisher for one in received} == {publisher.journal.id.hex()}
    assert publisher.journal.directory == tmp_path / "journal"
    publisher.close()
    publisher.close()
    with pytest.raises(EventError, match="closed"):
        publisher.publish(online(3))
    assert kept(tmp_path) == [1, 2]


def test_signals_of_a_run_are_not_for_the_process(publisher: PublisherProcess) -> None:
    before = pid(publisher)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(before, number)
    publisher.publish(online(1))
    assert pid(publisher) == before


def test_the_process_leaves_no_image_and_has_room_for_connections(publisher: PublisherProcess) -> None:
    serving = pid(publisher)
    assert resource.prlimit(serving, resource.RLIMIT_CORE) == (0, 0)
    assert 0 < resource.prlimit(serving, resource.RLIMIT_DATA)[0] <= MEMORY_BYTES
    soft, hard = resource.prlimit(serving, resource.RLIMIT_NOFILE)
    assert soft == resource.RLIM_INFINITY or soft >= FILES or soft == hard


def test_the_next_process_goes_on_where_one_was_killed(
    publisher: PublisherProcess, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    addresses = publisher.endpoint, publisher.replay
    with Subscriber(*addresses, since="beginning") as subscriber:
        for number in range(1, 31):
            if number % 10 == 0:
                os.kill(pid(publisher), signal.SIGKILL)
            publisher.publish(online(number))
        received = collect(subscriber, 30, WAIT_S)
    assert [one.event.time_ns for one in received] == [*range(1, 31)]
    assert (publisher.endpoint, publisher.replay) == addresses
    assert caplog.text.count("ended (SIGKILL)") == 3
    publisher.close()
    assert kept(tmp_path) == [*range(1, 31)]


def test_a_process_that_dies_while_nothing_is_published_is_replaced(publisher: PublisherProcess) -> None:
    publisher.publish(online(1))
    before = pid(publisher)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: publisher._child is not None and publisher._child.process.pid != before)
    with Subscriber(publisher.endpoint, publisher.replay, since="beginning") as subscriber:
        assert [one.event.time_ns for one in collect(subscriber, 1, WAIT_S)] == [1]


def test_what_was_written_and_not_answered_for_is_in_the_journal_once(
    publisher: PublisherProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = _Child.ask
    deaths = iter(range(4))

    def dies(child: _Child, message: Any, within_s: float | None = None) -> Any:
        reply = answered(child, message, within_s)
        if isinstance(message, Publish) and next(deaths, None) is not None:
            child.process.kill()
            raise EOFError
        return reply

    monkeypatch.setattr(_Child, "ask", dies)
    for number in range(1, 4):
        publisher.publish(online(number))
    publisher.publish(online(3))  # the same again is another event
    publisher.close()
    assert kept(tmp_path) == [1, 2, 3, 3]


def test_an_event_that_had_to_wait_is_in_the_journal_once(
    publisher: PublisherProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = _Child.ask

    def dies(child: _Child, message: Any, within_s: float | None = None) -> Any:
        reply = answered(child, message, within_s)
        if isinstance(message, Publish):
            child.process.kill()
            raise EOFError
        return reply

    monkeypatch.setattr("gaitstream.events.apart.ATTEMPTS", 1)
    with monkeypatch.context() as patched:
        patched.setattr(_Child, "ask", dies)
        with pytest.raises(JournalWriteError):
            publisher.publish(online(1))
    publisher.publish(online(1))
    publisher.publish(online(2))
    publisher.close()
    assert kept(tmp_path) == [1, 2]


def test_a_process_that_ends_again_and_again_rests(
    publisher: PublisherProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaitstream.events.apart.REST_S", 3600.0)
    monkeypatch.setattr("gaitstream.events.apart.WITHIN_S", 3600.0)
    for number in range(OFTEN):
        os.kill(pid(publisher), signal.SIGKILL)
        if number < OFTEN - 1:
            publisher.publish(online(number))
    with pytest.raises(JournalWriteError, match="times within"):
        publisher.publish(online(OFTEN))
    started_s = time.monotonic()
    publisher.close()
    assert time.monotonic() - started_s < 60


@pytest.mark.parametrize("kind", [b"SUB", b"DEALER"])
def test_who_resets_connections_ends_no_run(publisher: PublisherProcess, tmp_path: Path, kind: bytes) -> None:
    """Libzmq 4.3.5 ends its process by this, in one of two attempts or so."""
    address = publisher.endpoint if kind == b"SUB" else publisher.replay
    message = b"\0\2\1x" if kind == b"SUB" else b"\0\2{}"
    first, number = pid(publisher), 0
    for attempt in range(12):
        try:
            with zmtp(address, kind) as connection:
                connection.sendall((message * 20 + PING) * (60 + 9 * attempt))
                reset = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        except OSError:  # nobody listens until the next process does
            pid(publisher)
        number += 1
        publisher.publish(online(number))
        if pid(publisher) != first:
            break
    publisher.publish(online(number + 1))
    with Subscriber(publisher.endpoint, publisher.replay, since="beginning") as subscriber:
        received = collect(subscriber, number + 1, WAIT_S)
    assert [one.event.time_ns for one in received] == [*range(1, number + 2)]
    publisher.close()
    assert kept(tmp_path) == [*range(1, number + 2)]


def test_names_that_were_taken_out_stay_out_in_the_next_process(
    publisher: PublisherProcess, tmp_path: Path
) -> None:
    def final(number: int) -> IdentityFinal:
        return IdentityFinal(
            time_ns=number, camera="a", track=1, status="known", person="Ada Lovelace", person_id="7"
        )

    publisher.publish(GalleryChanged(time_ns=1, people=0, removed=("7",)))
    os.kill(pid(publisher), signal.SIGKILL)
    publisher.publish(final(2))
    publisher.remember({"7"})
    publisher.publish(final(3))
    publisher.close()
    journal = Journal(tmp_path / "journal")
    names = [b"Ada Lovelace" in record.payload for record in journal.read()]
    journal.close()
    assert names == [False, False, True]


def test_what_is_wrong_is_said_as_without_the_process(publisher: PublisherProcess, tmp_path: Path) -> None:
    with pytest.raises(BusyError, match="another process writes this journal"):
        PublisherProcess(settings(tmp_path), busy_s=0.0)
    with pytest.raises(BusyError, match="is in use"):
        PublisherProcess(settings(tmp_path / "other", endpoint=publisher.endpoint), busy_s=0.0)
    with pytest.raises(EventError, match="--insecure"):
        PublisherProcess(settings(tmp_path / "open", endpoint="tcp://0.0.0.0:0"))
    with pytest.raises(EventError, match="cannot be written"):
        publisher.publish(online(1 << 70))
    publisher.publish(online(1))


def test_what_the_process_logs_is_logged_here(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with PublisherProcess(settings(tmp_path, endpoint="tcp://0.0.0.0:0", insecure=True)):
        wait_for(lambda: "open to other machines without keys" in caplog.text)


def test_a_run_that_was_killed_leaves_journal_and_ports_to_the_next(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from gaitstream.events.apart import PublisherProcess\n"
        "from gaitstream.events.publishing import PublisherSettings\n"
        "from tests.events.wiring import LOOPBACK, online\n"
        "kept = PublisherSettings(directory=sys.argv[1], endpoint=LOOPBACK, replay=LOOPBACK)\n"
        "publisher = PublisherProcess(kept)\n"
        "publisher.publish(online(1))\n"
        "print(publisher.endpoint, flush=True)\n"
        "time.sleep(3600)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "journal")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as run:
        assert run.stdout is not None
        endpoint = run.stdout.readline().strip()
        run.kill()
    with PublisherProcess(settings(tmp_path, endpoint=endpoint), busy_s=WAIT_S) as publisher:
        publisher.publish(online(2))
    assert kept(tmp_path) == [1, 2]


def test_threads_publish_at_once(publisher: PublisherProcess, tmp_path: Path) -> None:
    def some(first: int) -> None:
        for number in range(first, first + 50):
            publisher.publish(online(number))

    threads = [threading.Thread(target=some, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    publisher.close()
    assert sorted(kept(tmp_path)) == [first + number for first in (0, 100, 200) for number in range(50)]

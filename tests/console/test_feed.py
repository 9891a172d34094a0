"""From a real publisher to the history and to a browser that watches; and after a break, without a gap."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest

from gaitstream.console.feed import Bus
from gaitstream.console.history import EventFilter, StoredEvent
from gaitstream.console.hub import WAITING, Hub, StreamViewer
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.pages import stream
from gaitstream.console.permissions import PERMISSIONS, Actor, Role
from gaitstream.console.serving import make_server
from gaitstream.console.site import ConsoleSite
from gaitstream.errors import ConsoleError
from gaitstream.events import GalleryChanged, Journal, Publisher
from tests.console.conftest import PASSWORD, csrf_of
from tests.console.making import ADA, START_NS, final, stranger

PATIENCE_S = 20.0


def wait_for(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    journal = Journal(tmp_path / "journal")
    with Publisher(journal, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*") as made:
        yield made
    journal.close()


def bus_of(publisher: Publisher, folder: Path) -> Bus:
    return Bus((publisher.endpoint,), (publisher.replay,), cursor=folder / "events.cursor")


def count(site: ConsoleSite) -> int:
    return len(site.history.page(EventFilter(), 500).events)


def holds(site: ConsoleSite, wanted: int) -> bool:
    return count(site) == wanted


def test_what_was_published_before_between_and_after_starts_is_kept_once(
    publisher: Publisher, tmp_path: Path
) -> None:
    options = ConsoleOptions(tmp_path / "state", bus=bus_of(publisher, tmp_path))
    for start in range(3):
        for number in range(40):
            publisher.publish(final(100 * start + number, track=number))
        site = ConsoleSite.open(options)
        site.start()
        wait_for(partial(holds, site, 40 * (start + 1)))
        site.close()
    site = ConsoleSite.open(options)
    tracks = [event.track for event in site.history.page(EventFilter(), 500).events]
    assert sorted(tracks) == sorted([*range(40)] * 3)
    site.close()


def test_events_wait_while_the_history_is_away_and_none_is_lost(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaitstream.console.feed.RETRY_S", 0.05)
    site = ConsoleSite.open(ConsoleOptions(tmp_path / "state", bus=bus_of(publisher, tmp_path)))
    add, tries = site.history.add, [0]

    def failing(events: object) -> object:
        tries[0] += 1
        if tries[0] < 4:
            raise ConsoleError("the history is away")
        return add(events)  # type: ignore[arg-type]

    monkeypatch.setattr(site.history, "add", failing)
    site.start()
    publisher.publish(final(1))
    wait_for(lambda: bool(site.health.problem) or count(site) == 1)
    publisher.publish(final(2))
    wait_for(lambda: count(site) == 2)
    wait_for(lambda: not site.health.problem)
    site.close()


def test_whoever_leaves_the_gallery_leaves_the_history(publisher: Publisher, tmp_path: Path) -> None:
    site = ConsoleSite.open(ConsoleOptions(tmp_path / "state", bus=bus_of(publisher, tmp_path)))
    site.start()
    publisher.publish(final(1))
    publisher.publish(GalleryChanged(time_ns=START_NS, people=2, removed=(ADA,)))
    wait_for(lambda: count(site) == 2)
    wait_for(lambda: not site.history.page(EventFilter(person=ADA), 5).events)
    site.close()


def test_a_browser_hears_within_a_second_only_of_its_cameras_and_while_its_session_holds(
    publisher: Publisher, tmp_path: Path, gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BEAT_S", 0.2)
    port = free_port()
    options = ConsoleOptions(
        tmp_path / "state", bus=bus_of(publisher, tmp_path), gallery=gallery, key="none", port=port
    )
    site = ConsoleSite.open(options)
    site.accounts.add("gatekeeper", PASSWORD, Role.VIEWER, frozenset({"gate"}))
    server = make_server(site)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            csrf = csrf_of(client.get("/login").text)
            client.post("/login", data={"csrf": csrf, "name": "gatekeeper", "password": PASSWORD})
            with client.stream("GET", "/stream") as answer:
                lines = answer.iter_lines()
                wait_for(lambda: site.hub.watched == 1)
                assert next(lines) == "retry: 2000"
                began_s = time.monotonic()
                publisher.publish(stranger(1, "vault"))
                publisher.publish(final(2, "gate"))
                texts = list(_until_data(lines))
                assert time.monotonic() - began_s < 1.0
                site.accounts.set_password("gatekeeper", "another password")
                assert not [line for line in lines if line.startswith("event:")]  # and it ends
            assert texts[0] == "event: identity.final"
            shown = msgspec.json.decode(texts[-1].removeprefix("data: "))
            assert (shown["camera"], shown["time_ns"]) == ("gate", START_NS + 2_000_000_000)
    finally:
        server.should_exit = True
        thread.join()


def test_many_streams_do_not_trip_over_each_other() -> None:
    hub, events = Hub(), _stored(3 * WAITING)

    def texts(_: int) -> list[str]:
        return [hub.text(event, lambda one: one.event_id) for event in events]

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns as they do on a busy machine
    try:
        with ThreadPoolExecutor(8) as streams:
            assert list(streams.map(texts, range(8))) == [[event.event_id for event in events]] * 8
    finally:
        sys.setswitchinterval(interval_s)


def _until_data(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith(("event:", "id:", "data:")):
            yield line
            if line.startswith("data:"):
                return


def test_a_slow_browser_loses_the_oldest_and_is_told_how_many() -> None:
    async def look() -> tuple[int, int]:
        viewer = StreamViewer(None)
        stored = _stored(WAITING + 7)
        viewer.put(stored)
        return len(await viewer.take(0.1)), viewer.dropped

    assert asyncio.run(look()) == (WAITING, 7)


def test_a_browser_that_may_see_two_cameras_and_asks_for_others_gets_the_common_ones() -> None:
    async def look() -> list[str]:
        hub = Hub()
        actor = Actor("ada", Role.VIEWER, PERMISSIONS[Role.VIEWER], frozenset({"a", "b"}))
        async with hub.watching(actor, frozenset({"b", "c"})) as viewer:
            hub.publish(_stored(4))
            return [event.camera for event in await viewer.take(1)]

    assert asyncio.run(look()) == ["b"]


def _stored(number: int) -> list[StoredEvent]:
    return [StoredEvent(at, str(at), "identity.final", at, camera="abcd"[at % 4]) for at in range(number)]

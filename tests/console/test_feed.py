"""From a real publisher to the history and to a browser that watches; and after a break, without a gap."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
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
from gaitstream.console.permissions import PERMISSIONS, Actor, Rights, Role
from gaitstream.console.serving import make_server
from gaitstream.console.site import ConsoleSite
from gaitstream.errors import ConsoleError
from gaitstream.events import GalleryChanged, Journal, Publisher
from gaitstream.gallery import Gallery
from gaitstream.gallery.editing import merge
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


def test_events_wait_while_another_process_holds_the_history(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaitstream.console.feed.RETRY_S", 0.05)
    monkeypatch.setattr("gaitstream.console.database.BUSY_S", 0.05)
    site = ConsoleSite.open(ConsoleOptions(tmp_path / "state", bus=bus_of(publisher, tmp_path)))
    holding = sqlite3.connect(tmp_path / "state" / "history.db", isolation_level=None)
    holding.execute("BEGIN IMMEDIATE")
    site.start()
    publisher.publish(final(1))
    wait_for(lambda: "locked" in site.health.problem)
    holding.execute("ROLLBACK")
    holding.close()
    wait_for(lambda: count(site) == 1 and not site.health.problem)
    site.close()


def test_old_events_leave_also_after_the_history_was_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaitstream.console.site.PRUNE_AGAIN_S", 0.05)
    monkeypatch.setattr("gaitstream.console.database.BUSY_S", 0.05)
    site = ConsoleSite.open(ConsoleOptions(tmp_path / "state", keep_days=1))
    site.history.add([final(1)])
    holding = sqlite3.connect(tmp_path / "state" / "history.db", isolation_level=None)
    holding.execute("BEGIN IMMEDIATE")
    tries, prune = [0], site.history.prune

    def counted(before_ns: int, ahead_ns: int) -> int:
        tries[0] += 1
        return prune(before_ns, ahead_ns)

    monkeypatch.setattr(site.history, "prune", counted)
    site.start()
    wait_for(lambda: tries[0] >= 2)
    holding.close()
    wait_for(lambda: count(site) == 0)
    site.close()


def test_whoever_leaves_the_gallery_leaves_the_history(publisher: Publisher, tmp_path: Path) -> None:
    site = ConsoleSite.open(ConsoleOptions(tmp_path / "state", bus=bus_of(publisher, tmp_path)))
    site.start()
    publisher.publish(final(1))
    publisher.publish(GalleryChanged(time_ns=START_NS, people=2, removed=(ADA,)))
    wait_for(lambda: count(site) == 2)
    wait_for(lambda: not site.history.page(EventFilter(person=ADA), 5).events)
    site.close()


def test_whoever_is_merged_goes_on_as_the_other_whoever_tells_of_it(
    publisher: Publisher, tmp_path: Path, gallery: Path
) -> None:
    with Gallery(gallery, key="none") as opened:
        uids = {entry.name: entry.uid for entry in opened.persons()}
        merge(opened, "Ada", "Ben")
    site = ConsoleSite.open(
        ConsoleOptions(tmp_path / "state", bus=bus_of(publisher, tmp_path), gallery=gallery, key="none")
    )
    site.start()
    publisher.publish(final(1))
    publisher.publish(final(2, person="Ben", person_id=uids["Ben"]))
    publisher.publish(GalleryChanged(time_ns=START_NS, people=2, merged=((ADA, uids["Ada"]),)))
    publisher.publish(GalleryChanged(time_ns=START_NS, people=2, removed=(uids["Ben"],)))  # as 0.1 told it
    wait_for(lambda: len(site.history.page(EventFilter(person=uids["Ada"], waits=True), 5).events) == 2)
    publisher.publish(GalleryChanged(time_ns=START_NS, people=2, removed=(uids["Ada"], uids["Ben"])))
    wait_for(lambda: not site.history.page(EventFilter(waits=True), 5).events)
    assert not site.history.page(EventFilter(person=uids["Ada"]), 5).events
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


def _until_data(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith(("event:", "id:", "data:")):
            yield line
            if line.startswith("data:"):
                return


def test_a_slow_browser_loses_the_oldest_and_is_told_how_many() -> None:
    async def look() -> tuple[int, str, int]:
        viewer = StreamViewer()
        viewer.put([str(at) for at in range(WAITING + 7)])
        taken = await viewer.take(0.1)
        return len(taken), taken[0], viewer.dropped

    assert asyncio.run(look()) == (WAITING, "7", 7)


def actor(name: str, *cameras: str) -> Actor:
    """A viewer who may see some cameras; all where none is named."""
    seen = frozenset(cameras) or None
    return Actor(name=name, role=Role.VIEWER, permissions=PERMISSIONS[Role.VIEWER], cameras=seen)


def test_a_browser_that_may_see_two_cameras_and_asks_for_others_gets_the_common_ones() -> None:
    async def look() -> Sequence[str]:
        hub = Hub(lambda event, _: event.camera)
        async with hub.watching(actor("ada", "a", "b"), frozenset({"b", "c"})) as viewer:
            hub.publish(_stored(4))
            return await viewer.take(1)

    assert asyncio.run(look()) == ["b"]


def test_what_is_sent_is_made_once_for_all_who_may_see_the_same() -> None:
    made: list[tuple[int, Rights]] = []

    def make(event: StoredEvent, rights: Rights) -> str:
        made.append((event.number, rights))
        return f"{event.camera} {sorted(rights.cameras or ())}"

    async def look() -> list[str]:
        hub = Hub(make)
        async with AsyncExitStack() as streams:
            who = [actor("ada", "a"), actor("ben", "a"), actor("cleo", "a", "b"), actor("dan")]
            viewers = [await streams.enter_async_context(hub.watching(one)) for one in who]
            assert hub.watched == 4
            hub.publish(_stored(2))
            heard = ["; ".join(await viewer.take(1)) for viewer in viewers]
        assert hub.watched == 0
        return heard

    both, everything = "a ['a', 'b']; b ['a', 'b']", "a []; b []"
    assert asyncio.run(look()) == ["a ['a']", "a ['a']", both, everything]
    assert len(made) == len(set(made)) == 5


def test_a_text_that_cannot_be_made_is_told_as_dropped_and_ends_nothing() -> None:
    def make(event: StoredEvent, _: Rights) -> str:
        return str(1 // event.number)

    async def look() -> tuple[Sequence[str], int]:
        hub = Hub(make)
        async with hub.watching(actor("ada")) as viewer:
            hub.publish(_stored(1))
            await asyncio.sleep(0.05)
            hub.publish(_stored(2)[1:])
            return await viewer.take(1), viewer.dropped

    assert asyncio.run(look()) == (["1"], 1)


def _stored(number: int) -> list[StoredEvent]:
    return [StoredEvent(at, str(at), "identity.final", at, camera="abcd"[at % 4]) for at in range(number)]

"""Names of people who left the gallery: gone from every event, whatever fails, stops or comes late."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gaitstream.errors import EventError
from gaitstream.events import Event, GalleryChanged, IdentityFinal, Journal, Publisher, Record, decode, encode
from gaitstream.events.documents import kinds
from gaitstream.events.eraser import PENDING
from gaitstream.events.erasing import Stop, erase, only_ids, without_names
from gaitstream.events.schema import CameraHandoff, TrackEnded, Unrecognised
from tests.events.wiring import LOOPBACK, bus

ADA, BOB = ("Ada Lovelace", "p-1"), ("Bob Bemer", "p-2")
NO_NAMES = {
    "event_id", "publisher", "run", "epoch", "captured_at", "published_at", "latency_ms", "models",
    "camera", "status", "reason", "rejections", "cause", "detail", "outcome", "from_camera", "from_run",
    "version", "cameras", "added", "removed", "visitor", "into", "tracks", "by",
}  # fmt: skip
"""Fields with text that is nobody's name; ids aside."""


def seen(number: int, who: tuple[str, str] = ADA) -> IdentityFinal:
    return IdentityFinal(
        time_ns=number, camera="gate", track=number, status="known", person=who[0], person_id=who[1],
        candidates=((who[0], 0.1),), candidate_ids=(who[1],),
    )  # fmt: skip


def removed(*persons: str) -> GalleryChanged:
    return GalleryChanged(time_ns=1, people=0, removed=persons)


def named(folder: Path, name: str = ADA[0]) -> int:
    return sum(path.read_bytes().count(name.encode()) for path in folder.iterdir() if path.is_file())


def until(true: Callable[[], bool], timeout_s: float = 15.0) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "journal"
    yield folder
    assert not list(folder.glob("*.new"))


def open_bus(folder: Path, **more: Any) -> Publisher:
    return bus(folder, sync="never", segment_bytes=50_000, **more)


def test_two_removals_shortly_after_each_other_erase_both(folder: Path) -> None:
    with open_bus(folder) as publisher:
        for number in range(2000):
            publisher.publish(seen(number, BOB if number % 2 else ADA))
        publisher.publish(removed(ADA[1]))
        time.sleep(0.02)
        publisher.publish(removed(BOB[1]))
        assert until(lambda: not (folder / PENDING).exists())
        assert (named(folder), named(folder, BOB[0])) == (0, 0)
    assert (named(folder), named(folder, BOB[0])) == (0, 0)


def test_two_threads_that_rewrite_a_journal_lose_no_change(folder: Path) -> None:
    journal = Journal(folder, sync="never", segment_bytes=20_000)
    for _ in range(5000):
        journal.append("t", b"AB" * 10)

    def without(letter: bytes) -> Callable[[Record], bytes]:
        return lambda record: record.payload.replace(letter, b"-")

    threads = [threading.Thread(target=journal.rewrite, args=(without(letter),)) for letter in (b"A", b"B")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {record.payload for record in journal.read(limit=9999)} == {b"-" * 20}
    journal.close()


def test_a_closed_journal_is_not_rewritten(folder: Path) -> None:
    journal = Journal(folder, sync="never", segment_bytes=20_000)
    for _ in range(2000):
        journal.append("t", b"A" * 20)
    began = threading.Event()
    errors: list[EventError] = []

    def change(record: Record) -> bytes:
        began.set()
        time.sleep(0.0005)
        return b"B" * 20

    def rewrite() -> None:
        try:
            journal.rewrite(change)
        except EventError as error:
            errors.append(error)

    thread = threading.Thread(target=rewrite)
    thread.start()
    assert began.wait(5)
    journal.close()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    thread.join()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert "the journal is closed" in str(errors[0])
    with pytest.raises(EventError, match="the journal is closed"):
        journal.rewrite(change)


def test_closing_waits_for_what_is_being_erased(folder: Path) -> None:
    with open_bus(folder) as publisher:
        publisher.publish_many([seen(number) for number in range(2000)])
        publisher.publish(removed(ADA[1]))
    assert named(folder) == 0
    assert not (folder / PENDING).exists()


def test_what_closing_does_not_wait_for_is_erased_after_the_next_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(journal: Journal, persons: dict[str, int], stop: Stop) -> int:
        while not stop.now:
            time.sleep(0.01)
        return erase(journal, persons, stop)

    with monkeypatch.context() as patched:
        patched.setattr("gaitstream.events.eraser.erase", slow)
        patched.setattr("gaitstream.events.eraser.CLOSE_S", 0.1)
        with open_bus(folder) as publisher:
            publisher.publish_many([seen(number) for number in range(500)])
            publisher.publish(removed(ADA[1]))
    assert named(folder) == 1000
    assert stat.S_IMODE((folder / PENDING).stat().st_mode) == 0o600
    assert msgspec.json.decode((folder / PENDING).read_bytes()) == [ADA[1]]
    with open_bus(folder):
        assert until(lambda: not (folder / PENDING).exists())
    assert named(folder) == 0


KILLED = """
import sys
from pathlib import Path
from tests.events.test_erasing import ADA, open_bus, removed, seen
publisher = open_bus(Path(sys.argv[1]))
publisher.publish_many([seen(number) for number in range(20_000)])
publisher.publish(removed(ADA[1]))
print("removed", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.3])
def test_a_process_killed_while_it_erases_leaves_it_to_the_next(folder: Path, after_s: float) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"removed\n"
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
    with open_bus(folder) as publisher:
        assert until(lambda: not (folder / PENDING).exists())
        assert publisher.journal.head == 20_001
    assert named(folder) == 0


def test_what_failed_is_tried_again_with_time_and_with_the_next_change(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from gaitstream.events import journal as module

    create = module._create

    def full(path: Path, data: bytes, *, sync: bool) -> int:
        if path.suffix == ".new":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return create(path, data, sync=sync)

    def fail(publisher: Publisher, who: tuple[str, str]) -> None:
        monkeypatch.setattr(module, "_create", full)
        publisher.publish(seen(1, who))
        publisher.publish(removed(who[1]))
        assert until(lambda: "could not be erased" in caplog.text)
        files = len(list(folder.glob("*.journal")))
        assert named(folder, who[0])
        monkeypatch.setattr(module, "_create", create)
        caplog.clear()
        assert len(list(folder.glob("*.journal"))) == files

    with open_bus(folder) as publisher:
        fail(publisher, ADA)
        publisher.publish(removed("p-3"))
        assert until(lambda: not named(folder))
        monkeypatch.setattr("gaitstream.events.eraser.RETRY_S", 0.2)
        fail(publisher, BOB)
        assert until(lambda: not named(folder, BOB[0]))


def test_events_that_come_late_have_no_name_until_the_id_is_back(folder: Path) -> None:
    with open_bus(folder) as publisher:
        publisher.publish(removed(ADA[1]))
        late = [publisher.publish(seen(2)), *publisher.publish_many([seen(3), seen(4, BOB)])]
        again = publisher.publish(seen(5, (ADA[0], "p-9")))  # enrolled under a new id
        publisher.publish(GalleryChanged(time_ns=6, people=1, added=(ADA[1],)))
        back = publisher.publish(seen(7))
        assert until(lambda: not (folder / PENDING).exists())
    events = [decode(record.payload) for record in (*late, again, back)]
    assert [event.person for event in events if isinstance(event, IdentityFinal)] == [
        None, None, BOB[0], ADA[0], ADA[0],
    ]  # fmt: skip
    assert isinstance(events[0], IdentityFinal)
    assert events[0].candidates == (("erased", 0.1),)
    assert named(folder) == 4  # person and candidate of the two that may have it


def test_who_is_back_before_erasing_worked_keeps_the_name_in_new_events(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [True]

    def erasing(*args: Any) -> int:
        if broken[0]:
            raise EventError("no room")
        return erase(*args)

    monkeypatch.setattr("gaitstream.events.eraser.erase", erasing)
    with open_bus(folder) as publisher:
        publisher.publish(seen(1))
        publisher.publish(removed(ADA[1]))
        publisher.publish(GalleryChanged(time_ns=2, people=1, added=(ADA[1],)))
        publisher.publish(seen(3))
        broken[0] = False
        publisher.publish(removed("p-3"))
        assert until(lambda: not (folder / PENDING).exists())
        first, second = publisher.journal.read(prefixes=("identity/",))
    assert ADA[0].encode() not in first.payload
    assert ADA[0].encode() in second.payload


def filled(kind: type[Event]) -> Event:
    """An event of a kind whose text all says which field it is in."""
    data: dict[str, Any] = {"type": kind.__struct_config__.tag, "time_ns": 1}
    for field in msgspec.structs.fields(kind):
        name, type_ = field.name, str(field.type)
        if name == "candidates":
            data[name] = [["<candidates>", 0.5]]
        elif name.endswith("_ids") or name in ("cameras", "added", "removed"):
            data[name] = [f"<{name}>"] if type_.startswith("tuple") else {}
        elif "str" in type_ and not type_.startswith(("dict", "tuple")):
            data[name] = f"<{name}>"
        elif field.required and name != "time_ns":
            data[name] = 1
    return msgspec.convert(data, kind)


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_no_field_of_any_kind_holds_a_name(kind: type[Event]) -> None:
    """A field that is new, and may hold text, is taken for a name until it is listed as none."""
    event = filled(kind)
    person = getattr(event, "person_id", None)
    gone = [person, *getattr(event, "candidate_ids", ())] if person else []
    for bare in (only_ids(event), without_names(event, gone)):
        for field in msgspec.structs.fields(kind):
            if field.name in NO_NAMES or field.name.endswith(("_id", "_ids")):
                continue
            assert f"<{field.name}>" not in str(getattr(bare, field.name)), field.name


def test_without_names_a_hand_off_has_none(folder: Path) -> None:
    event = CameraHandoff(
        time_ns=1, camera="b", track=1, person=ADA[0], person_id=ADA[1], from_camera="a", from_track=2,
        from_run="r", left_ns=1, transit_s=2.0,
    )  # fmt: skip
    with Publisher(Journal(folder), LOOPBACK, LOOPBACK, names=False) as publisher:
        publisher.publish(event)
    assert named(folder) == 0


@pytest.mark.parametrize("wire", ["json", "msgpack"])
def test_whatever_holds_the_name_loses_it(folder: Path, wire: Any) -> None:
    odd = 'a"b\\'
    to_bytes = msgspec.json.encode if wire == "json" else msgspec.msgpack.encode
    old = {
        "type": "identity.final", "schema": 1, "time_ns": 7, "run": "r", "camera": "a", "track": 4,
        "status": "known", "person": ADA[0], "candidates": [[ADA[0], 0.1], [BOB[0], 0.9]],
    }  # fmt: skip
    newer = msgspec.to_builtins(seen(8)) | {"schema": 3, "time_ns": 8}
    unknown = {
        "type": "person.greeted", "time_ns": 9, "door": {"person_id": ADA[1], "person": ADA[0]},
        "said": f"Good morning, {ADA[0]}!", "other": {"person_id": BOB[1], "person": BOB[0]},
    }  # fmt: skip
    journal = Journal(folder)
    for data in (old, newer, unknown):
        journal.append("identity/a", to_bytes(data))
    journal.append("identity/a", encode(seen(10, ("Cyd Charisse", odd)), wire))
    journal.append("identity/a", encode(seen(11), wire))
    assert erase(journal, [ADA[1], odd]) == 5
    first, second, third, fourth, fifth = (decode(record.payload) for record in journal.read())
    journal.close()
    assert (named(folder), named(folder, "Cyd")) == (0, 0)
    assert isinstance(first, IdentityFinal)
    assert (first.person, first.candidates) == (None, (("erased", 0.1), (BOB[0], 0.9)))
    assert isinstance(second, Unrecognised)
    assert isinstance(third, Unrecognised)
    assert second.data["candidates"] == [["erased", 0.1]]
    assert third.data["door"] == {"person_id": ADA[1], "person": None}
    assert third.data["other"] == unknown["other"]
    assert third.data["said"] == "Good morning, erased!"
    for event in (fourth, fifth):
        assert isinstance(event, IdentityFinal)
        assert event.person is None
        assert event.person_id in (ADA[1], odd)


def test_a_name_stands_for_an_id_where_there_is_none() -> None:
    ended = TrackEnded(
        time_ns=3, camera="a", track=1, cause="lost", first_ns=1, seen=9, accepted=9, outcome="known",
        person=ADA[0],
    )  # fmt: skip
    bare = without_names(ended, {ADA[0]})
    assert isinstance(bare, TrackEnded)
    assert bare.person is None
    assert without_names(seen(1), {ADA[0]}) == seen(1)

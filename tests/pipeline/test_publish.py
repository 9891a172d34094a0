"""Which event a decision becomes, and what a run tells of itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gaitstream.config.reading import load_config
from gaitstream.data import Decision, Status
from gaitstream.errors import EventError
from gaitstream.events import Event, GalleryChanged, IdentityFinal, Journal, PipelineStats
from gaitstream.events.codec import decode, encode
from gaitstream.gallery import Gallery
from gaitstream.gallery.editing import merge
from gaitstream.gallery.retention import DAY_NS, RetentionRules, sweep
from gaitstream.pipeline.erased import LOOKED_AT
from gaitstream.pipeline.publish import FIRST_STATS_S, EventMaker, RunEvents, open_publisher
from gaitstream.telemetry.stats import Stats
from tests.gallery.filled import FULL_NAMES, MODEL, PRINT, fill, walks


def decision(
    status: Status, person: str | None = None, *, provisional: bool = False, final: bool = False
) -> Decision:
    return Decision(
        camera="gate", track=1, time_ns=5, first_ns=1, status=status, person=person, distance=0.5,
        margin=None, threshold=0.8, frames=30, windows=0 if provisional else 1, provisional=provisional,
        final=final, reason=None, box=np.zeros(4, np.float32), person_id=person and f"id-{person}",
        candidates=(("Ada", 0.5),), candidate_ids=("id-Ada",),
    )  # fmt: skip


def test_what_is_said_of_a_track_in_turn() -> None:
    make = EventMaker("run", {"gaitheat": "f"})
    told = [
        decision(Status.KNOWN, "Ada", provisional=True),
        decision(Status.KNOWN, "Ada"),
        decision(Status.UNKNOWN),
        decision(Status.KNOWN, "Ada"),
        decision(Status.KNOWN, "Ada", final=True),
        decision(Status.KNOWN, "Ada", provisional=True),  # another track of the same number, later
    ]
    assert [make.identity(one).type for one in told] == [
        "identity.decided", "identity.confirmed", "identity.revised", "identity.revised", "identity.final",
        "identity.decided",
    ]  # fmt: skip


def test_ids_and_latency_stand_beside_the_name() -> None:
    event = EventMaker("run", {}).identity(decision(Status.KNOWN, "Ada"), {"decide": 12.34567})
    assert event.latency_ms == {"decide": 12.346}
    assert getattr(event, "person_id", None) == "id-Ada"
    assert getattr(event, "candidate_ids", None) == ("id-Ada",)


class Kept:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def publish(self, event: Event) -> None:
        self.events.append(event)


def test_stats_are_told_when_they_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr("gaitstream.pipeline.publish.time.monotonic", lambda: now_s)
    kept, stats = Kept(), Stats()
    events = RunEvents("run", {}, kept, stats)
    stats.camera("gate").analysed = 50
    events.tell_stats(60.0)
    now_s += FIRST_STATS_S - 1
    events.tell_stats(60.0)
    assert kept.events == []
    now_s += 1
    events.tell_stats(60.0)
    assert len(kept.events) == 1
    now_s += 59
    events.tell_stats(60.0)
    assert len(kept.events) == 1
    now_s += 1
    stats.camera("gate").analysed = 650
    stats.camera("gate").dropped = 3
    events.tell_stats(60.0)
    told = kept.events[1]
    assert isinstance(told, PipelineStats)
    assert (told.cameras["gate"].fps, told.cameras["gate"].dropped) == (10.0, {"queue": 3})
    events.tell_stats(None)
    assert len(kept.events) == 2


def write(folder: Path, events: str) -> Path:
    path = folder / "cams.yaml"
    path.write_text(
        "cameras: [{id: a, url: 'synth://plaza'}]\n"
        f"models: {{detector: demo, pose: demo, gaitheat: demo}}\nevents: {events}\n"
    )
    return path


def test_the_publisher_is_what_the_file_says(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "{endpoint: 'tcp://127.0.0.1:0', journal_fsync: never, journal_max_mib: 64, journal_max_days: 30, "
        "wire: msgpack}",
    )
    with open_publisher(load_config(path), path) as publisher:
        journal = publisher.journal
        assert (journal.policy, journal.keep_bytes, journal.keep_s) == ("never", 64 * 2**20, 30 * 86400)
        record = publisher.publish(EventMaker("run", {}).started(["a"]))
        assert record.payload[:1] != b"{"


def test_other_machines_need_keys_or_insecure(tmp_path: Path) -> None:
    path = write(tmp_path, "{endpoint: 'tcp://0.0.0.0:0', replay: 'tcp://0.0.0.0:0'}")
    config = load_config(path)
    with pytest.raises(EventError, match="--insecure"):
        open_publisher(config, path)
    open_publisher(config, path, insecure=True).close()


def names_in(journal: Path) -> list[bytes]:
    data = b"".join(file.read_bytes() for file in journal.glob("*.journal"))
    return [name for name in (b"Ada Lovelace", b"Bob Bemer", b"Cyd Charisse") if name in data]


def wait_for(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def changes(journal: Journal) -> list[tuple[int, list[str]]]:
    events = [decode(record.payload) for record in journal.read()]
    return [(one.people, list(one.removed)) for one in events if isinstance(one, GalleryChanged)]


def test_who_was_erased_while_no_run_was_up_leaves_the_journal_at_the_start(tmp_path: Path) -> None:
    path = write(tmp_path, "{endpoint: 'tcp://127.0.0.1:0', journal_fsync: never}")
    path.write_text(path.read_text() + "gallery: {path: people.gallery}\n")
    config, journal = load_config(path), tmp_path / "cams.journal"
    with Gallery(tmp_path / "people.gallery", create=True) as gallery:
        fill(gallery, FULL_NAMES)
        uids = {entry.name: entry.uid for entry in gallery.persons()}
    with open_publisher(config, path) as publisher:
        for number, (name, uid) in enumerate(uids.items()):
            publisher.publish(
                IdentityFinal(
                    time_ns=number, camera="gate", track=number, status="known", person=name, person_id=uid
                )
            )
        assert changes(publisher.journal) == []
    with Gallery(tmp_path / "people.gallery") as gallery:
        merge(gallery, "Ada Lovelace", "Bob Bemer")
        gallery.remove("Ada Lovelace")
    with open_publisher(config, path) as publisher:
        gone = sorted([uids["Ada Lovelace"], uids["Bob Bemer"]])
        assert changes(publisher.journal) == [(1, gone)]
        wait_for(lambda: names_in(journal) == [b"Cyd Charisse"])
        wait_for(lambda: b":0}" not in (journal / LOOKED_AT).read_bytes())
    with Gallery(tmp_path / "people.gallery") as gallery:
        gallery.enroll("Dan", MODEL, PRINT, walks(8))
    for _ in range(2):
        with open_publisher(config, path) as publisher:
            assert len(changes(publisher.journal)) == 1
    with Gallery(tmp_path / "people.gallery") as gallery:
        sweep(gallery, RetentionRules(person_days=1), time.time_ns() + 2 * DAY_NS)
    with open_publisher(config, path) as publisher:
        assert len(changes(publisher.journal)) == 2
        wait_for(lambda: names_in(journal) == [])


def test_erasing_that_failed_is_done_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "{endpoint: 'tcp://127.0.0.1:0', journal_fsync: never}")
    path.write_text(path.read_text() + "gallery: {path: people.gallery}\n")
    config = load_config(path)
    with Gallery(tmp_path / "people.gallery", create=True) as gallery:
        fill(gallery, FULL_NAMES)
        uid = gallery.persons()[0].uid
        gallery.remove("Ada Lovelace")
    journal = Journal(tmp_path / "cams.journal")
    event = IdentityFinal(
        time_ns=1, camera="gate", track=1, status="known", person="Ada Lovelace", person_id=uid
    )
    journal.append(event.topic, encode(event))
    journal.close()
    failed = threading.Event()

    def full(*_: object) -> int:
        failed.set()
        raise EventError("no room")

    with monkeypatch.context() as patched:
        patched.setattr("gaitstream.events.eraser.erase", full)
        with open_publisher(config, path):
            assert failed.wait(10)
    assert names_in(tmp_path / "cams.journal") == [b"Ada Lovelace"]
    with open_publisher(config, path) as publisher:
        wait_for(lambda: names_in(tmp_path / "cams.journal") == [])
        assert changes(publisher.journal) == [(2, [uid])]

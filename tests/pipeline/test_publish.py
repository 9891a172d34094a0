"""Which event a decision becomes, and what a run tells of itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gaitstream.config.reading import load_config
from gaitstream.data import Decision, Status
from gaitstream.errors import EventError
from gaitstream.events import Event, PipelineStats
from gaitstream.pipeline.publish import FIRST_STATS_S, EventMaker, RunEvents, open_publisher
from gaitstream.telemetry.stats import Stats


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

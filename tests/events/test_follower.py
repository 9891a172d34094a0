"""Reading a journal's folder from outside: cursors, restarts, restored copies, exports, erased names."""

from __future__ import annotations

import csv
import os
import shutil
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitstream.errors import EventError
from gaitstream.events import (
    Event,
    GalleryChanged,
    IdentityDecided,
    Journal,
    Publisher,
    Subscriber,
    TrackEnded,
    VisitorNamed,
    decode,
)
from gaitstream.events.erasing import erase
from gaitstream.events.exporting import Form, columns, export_events
from gaitstream.events.follower import Follower
from tests.events.wiring import LOOPBACK, bus, collect, online


def write(folder: Path, numbers: range, **options: object) -> None:
    journal = Journal(folder, sync="never", **options)  # type: ignore[arg-type]
    for number in numbers:
        journal.append("t", b"%d" % number)
    journal.close()


def read(follower: Follower) -> list[int]:
    out: list[int] = []
    while True:
        found = follower.read()
        out += [int(record.payload) for record in found.records]
        if found.end:
            return out


def test_it_follows_while_the_owner_writes_and_begins_new_files(tmp_path: Path) -> None:
    journal = Journal(tmp_path, sync="never", segment_bytes=500)
    follower = Follower(tmp_path)
    seen: list[int] = []
    for number in range(100):
        journal.append("t", b"%d" % number)
        if number % 7 == 0:
            seen += read(follower)
    seen += read(follower)
    journal.close()
    assert seen == list(range(100))


def test_a_cursor_resumes_over_restarts(tmp_path: Path) -> None:
    folder, cursor = tmp_path / "journal", tmp_path / "cursor"
    write(folder, range(10), segment_bytes=300)
    first = Follower(folder, cursor=cursor)
    piece = first.read().records
    first.commit_at(piece[2])
    write(folder, range(10, 20), segment_bytes=300)
    second = Follower(folder, cursor=cursor)
    assert read(second) == list(range(3, 20))
    second.commit()
    assert read(Follower(folder, cursor=cursor)) == []


@pytest.mark.parametrize("connected", [True, False])
def test_a_restored_copy_gives_what_is_new_and_nothing_twice(tmp_path: Path, connected: bool) -> None:
    folder, copy, cursor = tmp_path / "journal", tmp_path / "copy", tmp_path / "cursor"
    write(folder, range(5))
    shutil.copytree(folder, copy)
    write(folder, range(5, 10))
    follower = Follower(folder, cursor=cursor)
    assert read(follower) == list(range(10))
    follower.commit()
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    write(folder, range(10, 15))
    if not connected:
        follower = Follower(folder, cursor=cursor)
    assert read(follower) == list(range(10, 15))


def test_a_file_of_another_history_is_not_gone_on_with(tmp_path: Path) -> None:
    """The restored folder has a file of the number being read, and events in files before it."""
    folder, copy = tmp_path / "journal", tmp_path / "copy"
    write(folder, range(0))
    shutil.copytree(folder, copy)
    for number in range(3):
        write(folder, range(number, number + 1), segment_bytes=400)
    follower = Follower(folder)
    assert read(follower) == [0, 1, 2]
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    write(folder, range(3, 4))
    write(folder, range(4, 8), segment_bytes=400)
    assert read(follower) == [3, 4, 5, 6, 7]


def test_openings_may_come_back_file_by_file_in_any_order(tmp_path: Path) -> None:
    """Of one opening in several files the earlier ones must come first; else they count as lost."""
    folder, copy, cursor = tmp_path / "journal", tmp_path / "copy", tmp_path / "cursor"
    write(folder, range(2), segment_bytes=300)
    follower = Follower(folder, cursor=cursor)
    assert read(follower) == [0, 1]
    for number in range(2, 9):
        write(folder, range(number, number + 1), segment_bytes=1)
    shutil.copytree(folder, copy)
    seen: list[int] = []
    shutil.rmtree(folder)
    folder.mkdir()
    for path in sorted(copy.glob("*.journal"), reverse=True):
        shutil.copy(path, folder)
        seen += read(follower)
    assert sorted(seen) == list(range(2, 9))


def test_names_erased_while_it_reads_give_nothing_twice(tmp_path: Path) -> None:
    journal = Journal(tmp_path, sync="never", segment_bytes=400)
    follower = Follower(tmp_path)
    for number in range(10):
        journal.append("t", b"%d" % number)
    assert read(follower) == list(range(10))
    assert journal.rewrite(lambda record: record.payload + b"0") == 10
    for number in range(10, 20):
        journal.append("t", b"%d" % number)
    assert read(follower) == list(range(10, 20))
    journal.close()


def test_now_and_a_time_begin_there(tmp_path: Path) -> None:
    journal = Journal(tmp_path, sync="never", segment_bytes=300)
    for number in range(40):
        journal.append("t", b"%d" % number, time_ns=1000 + number)
    now = Follower(tmp_path, since="now")
    journal.append("t", b"40", time_ns=2000)
    assert read(now) == [40]
    assert read(Follower(tmp_path, since=1025)) == list(range(25, 41))
    journal.close()


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EventError, match="there is no journal"):
        Follower(tmp_path / "nothing")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_follower_reads_every_event_once_whatever_happens_between(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Writes, restarts, restores and follower restarts in any order."""
    root = tmp_path_factory.mktemp("follow")
    folder, copy, cursor = root / "journal", root / "copy", root / "cursor"
    written, gone = 0, set[int]()
    write(folder, range(0))
    shutil.copytree(folder, copy)
    copied = 0
    follower, seen = Follower(folder, cursor=cursor), list[int]()
    for _ in range(data.draw(st.integers(1, 12))):
        action = data.draw(st.sampled_from(["write", "write", "read", "restart", "copy", "restore"]))
        if action == "write":
            count = data.draw(st.integers(1, 5))
            write(folder, range(written, written + count), segment_bytes=400)
            written += count
        elif action == "read":
            seen += read(follower)
            follower.commit()
        elif action == "restart":
            follower = Follower(folder, cursor=cursor)
        elif action == "copy":
            shutil.rmtree(copy)
            shutil.copytree(folder, copy)
            copied = written
        elif action == "restore":
            if written > copied:
                gone |= set(range(copied, written)) - set(seen)
            shutil.rmtree(folder)
            shutil.copytree(copy, folder)
            write(folder, range(written, written + 1))  # a run starts on it
            written += 1
    seen += read(follower)
    assert len(seen) == len(set(seen))
    assert set(seen) | gone >= set(range(written))


def test_names_leave_the_journal_with_their_people(tmp_path: Path) -> None:
    def seen(number: int, who: str, other: str) -> IdentityDecided:
        return IdentityDecided(
            time_ns=number, camera="a", track=number, status="known", person=who, person_id=f"id-{who}",
            candidates=((who, 0.1), (other, 0.9)), candidate_ids=(f"id-{who}", f"id-{other}"),
        )  # fmt: skip

    ended = TrackEnded(
        time_ns=3, camera="a", track=1, cause="lost", first_ns=1, seen=9, accepted=9, outcome="known",
        person="Ada", person_id="id-Ada",
    )  # fmt: skip
    with Publisher(Journal(tmp_path), LOOPBACK, LOOPBACK) as publisher:
        for event in (seen(1, "Ada", "Bob"), seen(2, "Bob", "Ada"), ended, seen(4, "Eve", "Bob")):
            publisher.publish(event)
        publisher.publish(GalleryChanged(time_ns=5, people=2, removed=("id-Ada",)))
        deadline_s = time.monotonic() + 10
        while named(tmp_path) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert not named(tmp_path)
        with Subscriber(publisher.endpoint, publisher.replay, since="beginning") as subscriber:
            events = [received.event for received in collect(subscriber, 5)]
    first, second, third, fourth, _ = events
    assert isinstance(first, IdentityDecided)
    assert (first.person, first.person_id) == (None, "id-Ada")
    assert first.candidates == (("erased", 0.1), ("Bob", 0.9))
    assert isinstance(second, IdentityDecided)
    assert (second.person, second.candidates[1][0]) == ("Bob", "erased")
    assert isinstance(third, TrackEnded)
    assert third.person is None
    assert fourth == decode(Journal(tmp_path).read(3, limit=1)[0].payload)


def named(folder: Path) -> bool:
    """Whether any file has the name."""
    return any(b"Ada" in path.read_bytes().replace(b"id-Ada", b"") for path in folder.iterdir())


def test_erasing_nobody_changes_nothing(tmp_path: Path) -> None:
    with bus(tmp_path) as publisher:
        publisher.publish(online(1))
        assert erase(publisher.journal, ["somebody"]) == 0


EVENTS: list[Event] = [
    online(1),
    IdentityDecided(
        time_ns=2, camera="gate", track=3, status="known", person="=HYPERLINK(1)", distance=0.5,
        candidates=(("Ada", 0.5),),
    ),
]  # fmt: skip


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    folder = tmp_path / "journal"
    with bus(folder) as publisher:
        for event in EVENTS:
            publisher.publish(event)
        publisher.journal.append("camera/a", b"\xff")
    return folder


def test_export_as_json_lines(journal: Path, tmp_path: Path) -> None:
    assert export_events(journal, tmp_path / "out.jsonl") == (2, 1)
    lines = [msgspec.json.decode(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    assert [(line["topic"], line["seq"], line["type"]) for line in lines] == [
        ("camera/a", 1, "camera.online"),
        ("identity/gate", 2, "identity.decided"),
    ]


def test_export_as_csv_is_safe_in_a_spreadsheet(journal: Path, tmp_path: Path) -> None:
    export_events(journal, tmp_path / "out.csv", form="csv", topics=("identity/",))
    [row] = csv.DictReader((tmp_path / "out.csv").open(newline=""))
    assert list(row) == columns()
    assert (row["person"], row["distance"], row["candidates"]) == ("'=HYPERLINK(1)", "0.5", '[["Ada",0.5]]')


def test_export_as_parquet(journal: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert export_events(journal, tmp_path / "out.parquet", form="parquet") == (2, 1)
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column("time_ns").to_pylist() == [1, 2]
    assert table.column("distance").to_pylist() == [None, 0.5]
    assert table.column("track").to_pylist() == [None, 3]
    assert str(table.schema.field("time_ns").type) == "int64"


ODD = [
    msgspec.msgpack.encode(
        {"type": "x", "person": b"\xff\xfe", "rejections": {1: msgspec.msgpack.Ext(5, b"\xf8")}}
    ),
    msgspec.msgpack.encode({"type": "x", "person": msgspec.msgpack.Ext(5, b"\xf8zz"), "track": 2**64 - 1}),
    b'{"type":"x","person":true,"track":true,"distance":true,"provisional":1}',
    b'{"type":"x","person":5,"track":123456789012345678901234567890,"distance":' + b"9" * 300 + b"}",
]


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    journal = Journal(tmp_path / "odd", sync="never")
    for payload in ODD:
        journal.append("t", payload)
    journal.close()
    return tmp_path / "odd"


def test_odd_values_are_text_in_an_export(odd: Path, tmp_path: Path) -> None:
    assert export_events(odd, tmp_path / "out.jsonl") == (4, 0)
    lines = [msgspec.json.decode(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    assert [line["person"] for line in lines] == ["//4=", "+Hp6", True, 5]
    assert export_events(odd, tmp_path / "out.csv", form="csv") == (4, 0)
    rows = list(csv.DictReader((tmp_path / "out.csv").open(newline="")))
    assert [row["person"] for row in rows] == ["//4=", "'+Hp6", "True", "5"]
    assert rows[0]["rejections"] == '{"1":"+A=="}'


def test_odd_values_in_parquet(odd: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert export_events(odd, tmp_path / "out.parquet", form="parquet") == (4, 0)
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column("person").to_pylist() == ["//4=", "+Hp6", "true", "5"]
    assert table.column("rejections").to_pylist() == ['{"1":"+A=="}', None, None, None]
    for name in ("track", "distance", "provisional"):
        assert table.column(name).to_pylist() == [None] * 4


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_an_export_is_its_owners_alone(journal: Path, tmp_path: Path, form: Form) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / "out"
    out.touch(0o644)
    export_events(journal, out, form=form)
    assert out.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_an_export_replaces_no_pipe_and_no_link(journal: Path, tmp_path: Path, form: Form) -> None:
    """Nor a device: what was written to `/dev/null` took its place."""
    pipe, file, link = tmp_path / "pipe", tmp_path / "file", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(file)
    if form == "parquet":
        pytest.importorskip("pyarrow")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    export_events(journal, pipe, form=form)
    content = os.read(reader, 1 << 16)
    os.close(reader)
    assert pipe.is_fifo()
    export_events(journal, link, form=form)
    assert link.is_symlink()
    assert file.read_bytes() == content
    assert sorted(tmp_path.glob("*")) == sorted({journal, pipe, file, link})


@pytest.mark.parametrize("out", [".", "..", "/", "{}"])
def test_an_export_is_no_folder(journal: Path, tmp_path: Path, out: str) -> None:
    with pytest.raises(EventError, match="is a folder; give a file in it"):
        export_events(journal, Path(out.format(tmp_path)))


def test_an_export_that_fails_leaves_nothing(journal: Path, tmp_path: Path) -> None:
    with pytest.raises(EventError, match="cannot be written"):
        export_events(journal, tmp_path / "no" / "out.csv", form="csv")
    assert not list(tmp_path.glob(".out*"))


def test_a_site_can_leave_names_out_of_the_journal(tmp_path: Path) -> None:
    with Publisher(Journal(tmp_path / "journal"), LOOPBACK, LOOPBACK, names=False) as publisher:
        publisher.publish(
            IdentityDecided(
                time_ns=1, camera="gate", track=1, status="known", person="Ada", person_id="id-Ada",
                candidates=(("Ada", 0.1), ("Bob", 0.9)), candidate_ids=("id-Ada", "id-Bob"),
            )
        )  # fmt: skip
        publisher.publish_many(
            [VisitorNamed(time_ns=2, visitor="visitor-1", visitor_id="v", person="Ada", person_id="id-Ada")]
        )
    follower = Follower(tmp_path / "journal", since="beginning")
    first, second = [decode(record.payload) for record in follower.read().records]
    assert isinstance(first, IdentityDecided)
    assert (first.person, first.person_id) == (None, "id-Ada")
    assert first.candidates == (("id-Ada", 0.1), ("id-Bob", 0.9))
    assert isinstance(second, VisitorNamed)
    assert (second.person, second.person_id) == (None, "id-Ada")
    assert b'"Ada"' not in b"".join(path.read_bytes() for path in (tmp_path / "journal").iterdir())


@pytest.mark.parametrize("before", [0, 5])
@pytest.mark.parametrize("since", ["now", "a time", "beginning"])
def test_the_beginning_is_kept_before_anything_was_passed_on(tmp_path: Path, before: int, since: str) -> None:
    folder, cursor = tmp_path / "journal", tmp_path / "cursor"
    folder.mkdir()
    if before:
        journal = Journal(folder, sync="never")
        for number in range(before):
            journal.append("t", b"%d" % number, time_ns=1000 + number)
        journal.close()
    begin: str | int = 1000 + before if since == "a time" else since
    first = Follower(folder, since=begin, cursor=cursor)
    journal = Journal(folder, sync="never")
    for number in range(before, before + 5):
        journal.append("t", b"%d" % number, time_ns=1000 + number)
    journal.close()
    expected = list(range(0 if since == "beginning" else before, before + 5))
    assert read(first) == expected  # and nobody took them
    write(folder, range(before + 5, before + 7))
    later = 2000 if since == "a time" else begin
    again = Follower(folder, since=later, cursor=cursor)
    assert again.read().lost == 0
    again = Follower(folder, since=later, cursor=cursor)
    assert read(again) == [*expected, before + 5, before + 6]
    again.commit()
    assert read(Follower(folder, since=later, cursor=cursor)) == []


def test_a_cursor_is_used_by_one(tmp_path: Path) -> None:
    write(tmp_path / "journal", range(3))
    first = Follower(tmp_path / "journal", cursor=tmp_path / "cursor", exclusive=True)
    with pytest.raises(EventError, match=r"cursor: another sink uses this cursor; give --cursor"):
        Follower(tmp_path / "journal", cursor=tmp_path / "cursor", exclusive=True)
    first.close()
    Follower(tmp_path / "journal", cursor=tmp_path / "cursor", exclusive=True).close()


def test_a_folder_of_something_else_is_refused_and_an_empty_one_is_waited_in(tmp_path: Path) -> None:
    """As the folder around the journal: nothing would ever come."""
    (tmp_path / "cams.yaml").write_text("cameras: []")
    (tmp_path / "cams.journal").mkdir()
    with pytest.raises(EventError, match="is no journal of events"):
        Follower(tmp_path)
    follower = Follower(tmp_path / "cams.journal")
    journal = Journal(tmp_path / "cams.journal", sync="never")
    journal.append("run", b"{}")
    journal.close()
    found = [*follower.read().records, *follower.read().records]
    assert [record.topic for record in found] == ["run"]

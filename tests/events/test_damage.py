"""What becomes of a journal that was damaged, cut, restored or emptied: nothing refused, nothing silent."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitstream.errors import EventError, JournalWriteError
from gaitstream.events import Journal, Notice, Subscriber, decode, encode
from gaitstream.events.follower import Follower
from gaitstream.events.publisher import _by_epoch
from gaitstream.events.reading import Reader
from gaitstream.events.segment import HEADER_BYTES, Record
from tests.events.wiring import bus, collect, online

SMALL = 600


def write(folder: Path, count: int, *, segment_bytes: int = 1 << 24) -> None:
    journal = Journal(folder, sync="never", segment_bytes=segment_bytes)
    for number in range(count):
        journal.append("t", b'{"n":%d}' % number)
    journal.close()


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.journal"))


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def read_all(folder: Path) -> tuple[list[Record], int]:
    reader, records, lost = Reader(folder), list[Record](), 0
    reader.seek(0)
    while True:
        piece = reader.read()
        records += piece.records
        lost += piece.lost
        if piece.end:
            return records, lost


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1), newest=st.booleans())
def test_a_flipped_bit_costs_the_event_it_is_in(
    tmp_path_factory: pytest.TempPathFactory, place: float, newest: bool
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    write(folder, 40, segment_bytes=SMALL)
    path = files(folder)[-1 if newest else 1]
    flip(path, int(place * (path.stat().st_size - 1)))
    journal = Journal(folder, sync="never")
    again = journal.append("t", b"{}")
    journal.close()
    records, lost = read_all(folder)
    numbers = [(record.epoch, record.seq) for record in records]
    assert len(set(numbers)) == len(numbers)
    assert [seq for _, seq in numbers] == sorted({seq for _, seq in numbers})
    assert again.seq >= 40  # at most the very last number is given again, in a new epoch
    assert len(records) + lost >= again.seq
    assert lost <= 1


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(1, 900))
def test_a_cut_end_costs_what_was_cut(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("journal")
    write(folder, 12)
    [path] = files(folder)
    os.truncate(path, max(0, path.stat().st_size - cut))
    whole, _ = read_all(folder)
    journal = Journal(folder, sync="never")
    added = journal.append("t", b"{}")
    journal.close()
    records, lost = read_all(folder)
    assert [record[:3] for record in records] == [record[:3] for record in (*whole, added)]
    assert (lost, added.seq) == (0, len(whole) + 1)


def test_files_of_no_length_refuse_nothing(tmp_path: Path) -> None:
    write(tmp_path, 20, segment_bytes=SMALL)
    number = int(files(tmp_path)[-1].stem)
    for offset in (1, 2):
        (tmp_path / f"{number + offset:08d}.journal").write_bytes(b"")
    journal = Journal(tmp_path)
    assert journal.append("t", b"{}").seq == 21
    journal.close()
    assert [record.seq for record in read_all(tmp_path)[0]] == list(range(1, 22))


def test_a_damaged_header_costs_nothing(tmp_path: Path) -> None:
    write(tmp_path, 20, segment_bytes=SMALL)
    for path in files(tmp_path):
        flip(path, HEADER_BYTES // 2)
    Journal(tmp_path).close()
    assert [record.seq for record in read_all(tmp_path)[0]] == list(range(1, 21))


def test_deleted_files_are_counted_and_the_rest_is_delivered(tmp_path: Path) -> None:
    with bus(tmp_path, segment_bytes=4000) as publisher:
        for number in range(1, 61):
            publisher.publish(online(number))
        middle = files(tmp_path)[1:3]
        for path in middle:
            path.unlink()
        notices: list[Notice] = []
        with Subscriber(
            publisher.endpoint, publisher.replay, since="beginning", on_notice=notices.append
        ) as sub:
            received = collect(sub, 60, 3)
            publisher.publish(online(61))
            received += collect(sub, 1)
        assert received[-1].seq == 61
        assert len(received) + sub.lost == 61
        assert sub.lost > 0
        assert {notice.kind for notice in notices} == {"lost"}


def test_the_file_in_use_may_be_deleted_too(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append("t", b"{}")
    files(tmp_path)[0].unlink()
    journal.expire()  # the publisher does so once a second
    journal.append("t", b"{}")
    journal.close()
    assert [record.seq for record in read_all(tmp_path)[0]] == [2]


@pytest.mark.parametrize("damage", ["flipped", "cut", "restored"])
def test_a_connected_subscriber_gets_what_follows_and_is_told(tmp_path: Path, damage: str) -> None:
    """Ten events, then the journal loses its end while nobody writes it, then ten more."""
    folder, copy = tmp_path / "journal", tmp_path / "copy"
    notices: list[Notice] = []
    with bus(folder) as publisher:
        ports = publisher.endpoint, publisher.replay
        for number in range(1, 5):
            publisher.publish(online(number))
        publisher.journal.sync()
        shutil.copytree(folder, copy)
        for number in range(5, 11):
            publisher.publish(online(number))
        subscriber = Subscriber(*ports, since="beginning", on_notice=notices.append)
        assert [r.event.time_ns for r in collect(subscriber, 10)] == list(range(1, 11))
    [path] = files(folder)
    if damage == "cut":
        os.truncate(path, path.stat().st_size - 20)
    elif damage == "flipped":
        flip(path, path.stat().st_size - 20)
    else:
        shutil.rmtree(folder)
        shutil.copytree(copy, folder)
    with bus(folder, *ports) as publisher, subscriber:
        for number in range(11, 21):
            publisher.publish(online(number))
        received = collect(subscriber, 10)
        assert [r.event.time_ns for r in received] == list(range(11, 21))
        assert subscriber.receive(1.3) is None
        assert subscriber.lost == 0
    kinds = [notice.kind for notice in notices]
    assert kinds.count("epoch") == 1
    if damage == "restored":
        [rewound] = [notice for notice in notices if notice.kind == "rewound"]
        assert rewound.events == 6


def test_an_emptied_folder_is_another_journal_and_all_of_it_is_news(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    notices: list[Notice] = []
    with bus(folder) as publisher:
        ports = publisher.endpoint, publisher.replay
        publisher.publish(online(1))
        subscriber = Subscriber(*ports, since="beginning", on_notice=notices.append)
        assert len(collect(subscriber, 1)) == 1
    shutil.rmtree(folder)
    with subscriber, bus(folder, *ports) as publisher:
        publisher.publish(online(2))
        assert [r.event.time_ns for r in collect(subscriber, 1)] == [2]
    assert [notice.kind for notice in notices] == ["journal"]


def test_a_flipped_bit_while_it_runs_is_passed_over(tmp_path: Path) -> None:
    with bus(tmp_path) as publisher:
        for number in range(1, 31):
            publisher.publish(online(number))
        path = files(tmp_path)[0]
        flip(path, path.stat().st_size // 2)
        flip(path, path.stat().st_size - 5)  # the last event
        with Subscriber(publisher.endpoint, publisher.replay, since="beginning") as subscriber:
            assert len(collect(subscriber, 28)) == 28
            publisher.publish(online(31))
            assert [r.event.time_ns for r in collect(subscriber, 1)] == [31]
            assert subscriber.lost == 2


def old_journal(folder: Path, events: list[tuple[str, bytes]], heads: dict[str, int]) -> None:
    """One file as version 1 wrote it."""
    folder.mkdir()

    def record(topic: str, seq: int, payload: bytes) -> bytes:
        body = struct.pack(">QH", seq, len(topic)) + topic.encode() + payload
        return struct.pack(">II", len(body), zlib.crc32(body)) + body

    data = b"GSJ1" + bytes(range(16)) + record("", 0, msgspec.json.encode(heads))
    numbers = dict(heads)
    for topic, payload in events:
        numbers[topic] = numbers.get(topic, 0) + 1
        data += record(topic, numbers[topic], payload)
    (folder / "00000003.journal").write_bytes(data + b"torn")


def test_a_journal_of_version_1_is_taken_over(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    first = b'{"type":"camera.online","schema":1,"time_ns":7,"run":"r","camera":"a"}'
    old_journal(folder, [("camera/a", first), ("camera/b", first)], {"camera/a": 40, "track/a": 2})
    with bus(folder) as publisher, Subscriber(publisher.endpoint, publisher.replay, since="beginning") as sub:
        publisher.publish(online(8))
        received = collect(sub, 3)
    assert [(r.topic, r.seq) for r in received] == [("camera/a", 43), ("camera/b", 44), ("camera/a", 45)]
    assert received[0].event.schema == 1
    assert received[0].event.captured_at == "1970-01-01T00:00:00.000000007Z"
    assert received[2].event.schema == 2


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=200), st.integers(0, 5)), max_size=8))
def test_any_bytes_in_a_file_break_no_reader(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes | int]
) -> None:
    """Whole records with rubbish between them: every record is found, whatever the rubbish is."""
    folder = tmp_path_factory.mktemp("journal")
    write(folder, 6)
    [path] = files(folder)
    data = path.read_bytes()
    records = [record for record in data[HEADER_BYTES:].split(b"\xf5GSR")[1:] if b'"n"' in record]
    pieces = [b"\xf5GSR" + records[part] if isinstance(part, int) else part for part in parts]
    path.write_bytes(data[:HEADER_BYTES] + b"".join(pieces))
    found, _ = read_all(folder)
    risen: list[int] = []
    for number in [part + 1 for part in parts if isinstance(part, int)]:
        if not risen or number > risen[-1]:
            risen.append(number)
    assert [record.seq for record in found] == risen
    journal = Journal(folder, sync="never")
    journal.append("t", b"{}")
    journal.close()


def test_encode_and_decode_are_found_where_they_were() -> None:
    assert decode(encode(online(1))) == online(1)


def test_a_folder_that_was_deleted_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder, sync="never")
    for _ in range(3):
        before = journal.append("t", b"{}")
    reader = Follower(folder)
    assert len(reader.read().records) == 3
    shutil.rmtree(folder)
    journal.append("t", b"{}")  # nobody has noticed yet
    journal.expire()
    after = journal.append("t", b"{}")
    journal.expire()
    assert (before.seq, after.seq) == (3, 5)
    assert after.epoch != before.epoch
    assert folder.stat().st_mode & 0o077 == 0
    assert read_all(folder)[0] == journal.read() == [after]
    assert (reader.read().lost, reader.read().records) == (1, [after])
    with pytest.raises(EventError, match="another process writes this journal"):
        Journal(folder)
    assert len(caplog.records) == 1
    journal.close()


def test_an_empty_folder_in_its_place_is_locked(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder, sync="never")
    shutil.rmtree(folder)
    folder.mkdir()
    journal.expire()
    with pytest.raises(EventError, match="another process writes this journal"):
        Journal(folder)
    journal.close()


def test_a_folder_that_was_swapped_is_gone_on_with(tmp_path: Path) -> None:
    folder, copy, old = (tmp_path / name for name in ("journal", "copy", "old"))
    with bus(folder, sync="never") as publisher:
        publisher.publish(online(1))
        with Subscriber(publisher.endpoint, publisher.replay, since="beginning") as early:
            assert len(collect(early, 1)) == 1
            shutil.copytree(folder, copy)
            publisher.publish(online(2))
            assert len(collect(early, 1)) == 1
            folder.rename(old)
            copy.rename(folder)
            publisher._expire()
            for number in (3, 4):
                publisher.publish(online(number))
            assert [r.event.time_ns for r in collect(early, 3, 2.0)] == [3, 4]
            assert early.lost == 0
        with Subscriber(publisher.endpoint, publisher.replay, since="beginning") as late:
            got = collect(late, 3)
            assert [r.event.time_ns for r in got] == [1, 3, 4]
            assert [r.event.epoch for r in got] == [r.epoch for r in got]
            assert late.lost == 1
    records, lost = read_all(folder)
    assert ([record.seq for record in records], lost) == ([1, 3, 4], 1)
    assert [record.seq for record in read_all(old)[0]] == [1, 2]
    Journal(old).close()


def test_a_folder_that_another_process_writes_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder, sync="never")
    mine = journal.append("t", b"1")
    folder.rename(tmp_path / "old")
    other = Journal(folder, sync="never")
    for number in range(5):
        other.append("t", b"%d" % number)
    for _ in range(3):
        journal.expire()
        for write in (lambda: journal.append("t", b"2"), lambda: journal.append_many([("t", b"2")])):
            with pytest.raises(JournalWriteError, match="another process writes this journal"):
                write()
    assert len([record for record in caplog.records if "no event can be kept" in record.message]) == 1
    assert journal.first == journal.head + 1
    other.close()
    journal.expire()
    again = journal.append("t", b"2")
    assert again.seq == 6
    assert len({mine.epoch, other.epoch, again.epoch}) == 3
    assert [record.seq for record in read_all(folder)[0]] == [1, 2, 3, 4, 5, 6]
    journal.close()
    journal.expire()  # nothing more


def test_a_folder_that_cannot_be_made_again_refuses_events_until_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "at" / "journal"
    journal = Journal(folder, sync="never")
    shutil.rmtree(tmp_path / "at")
    (tmp_path / "at").write_text("")
    journal.expire()
    with pytest.raises(JournalWriteError, match=r"set events\.journal"):
        journal.append("t", b"{}")
    (tmp_path / "at").unlink()
    journal.expire()
    assert journal.append("t", b"{}").seq == 1
    journal.close()


@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_in_use_that_goes_is_written_anew(tmp_path: Path, replaced: bool) -> None:
    journal = Journal(tmp_path, sync="never")
    journal.append("t", b"{}")
    [path] = files(tmp_path)
    if replaced:
        shutil.copy(path, tmp_path / "copy")
        journal.append("t", b"{}")
        (tmp_path / "copy").replace(path)
    else:
        path.unlink()
    journal.expire()
    added = journal.append("t", b"{}")
    assert read_all(tmp_path)[0][-1] == added
    assert len(read_all(tmp_path)[0]) == (2 if replaced else 1)
    journal.close()


def test_what_waits_is_sent_under_the_epoch_it_was_written_in(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", sync="never")
    records = [journal.append("t", b"1")]
    shutil.rmtree(tmp_path / "journal")
    journal.expire()
    records += journal.append_many([("t", b"2"), ("t", b"3")])
    assert _by_epoch(records) == [records[:1], records[1:]]
    assert _by_epoch(records[1:]) == [records[1:]]
    journal.close()

"""The journal: sequence numbers, recovery, retention, exclusive ownership."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gaitstream.errors import EventError
from gaitstream.events import Journal
from gaitstream.events.journal import Sync

SMALL = 400
DAY_S = 86_400.0
DAY_NS = 86_400 * 10**9


def payload(number: int) -> bytes:
    return b'{"n":%d}' % number


def fill(journal: Journal, count: int, topics: tuple[str, ...] = ("identity/a", "track/a")) -> None:
    for number in range(count):
        for topic in topics:
            journal.append(topic, payload(number))


def test_numbers_count_from_one_through_all_topics(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert [journal.append(topic, b"{}").seq for topic in ("a", "b", "a")] == [1, 2, 3]
    assert journal.head == 3
    journal.close()


@pytest.mark.parametrize("sync", ["batch", "always", "never"])
def test_everything_is_there_after_reopening(tmp_path: Path, sync: Sync) -> None:
    journal = Journal(tmp_path, sync=sync, segment_bytes=SMALL)
    fill(journal, 50)
    journal.sync()
    identity = journal.id
    journal.close()
    for name in ("notes.journal", "².journal", "².new"):  # somebody else's, of which one looks like a number
        (tmp_path / name).write_bytes(b"")

    again = Journal(tmp_path, segment_bytes=SMALL)
    assert again.id == identity
    assert again.head == 100
    records = again.read(40, prefixes=("identity/a",))
    assert [record.seq for record in records] == list(range(41, 101, 2))
    assert [record.payload for record in records] == [payload(n) for n in range(20, 50)]
    assert again.append("identity/a", b"{}").seq == 101
    again.close()


@pytest.mark.parametrize(
    ("after", "limit", "expected"), [(0, 3, [1, 3, 5]), (7, 10, [9]), (10, 10, []), (99, 1, [])]
)
def test_read_honours_after_and_limit(tmp_path: Path, after: int, limit: int, expected: list[int]) -> None:
    journal = Journal(tmp_path)
    fill(journal, 5)
    read = journal.read(after, prefixes=("identity/",), limit=limit)
    assert [record.seq for record in read] == expected
    assert journal.read(prefixes=("no such topic",)) == []
    journal.close()


def test_retention_deletes_the_oldest_and_numbers_go_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=SMALL, keep_bytes=3 * SMALL)
    fill(journal, 200, ("busy",))
    assert journal.first > 100
    kept = journal.read(journal.first - 1)
    assert [record.seq for record in kept] == list(range(journal.first, 201))
    journal.close()
    assert sum(path.stat().st_size for path in tmp_path.glob("*.journal")) < 6 * SMALL

    again = Journal(tmp_path, segment_bytes=SMALL, keep_bytes=3 * SMALL)
    assert again.append("busy", b"{}").seq == 201
    again.close()


class Clocks:
    """A wall clock that can be set, and one that cannot."""

    def __init__(self) -> None:
        self.wall_ns = 20_000 * DAY_NS
        self.passed_s = 0.0

    def wait(self, seconds: float) -> None:
        self.wall_ns += int(seconds * 1e9)
        self.passed_s += seconds

    def open(self, folder: Path, keep_s: float) -> Journal:
        return Journal(
            folder, sync="never", keep_s=keep_s, clock=lambda: self.wall_ns, monotonic=lambda: self.passed_s
        )

    def run(self, journal: Journal, days: int) -> None:
        """An event a day; what is too old goes."""
        for _ in range(days):
            journal.append("t", b"{}")
            for _ in range(3):
                self.wait(DAY_NS / 3e9)
                journal.expire()


def test_what_is_too_old_is_deleted_even_where_nothing_more_is_published(tmp_path: Path) -> None:
    clocks = Clocks()
    journal = clocks.open(tmp_path, keep_s=3600.0)
    fill(journal, 5, ("t",))
    clocks.wait(1900)
    journal.expire()  # another file begins, so that the first can go
    assert len(journal.read()) == 5
    clocks.wait(3700)
    journal.expire()
    assert journal.read() == []
    assert journal.append("t", b"{}").seq == 6
    journal.close()


@pytest.mark.parametrize("days", [-30, 30, 400])
def test_a_clock_that_is_wrong_for_a_moment_deletes_nothing(tmp_path: Path, days: int) -> None:
    clocks = Clocks()
    journal = clocks.open(tmp_path, keep_s=7 * DAY_S)
    clocks.run(journal, 6)
    kept = len(journal.read())
    for step in (days, -days):
        clocks.wall_ns += step * DAY_NS
        for _ in range(5):
            clocks.wait(60)
            journal.expire()
            journal.append("t", b"{}")
    assert len(journal.read()) == kept + 10
    clocks.run(journal, 20)
    assert 7 <= len(journal.read()) <= 9
    journal.close()


@pytest.mark.parametrize("days", [-20_000, -30, 400])
def test_a_clock_that_was_wrong_at_the_start_keeps_events_for_as_long_as_others(
    tmp_path: Path, days: int
) -> None:
    clocks = Clocks()
    before = clocks.open(tmp_path, keep_s=7 * DAY_S)
    clocks.run(before, 6)
    kept = len(before.read())
    before.close()
    clocks.wall_ns += days * DAY_NS
    journal = clocks.open(tmp_path, keep_s=7 * DAY_S)
    journal.append("t", b"{}")
    journal.expire()
    clocks.wait(60)
    clocks.wall_ns -= days * DAY_NS
    for _ in range(20):
        clocks.wait(60)
        journal.expire()
    assert len(journal.read()) == kept + 1
    clocks.run(journal, 20)
    assert 7 <= len(journal.read()) <= 9
    assert journal.read()[0].time_ns > clocks.wall_ns - 9 * DAY_NS
    journal.close()


def test_every_opening_is_an_epoch_of_its_own(tmp_path: Path) -> None:
    seen = []
    for _ in range(3):
        journal = Journal(tmp_path)
        fill(journal, 2, ("t",))
        seen += [(record.epoch, record.seq) for record in journal.read(journal.head - 2)]
        journal.close()
    assert [seq for _, seq in seen] == [1, 2, 3, 4, 5, 6]
    assert len({epoch for epoch, _ in seen}) == 3


def test_a_name_can_be_erased(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=SMALL)
    for number in range(40):
        journal.append("t", b"Ada" if number % 3 else b"Bob")
    reader = journal.reader()
    reader.seek(0)
    first = reader.read().records
    changed = journal.rewrite(lambda record: b"someone" if record.payload == b"Ada" else record.payload)
    assert changed == 26
    assert not any(b"Ada" in path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert [record.seq for record in journal.read()] == list(range(1, 41))
    rest = []
    while not (piece := reader.read()).end:  # a reader in the middle of a file goes on where it was
        rest += piece.records
        assert piece.lost == 0
    assert [record.seq for record in first + rest] == list(range(1, 41))
    journal.close()


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(EventError, match="another process writes this journal"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EventError, match=r"set events\.journal"):
        Journal(tmp_path / "file" / "journal")


def test_files_are_private(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert (tmp_path / "journal").stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "journal").iterdir())
    journal.close()


def test_a_subscriber_needs_pyzmq_and_msgspec_alone() -> None:
    code = """
import sys
allowed = {"zmq", "msgspec", "gaitstream"} | set(sys.stdlib_module_names)
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed and not name.startswith("_"):
            raise ImportError(f"{name} is not allowed")
sys.meta_path.insert(0, Refuse())
import gaitstream.events
from gaitstream.events import Subscriber, Publisher
assert "numpy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

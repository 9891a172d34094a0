"""The journal: sequence numbers, recovery, retention, exclusive ownership."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitstream.errors import EventError
from gaitstream.events import Journal
from gaitstream.events.journal import Sync

SMALL = 400


def payload(number: int) -> bytes:
    return b'{"n":%d}' % number


def fill(journal: Journal, count: int, topics: tuple[str, ...] = ("identity/a", "track/a")) -> None:
    for number in range(count):
        for topic in topics:
            journal.append(topic, payload(number))


def test_numbers_count_from_one_per_topic(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert [
        journal.append("a", b"{}").seq,
        journal.append("b", b"{}").seq,
        journal.append("a", b"{}").seq,
    ] == [
        1,
        1,
        2,
    ]
    assert journal.heads() == {"a": 2, "b": 1}
    journal.close()


@pytest.mark.parametrize("sync", ["batch", "always", "never"])
def test_everything_is_there_after_reopening(tmp_path: Path, sync: Sync) -> None:
    journal = Journal(tmp_path, sync=sync, segment_bytes=SMALL)
    fill(journal, 50)
    journal.sync()
    identity = journal.id
    journal.close()

    again = Journal(tmp_path, segment_bytes=SMALL)
    assert again.id == identity
    assert again.heads() == {"identity/a": 50, "track/a": 50}
    records = again.read("identity/a", after=20, limit=1000)
    assert [record.seq for record in records] == list(range(21, 51))
    assert [record.payload for record in records] == [payload(n) for n in range(20, 50)]
    assert again.append("identity/a", b"{}").seq == 51
    again.close()


@pytest.mark.parametrize(
    ("after", "limit", "expected"), [(0, 3, [1, 2, 3]), (4, 10, [5]), (5, 10, []), (9, 1, [])]
)
def test_read_honours_after_and_limit(tmp_path: Path, after: int, limit: int, expected: list[int]) -> None:
    journal = Journal(tmp_path)
    fill(journal, 5)
    assert [record.seq for record in journal.read("identity/a", after, limit)] == expected
    assert journal.read("no such topic") == []
    journal.close()


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(1, 200))
def test_a_torn_tail_costs_only_the_torn_record(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder, sync="never")
    fill(journal, 5, ("t",))
    journal.close()
    [path] = folder.glob("*.journal")
    data = path.read_bytes()
    path.write_bytes(data[: max(1, len(data) - cut)])

    again = Journal(folder, sync="never")
    whole = again.read("t")
    assert [record.payload for record in whole] == [payload(n) for n in range(len(whole))]
    record_bytes = 8 + 10 + 1 + len(payload(0))
    assert len(whole) == max(0, 5 - -(-cut // record_bytes))
    assert again.append("t", b"{}").seq == len(whole) + 1
    again.close()


def test_a_flipped_bit_in_an_older_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=SMALL)
    fill(journal, 50)
    journal.close()
    oldest = sorted(tmp_path.glob("*.journal"))[0]
    data = bytearray(oldest.read_bytes())
    data[-3] ^= 1
    oldest.write_bytes(data)
    with pytest.raises(EventError, match=f"{oldest.name} is damaged at byte"):
        Journal(tmp_path)


def test_retention_deletes_the_oldest_and_numbers_go_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=SMALL, keep_bytes=3 * SMALL)
    journal.append("quiet", b"{}")
    fill(journal, 200, ("busy",))
    assert journal.firsts()["busy"] > 100
    assert journal.firsts()["quiet"] == 2
    kept = journal.read("busy", limit=1000)
    assert [record.seq for record in kept] == list(range(journal.firsts()["busy"], 201))
    journal.close()
    assert sum(path.stat().st_size for path in tmp_path.glob("*.journal")) < 5 * SMALL

    again = Journal(tmp_path, segment_bytes=SMALL, keep_bytes=3 * SMALL)
    assert again.append("quiet", b"{}").seq == 2
    assert again.append("busy", b"{}").seq == 201
    again.close()


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

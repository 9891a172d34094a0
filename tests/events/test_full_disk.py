"""No room for the journal: said, counted, nothing damaged, and over as soon as there is room again."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaitstream.errors import EventError, JournalWriteError
from gaitstream.events import Journal, Record, Subscriber
from gaitstream.events.exporting import export_events
from tests.events.wiring import bus, collect, online


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writes beyond a size fail, as on a full disk; a write across it is cut short, as there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB, where the machine lets us have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("room", [700, 753, 801, 854])
def test_full_at_any_byte_of_an_event(tmp_path: Path, room: int) -> None:
    journal = Journal(tmp_path, sync="always")
    written, refused = list[Record](), list[JournalWriteError]()
    with largest_file(room):
        for number in range(30):
            try:
                written.append(journal.append("t", b'{"n":%d}' % number))
            except JournalWriteError as error:
                refused.append(error)
    assert all(error.full and "no room for the journal" in str(error) for error in refused)
    assert 3 < len(written) < 30
    written.append(journal.append("t", b"{}"))
    assert journal.read() == written
    journal.close()
    again = Journal(tmp_path)
    assert again.read() == written
    assert again.damaged == 0
    again.close()


def test_full_when_a_file_is_begun(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=400)
    written = [journal.append("t", b"{}") for _ in range(10)]
    with largest_file(20):
        with pytest.raises(JournalWriteError, match="no room"):
            journal.append("t", b"{}")
        journal.close()
        again = Journal(tmp_path, segment_bytes=400)  # the start is not refused either
        with pytest.raises(JournalWriteError, match="no room"):
            again.append("t", b"{}")
    written.append(again.append("t", b"{}"))
    records = again.read()
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    assert records[:10] == written[:10]
    assert records[-1] == written[-1]
    again.close()


def test_a_small_disk_fills_and_is_cleared(small_disk: Path, tmp_path: Path) -> None:
    ballast = small_disk / "ballast"
    delivered = []
    with (
        bus(small_disk / "journal", segment_bytes=20_000) as publisher,
        Subscriber(publisher.endpoint, publisher.replay) as subscriber,
    ):
        subscriber.wait_connected(5)
        accepted, refused = [], 0
        for number in range(1500):
            if number == 300:
                with contextlib.suppress(OSError):
                    ballast.write_bytes(bytes(1 << 20))
            if number == 900:
                ballast.unlink()
            try:
                publisher.publish(online(number))
                accepted.append(number)
            except JournalWriteError:
                refused += 1
            if number > 1200:
                break
        delivered = [received.event.time_ns for received in collect(subscriber, len(accepted))]
        assert publisher.unwritten == refused > 0
    assert delivered == accepted
    assert {299, 900, 1100} <= set(accepted)
    assert Journal(small_disk / "journal").damaged == 0


def test_a_table_for_a_read_only_file_system_is_refused(small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for name in ("events.jsonl", "events.csv"):
        with pytest.raises(EventError, match=rf"{name}: cannot be written \(.*Read-only file system"):
            export_events(tmp_path / "journal", small_disk / name)

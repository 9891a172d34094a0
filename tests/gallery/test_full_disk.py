"""No room for a gallery: it is said, nothing is half done, and it works as soon as there is room again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaitstream.cli import main
from gaitstream.errors import GalleryError
from gaitstream.gallery import Enrolment, Gallery
from gaitstream.gallery.verifying import verify
from tests.gallery.filled import MODEL, PEOPLE, PICTURE, PRINT, content, fill, walks

ACTIONS = ("export", "copy", "import", "rekey", "enrol")
SIZE = 512 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB, where the machine lets us have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def act(action: str, source: Path, target: Path) -> int:
    """One command that writes; `target` is on the small disk."""
    new_key = target.with_name("new.key")
    words = {
        "export": ["export", str(target), "--gallery", str(source)],
        "copy": ["copy", str(source), str(target)],
        "import": ["import", str(source), "--gallery", str(target)],
        "rekey": ["rekey", "--gallery", str(target), "--to", f"file:{new_key}"],
    }
    if action in words:
        return main(["gallery", *words[action]])
    with Gallery(target, create=True) as gallery:
        gallery.enroll_many(
            Enrolment(name, MODEL, PRINT, walks(seed), "gate.mp4", (PICTURE + name.encode() * 8,))
            for seed, name in enumerate(PEOPLE)
        )
    return 0


@pytest.mark.parametrize("action", ACTIONS)
def test_a_full_disk_is_told_and_leaves_nothing_behind(
    action: str, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target, ballast = tmp_path / "people.gallery", small_disk / "g", small_disk / "ballast"
    with Gallery(source, create=True) as gallery:
        fill(gallery)
        before = content(gallery)
    failures = 0
    for free in range(0, SIZE - 32 * 1024, 12 * 1024):
        for file in small_disk.iterdir():
            file.unlink()
        if action == "rekey":
            assert act("copy", source, target) == 0
        used = sum(file.stat().st_blocks * 512 for file in small_disk.iterdir())
        ballast.write_bytes(bytes(max(0, SIZE - 8192 - used - free)))
        beside = {"g.lock", "g-wal", "g-shm"}
        there = {file.name for file in small_disk.iterdir()} - beside
        try:
            done = act(action, source, target) == 0
            said = capsys.readouterr().err
        except GalleryError as error:
            done, said = False, str(error)
        if not done:
            failures += 1
            assert "no room" in said
            if action != "enrol":
                assert {file.name for file in small_disk.iterdir()} - beside == there
            ballast.unlink()
            assert act(action, source, target) == 0
            capsys.readouterr()
        with Gallery(target, key=f"file:{small_disk}/new.key" if action == "rekey" else None) as gallery:
            assert content(gallery) == before
            assert verify(gallery) == []
    assert failures

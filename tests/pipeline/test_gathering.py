"""Batches of frames: of files the same ones in every run, whatever the machine does meanwhile."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from gaitstream.config.schema import Config
from gaitstream.pipeline.cameras import Cameras
from gaitstream.pipeline.source.base import Picture
from gaitstream.pipeline.source.images import ImageFolderSource
from gaitstream.telemetry.stats import Stats

LENGTHS = {"a": 10, "b": 7, "c": 0}
"""Pictures of each camera; one has none that can be read."""


@pytest.fixture
def site(tmp_path: Path) -> Config:
    for name, length in LENGTHS.items():
        (tmp_path / name).mkdir()
        for index in range(length):
            cv2.imwrite(str(tmp_path / name / f"{index}.png"), np.zeros((16, 16, 3), np.uint8))
    (tmp_path / "c" / "0.png").write_bytes(b"no picture")
    cameras = [{"id": name, "url": str(tmp_path / name), "fps": None} for name in LENGTHS]
    return Config.model_validate({"cameras": cameras, "sources": {"queue": 2}})


def four_folders(root: Path) -> Config:
    """Cameras of many pictures each."""
    for name in ("a", "b", "d", "e"):
        (root / name).mkdir()
        for index in range(40):
            cv2.imwrite(str(root / name / f"{index}.png"), np.zeros((16, 16, 3), np.uint8))
    cameras = [{"id": name, "url": str(root / name), "fps": None} for name in ("a", "b", "d", "e")]
    return Config.model_validate({"cameras": cameras, "sources": {"queue": 2}})


def batches(config: Config, limit: int) -> list[list[tuple[str, int]]]:
    """Camera and number of each frame, batch by batch, until all files have ended."""
    cameras = Cameras(Stats(), lambda _reader, _change: None, realtime=False)
    for camera in config.cameras:
        cameras.open(camera.id, config)
    found = []
    while not cameras.finished:
        frames = cameras.gather(limit, 0.0)
        found.append([(frame.camera, frame.index) for _, frame in frames])
    cameras.drain()
    return [batch for batch in found if batch]


def slow_down(monkeypatch: pytest.MonkeyPatch, slow: str) -> None:
    """Have one camera's pictures come late."""
    read = ImageFolderSource.read

    def late(source: ImageFolderSource) -> Picture | None:
        if threading.current_thread().name == f"camera-{slow}":
            time.sleep(0.03)
        return read(source)

    monkeypatch.setattr(ImageFolderSource, "read", late)


@pytest.mark.parametrize("limit", [1, 4, 16])
def test_files_fill_the_same_batches_whichever_of_them_is_slow(
    limit: int, site: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for slow in ("", "a", "b"):
        with monkeypatch.context() as patch:
            slow_down(patch, slow)
            found.append(batches(site, limit))
    assert found[1:] == found[:1] * 2
    assert all(len(batch) == min(limit, 6) for batch in found[0][:-1])  # as many as three queues hold
    assert {frame for batch in found[0] for frame in batch} == {
        (name, index) for name, length in LENGTHS.items() for index in range(length)
    }


def test_a_run_that_was_stopped_waits_for_no_file(site: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()
    monkeypatch.setattr(ImageFolderSource, "read", lambda _source: held.wait(60.0) and None)
    cameras = Cameras(Stats(), lambda _reader, _change: None, realtime=False)
    cameras.open("a", site)
    threading.Timer(0.1, cameras.wake).start()
    begun = time.monotonic()
    assert cameras.gather(4, 0.0) == []
    assert time.monotonic() - begun < 1.5  # less than a slow frame is waited for
    held.set()
    cameras.drain()


def test_live_cameras_fill_batches_beside_one_that_has_ended(site: Config) -> None:
    """At 25 pictures a second, what comes within a fifth of one is more than the first that comes."""
    cameras = Cameras(Stats(), lambda _reader, _change: None, realtime=True)
    cameras.open("c", site)
    while not cameras["c"].reader.finished:
        time.sleep(0.01)
    cameras.open("a", site)
    cameras.gather(16, 0.0)
    assert len(cameras.gather(16, 0.2)) >= 3
    cameras.stop()
    cameras.drain()


def fill(cameras: Cameras, site: Config, files: tuple[str, ...]) -> None:
    """Open all, and have frames wait of each; those that are no files count as live."""
    for name in ("a", "b", "d", "e"):
        cameras.open(name, site)
        cameras[name].realtime, cameras[name].waits = name not in files, name in files
    for stream in cameras:
        while len(stream.reader.queue) < site.sources.queue:
            time.sleep(0.01)


def test_live_cameras_take_turns_whichever_files_are_read_between(tmp_path: Path) -> None:
    """Of three live cameras two have room in a batch beside the file that comes before them."""
    site = four_folders(tmp_path)
    cameras = Cameras(Stats(), lambda _reader, _change: None, realtime=False)
    fill(cameras, site, files=("a",))
    taken: Counter[str] = Counter()
    for _ in range(6):
        for _stream, frame in cameras.gather(3, 0.0, files=0.99):
            taken[frame.camera] += 1
        time.sleep(0.1)
    cameras.stop()
    cameras.drain()
    assert min(taken[name] for name in "bde") >= 3, taken


def test_files_get_their_share_of_batches_of_one_frame(tmp_path: Path) -> None:
    site = four_folders(tmp_path)
    cameras = Cameras(Stats(), lambda _reader, _change: None, realtime=False)
    fill(cameras, site, files=("a",))
    taken: Counter[str] = Counter()
    held = 0
    for _ in range(12):
        for _stream, frame in cameras.gather(1, 0.0, files=0.25):
            taken[frame.camera] += 1
        held += cameras.held
        time.sleep(0.05)
    cameras.stop()
    cameras.drain()
    assert taken["a"] == 3, taken
    assert held == 9


def test_frames_that_wait_when_their_camera_is_removed_are_counted(tmp_path: Path) -> None:
    site, stats = four_folders(tmp_path), Stats()
    cameras = Cameras(stats, lambda _reader, _change: None, realtime=False)
    fill(cameras, site, files=("a",))
    cameras.remove("a").count()
    counted = stats.camera("a")
    assert (counted.abandoned, counted.queued) == (site.sources.queue, 0)
    cameras.stop()
    cameras.drain()

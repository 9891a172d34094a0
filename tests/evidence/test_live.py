"""Live pictures: drawn while somebody looks, found across processes, and never waited for."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from gaitstream.config.schema import Config
from gaitstream.data import Frame, Person, Reason
from gaitstream.errors import ConfigError, EvidenceError, MissingEvidenceError
from gaitstream.evidence.live import LiveFrames
from gaitstream.evidence.live_client import cameras, watch
from gaitstream.evidence.live_server import SLOW_S, LiveServer, check_private, live_folder
from gaitstream.evidence.observing import open_observers
from gaitstream.pipeline.base import RunOptions

BOX = np.array([20, 10, 60, 80], np.float32)


def frame(index: int, camera: str = "gate", width: int = 160) -> Frame:
    return Frame(camera, index, index, np.full((90, width, 3), 40, np.uint8))


def person(index: int) -> Person:
    return Person("gate", 7, index, index, BOX, 0.9, Reason.TRUNCATED)


@pytest.fixture
def folder(tmp_path: Path, runtime: Path) -> Path:
    return live_folder(tmp_path / "cams.evidence")


class Feeder:
    """Hands frames to the pipeline's side as a camera would, until it is closed; notes its slowest call."""

    def __init__(self, frames: LiveFrames | LiveServer, camera: str = "gate", width: int = 160) -> None:
        self._over = threading.Event()
        self.slowest_s = 0.0
        self._thread = threading.Thread(target=self._feed, args=(frames, camera, width))
        frames.on_frame(frame(0, camera, width), [], {})
        self._thread.start()

    def _feed(self, frames: LiveFrames | LiveServer, camera: str, width: int) -> None:
        index = 0
        while not self._over.wait(0.01):
            index += 1
            started = time.perf_counter()
            frames.on_frame(frame(index, camera, width), [person(index)], {})
            self.slowest_s = max(self.slowest_s, time.perf_counter() - started)

    def close(self) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture
def server(folder: Path) -> Iterator[LiveServer]:
    made = LiveServer(LiveFrames(rate=50), folder)
    yield made
    made.close()


async def first(folder: Path, camera: str, count: int = 2) -> list[bytes]:
    found: list[bytes] = []
    async for picture in watch(folder, camera):
        found.append(picture)
        if len(found) == count:
            break
    return found


def test_pictures_are_watched_from_another_process_with_boxes_and_reasons(
    folder: Path, server: LiveServer
) -> None:
    feeder = Feeder(server)
    try:
        pictures = asyncio.run(asyncio.wait_for(first(folder, "gate"), 30))
        assert asyncio.run(cameras(folder)) == {"gate": server.path}
    finally:
        feeder.close()
    for data in pictures:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape == (90, 160, 3)
        assert image.max() > 150, "the box and its line are drawn"
    with pytest.raises(MissingEvidenceError, match=r"evidence: \{live: true\}"):
        asyncio.run(first(folder, "elsewhere"))


def test_nothing_is_drawn_while_nobody_looks() -> None:
    frames = LiveFrames(rate=1000)
    for index in range(5):
        frames.on_frame(frame(index), [], {})
    assert frames._moments == {}
    assert frames._thread is None
    stream = frames.watch("gate")
    feeder = Feeder(frames)
    next(stream)
    stream.close()
    feeder.close()
    assert frames._pictures == {}
    frames.close()


def test_rate_and_size_are_bounded() -> None:
    frames = LiveFrames(rate=10, width_px=64)
    feeder = Feeder(frames)
    stream = frames.watch("gate")
    started = time.monotonic()
    pictures = [next(stream) for _ in range(4)]
    assert time.monotonic() - started >= 0.25
    stream.close()
    feeder.close()
    frames.close()
    image = cv2.imdecode(np.frombuffer(pictures[0], np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (36, 64, 3)


def test_a_viewer_that_takes_nothing_delays_nobody(folder: Path, server: LiveServer) -> None:
    feeder = Feeder(server, width=1280)
    idle = socket.socket(socket.AF_UNIX)
    idle.connect(str(server.path))
    idle.sendall(b"GET /gate HTTP/1.0\r\n\r\n")
    try:
        assert len(asyncio.run(asyncio.wait_for(first(folder, "gate", 5), 30))) == 5
    finally:
        feeder.close()
        idle.close()
    assert feeder.slowest_s < SLOW_S / 2, "a frame is left in its place, whoever looks"


def test_streams_end_with_the_run(folder: Path) -> None:
    server = LiveServer(LiveFrames(rate=50), folder)
    feeder = Feeder(server)
    closing = threading.Thread(target=server.close)

    async def to_the_end() -> int:
        count = 0
        async for _ in watch(folder, "gate"):
            count += 1
            if count == 1:
                closing.start()
        return count

    try:
        assert asyncio.run(asyncio.wait_for(to_the_end(), 30)) >= 1
    finally:
        feeder.close()
    closing.join()
    assert list(folder.iterdir()) == []


def test_nobody_else_may_connect_and_a_dead_process_is_passed_over(folder: Path, server: LiveServer) -> None:
    assert server.path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(folder / "1.sock"))
    dead.close()
    server.on_frame(frame(0), [], {})
    assert asyncio.run(cameras(folder)) == {"gate": server.path}
    assert not (folder / "1.sock").exists()
    folder.chmod(0o755)
    with pytest.raises(PermissionError, match="open to others"):
        check_private(folder)
    with pytest.raises(EvidenceError, match="open to others"):
        asyncio.run(cameras(folder))
    folder.chmod(0o700)


def test_a_folder_that_is_too_long_for_a_socket_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 120)))
    with pytest.raises(ConfigError, match="short path"):
        LiveServer(LiveFrames(), live_folder(tmp_path))


def test_a_run_offers_what_its_file_asks_for(tmp_path: Path, runtime: Path) -> None:
    options = RunOptions(config=tmp_path / "cams.yaml")
    cams = {"cameras": [{"id": "gate", "url": "synth://corridor"}]}
    assert open_observers(options, Config.model_validate(cams)) == []
    [server] = open_observers(options, Config.model_validate({**cams, "evidence": {"live": True}}))
    assert isinstance(server, LiveServer)
    assert server.path.name == f"{os.getpid()}.sock"
    server.close()

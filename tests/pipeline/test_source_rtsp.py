"""Live cameras against a real RTSP server: GStreamer's, in a process of its own."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaitstream.config.camera_sections import Camera, Sources
from gaitstream.config.secret_url import SecretUrl
from gaitstream.pipeline.source import CameraReader, State, StateChange
from gaitstream.pipeline.source.video import VideoSource

SYSTEM_PYTHON = "/usr/bin/python3"
NEEDS = (
    "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
)
PROBE = """
import gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
wanted = ("x264enc", "rtph264pay", "videotestsrc", "videoscale")
missing = [name for name in wanted if not Gst.ElementFactory.find(name)]
raise SystemExit(", ".join(missing) or 0)
"""
HANGS_S = 60.0
"""What takes longer hangs, on a busy machine as well."""
FAST = Sources(stall_s=1.5, connect_s=4.0, backoff_min_s=0.3, backoff_max_s=2.0)


@pytest.fixture(scope="module", autouse=True)
def _gstreamer() -> None:
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip(f"no {SYSTEM_PYTHON} to run GStreamer's RTSP server with")
    probe = subprocess.run([SYSTEM_PYTHON, "-c", PROBE], capture_output=True, text=True, check=False)
    if probe.returncode:
        reason = (probe.stderr.strip().splitlines() or ["unknown"])[-1]
        pytest.skip(f"GStreamer's RTSP server is not usable ({reason}): apt-get install {NEEDS}")


class Server:
    """The server process, which can be killed, started again, frozen and thawed."""

    def __init__(self, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._options = options
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        script = Path(__file__).with_name("rtsp_server.py")
        command = [SYSTEM_PYTHON, str(script), str(self.port), *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def url(self, mount: str, userinfo: str = "") -> str:
        return f"rtsp://{userinfo}127.0.0.1:{self.port}/{mount}"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.kill()


class Watched:
    """A reader whose frames are taken as they come, and whose changes of state are kept."""

    def __init__(self, name: str, url: str, sources: Sources = FAST) -> None:
        self.changes: list[StateChange] = []
        self.sizes: set[tuple[int, int]] = set()
        self.taken = 0
        camera = Camera(id=name, url=SecretUrl(url), fps=None)
        self.reader = CameraReader(camera, sources, on_state=self.changes.append)
        self.reader.start()

    def drain(self) -> None:
        while (frame := self.reader.get()) is not None:
            self.taken += 1
            self.sizes.add((frame.image.shape[1], frame.image.shape[0]))

    def states(self) -> list[State]:
        """The states it went through, repeats with another reason left out."""
        states = [change.state for change in self.changes]
        return [state for index, state in enumerate(states) if index == 0 or state is not states[index - 1]]


@pytest.fixture
def watch() -> Iterator[Callable[..., Watched]]:
    watched: list[Watched] = []

    def start(name: str, url: str, sources: Sources = FAST) -> Watched:
        watched.append(Watched(name, url, sources))
        return watched[-1]

    yield start
    for one in watched:
        one.reader.stop()
    assert all(one.reader.join(HANGS_S) for one in watched)


def until(condition: Callable[[], bool], *watched: Watched, timeout_s: float = HANGS_S) -> float:
    """Take frames until the condition holds; seconds it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, [one.changes for one in watched]
        for one in watched:
            one.drain()
        time.sleep(0.02)
    return time.monotonic() - started


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_cameras_come_back_after_the_server_was_away(server: Server, watch: Callable[..., Watched]) -> None:
    cameras = [watch(name, server.url(name)) for name in ("a", "b")]
    until(lambda: all(one.taken >= 15 for one in cameras), *cameras)
    threads, memory = threading.active_count(), resident_mb()

    server.kill()
    until(lambda: all(one.reader.state is State.OFFLINE for one in cameras), *cameras)
    away = time.monotonic() + 10.0
    until(lambda: time.monotonic() > away, *cameras)
    server.start()
    back_s = until(lambda: all(one.reader.state is State.ONLINE for one in cameras), *cameras)

    before = [one.taken for one in cameras]
    until(lambda: all(one.taken >= was + 15 for one, was in zip(cameras, before, strict=True)), *cameras)
    assert back_s < 5.0
    for one in cameras:
        assert one.states() == [State.ONLINE, State.OFFLINE, State.ONLINE]
        assert all(change.reason for change in one.changes if change.state is State.OFFLINE)
        assert one.reader.counters.reconnects >= 3
    assert threading.active_count() == threads
    assert resident_mb() - memory < 30.0


def test_a_frozen_camera_is_a_fault_and_is_opened_again(
    server: Server, watch: Callable[..., Watched]
) -> None:
    camera = watch("a", server.url("a"))
    until(lambda: camera.taken >= 5, camera)
    server.signal(signal.SIGSTOP)
    noticed_s = until(lambda: camera.reader.state is State.OFFLINE, camera, timeout_s=4.0)
    assert noticed_s > 1.0
    assert "nothing came for 1.5 s" in camera.reader.reason
    server.signal(signal.SIGCONT)
    until(lambda: camera.reader.state is State.ONLINE, camera)


def test_a_change_of_resolution_is_followed_without_reconnecting(
    server: Server, watch: Callable[..., Watched]
) -> None:
    camera = watch("changing", server.url("changing"))
    until(lambda: camera.sizes >= {(320, 240), (480, 360)}, camera)
    assert camera.states() == [State.ONLINE]
    assert camera.reader.counters.reconnects == 0


def test_pictures_of_a_stream_with_oblong_pixels_are_as_wide_as_they_are_shown(
    server: Server, watch: Callable[..., Watched]
) -> None:
    camera = watch("oblong", server.url("oblong"))
    until(lambda: camera.taken >= 5, camera)
    assert camera.sizes == {(349, 240)}


def test_a_path_that_the_server_does_not_know_is_told(server: Server, watch: Callable[..., Watched]) -> None:
    camera = watch("lost", server.url("nowhere", "viewer:s3cret-pw@"))
    until(lambda: bool(camera.changes), camera)
    assert (
        "cannot be opened: Server returned 404 Not Found; check the path behind the address"
        in camera.changes[0].reason
    )
    assert "s3cret" not in str(camera.changes)


def test_lost_packets_do_not_stop_a_camera(server: Server, watch: Callable[..., Watched]) -> None:
    camera = watch("lossy", server.url("lossy"))
    until(lambda: camera.taken >= 40 and camera.reader.counters.corrupt > 0, camera)
    assert camera.states() == [State.ONLINE]


def test_pictures_that_a_server_takes_apart_are_counted_and_named(
    server: Server, watch: Callable[..., Watched], caplog: pytest.LogCaptureFixture
) -> None:
    """FFmpeg makes two pictures of one; a second one of the same time would end all tracks."""
    camera = watch("split", server.url("split"))
    until(lambda: camera.reader.counters.corrupt >= 3, camera)
    assert camera.states() == [State.ONLINE]
    assert len([one for one in caplog.records if "two pictures with one time" in one.getMessage()]) == 1
    whole = watch("whole", server.url("b"))
    until(lambda: whole.taken >= 40, whole)
    assert whole.reader.counters.corrupt == 0


def test_wrong_credentials_are_named_and_not_shown(
    watch: Callable[..., Watched], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = Server("--password", "correct-horse")
    server.start()
    try:
        wrong = watch("wrong", server.url("a", "viewer:battery-staple@"))
        right = watch("right", server.url("a", "viewer:correct-horse@"))
        until(lambda: bool(wrong.changes) and right.taken > 0, wrong, right)
    finally:
        server.kill()
    change = wrong.changes[0]
    assert change.state is State.OFFLINE
    assert "refused the user name or password" in change.reason
    shown = caplog.text + repr(wrong.changes) + repr(wrong.reader.camera) + str(right.changes)
    assert "battery" not in shown
    assert "viewer" not in shown


def test_capture_times_come_from_the_sender(server: Server) -> None:
    source = VideoSource(Camera(id="a", url=SecretUrl(server.url("a"))), FAST)
    source.open()
    try:
        last_ns = 0
        deadline = time.monotonic() + HANGS_S
        while not source.capture_clock.from_sender:
            assert time.monotonic() < deadline, "no RTCP sender report arrived"
            picture = source.read()
            assert picture is not None
            assert picture.time_ns > last_ns
            last_ns = picture.time_ns
        assert abs(time.time_ns() - last_ns) < 2e9
    finally:
        source.close()

"""Clocks that are set while cameras run: times go on, recover, and no camera is blind meanwhile."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitstream.config.camera_sections import Camera, Sources
from gaitstream.config.schema import Config
from gaitstream.config.secret_url import SecretUrl
from gaitstream.data import Detections, Frame
from gaitstream.pipeline.cameras import CameraStream
from gaitstream.pipeline.source import CameraReader, Picture, Source
from gaitstream.pipeline.source.clock import SECOND_NS, CaptureClock, RateGate
from gaitstream.pipeline.source.video import VideoSource
from gaitstream.pipeline.track import CameraTracker, Tracked
from gaitstream.telemetry.stats import CameraCounters

NOW = 1_790_000_000 * SECOND_NS
FRAME_NS = SECOND_NS // 25


def stamps(
    steps: dict[int, float], frames: int, rate: float = 1.0
) -> tuple[CaptureClock, list[int], list[int]]:
    """Stamps at 25 frames per second, and the wall clock at each, which is set at some frames."""
    clock = CaptureClock()
    wall, out, walls = NOW, [], []
    for index in range(frames):
        wall += int(steps.get(index, 0.0) * SECOND_NS)
        walls.append(wall + index * FRAME_NS)
        out.append(clock.stamp(int(index * FRAME_NS * rate), walls[-1], index * FRAME_NS))
    return clock, out, walls


@pytest.mark.parametrize("step_s", [-3600.0, -10.0, -1.5, -0.9, -0.2, 0.2, 3.0, 10.0, 3600.0])
def test_a_wall_clock_that_is_set_blinds_no_camera(step_s: float) -> None:
    _, times, walls = stamps({100: step_s}, 300)
    gate = RateGate(12.5)
    due = [gate.due(time_ns) for time_ns in times]
    assert sum(due[100:150]) >= 18, "in the two seconds after the step a fair share of 25 frames is analysed"
    assert times[-1] == pytest.approx(walls[-1], abs=2e6), "eight seconds later times are right again"
    gaps = np.diff(times[101:]) / FRAME_NS
    assert gaps.min() > 0.7, "no frame is squeezed onto the one before it"
    if step_s >= -1.0:
        assert (np.diff(times) > 0).all()


def test_a_step_back_is_told_once() -> None:
    clock = CaptureClock()
    told = []
    for index in range(60):
        wall = NOW + index * FRAME_NS - (10 * SECOND_NS if index >= 30 else 0)
        clock.stamp(index * FRAME_NS, wall, index * FRAME_NS)
        told.append(clock.set_back_ns)
    assert [index for index, back_ns in enumerate(told) if back_ns] == [30]
    assert told[30] == pytest.approx(10 * SECOND_NS, abs=2 * FRAME_NS)


@settings(max_examples=200, deadline=None)
@given(
    steps=st.dictionaries(st.integers(1, 400), st.floats(-4000, 4000), max_size=6),
    delays=st.lists(st.floats(0, 0.4), min_size=1, max_size=30),
)
def test_whatever_clocks_do_times_recover(steps: dict[int, float], delays: list[float]) -> None:
    """Set clocks and late frames in any order: ten seconds after the last, times are right within a frame."""
    clock = CaptureClock()
    wall, last, back = NOW, 0, 0
    for index in range(700):
        late = int(delays[index % len(delays)] * SECOND_NS) if index < 400 else 0
        wall += int(steps.get(index, 0.0) * SECOND_NS)
        now = index * FRAME_NS + late
        stamp = clock.stamp(index * FRAME_NS, wall + now, now)
        assert stamp > last or clock.set_back_ns > 0
        back += clock.set_back_ns > 0
        last = stamp
    assert back <= len(steps)
    assert stamp == pytest.approx(wall + 699 * FRAME_NS, abs=FRAME_NS)


def test_a_sender_whose_clock_is_behind_does_not_stop_time() -> None:
    clock = CaptureClock()
    times = []
    for index in range(200):
        if index == 50:
            clock.sender_report(
                index * FRAME_NS, NOW + index * FRAME_NS - 30 * SECOND_NS, NOW + index * FRAME_NS
            )
        times.append(clock.stamp(index * FRAME_NS, NOW + index * FRAME_NS, index * FRAME_NS))
    assert clock.from_sender
    assert times[-1] == NOW + 199 * FRAME_NS - 30 * SECOND_NS
    assert sum(later <= earlier for earlier, later in pairwise(times)) == 1


def send(port: int, stop: threading.Event) -> None:
    """A camera without a clock of its own: MPEG-TS over UDP."""
    with av.open(f"udp://127.0.0.1:{port}?pkt_size=1316", "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "10"}
        index = 0
        while not stop.is_set():
            image = np.full((120, 160, 3), index % 200, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")):
                container.mux(packet)
            index += 1
            time.sleep(0.04)


@pytest.fixture
def stream_port() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    stop = threading.Event()
    thread = threading.Thread(target=send, args=(port, stop))
    thread.start()
    yield port
    stop.set()
    thread.join()


@pytest.mark.parametrize("back_s", [10.0, 3600.0])
def test_a_camera_without_a_clock_of_its_own_goes_on_when_the_wall_clock_is_set_back(
    stream_port: int, back_s: float
) -> None:
    set_back = threading.Event()

    def wall_ns() -> int:
        return time.time_ns() - (int(back_s * SECOND_NS) if set_back.is_set() else 0)

    def factory(camera: Camera, sources: Sources) -> Source:
        return VideoSource(camera, sources, clock_ns=wall_ns)

    url = SecretUrl(f"udp://127.0.0.1:{stream_port}")
    reader = CameraReader(Camera(id="a", url=url, fps=10), Sources(), factory=factory)
    reader.start()
    try:
        assert reader.get(20.0) is not None
        set_back.set()
        began_s, frames = time.monotonic(), []
        while time.monotonic() - began_s < 3.0:
            frame = reader.get(0.2)
            if frame is not None:
                frames.append(frame.time_ns)
    finally:
        reader.stop()
        reader.join(5.0)
    assert len(frames) >= 20, "of the 30 frames in three seconds"
    assert frames[-1] == pytest.approx(wall_ns(), abs=SECOND_NS)


def test_tracks_end_where_time_goes_back() -> None:
    camera = Camera(id="gate", url=SecretUrl("rtsp://h/1"))
    config = Config(cameras=[camera])
    tracker = CameraTracker("gate", config.tracking, 15.0)
    stream = CameraStream(camera, CameraReader(camera, config.sources), tracker, CameraCounters())
    image = np.zeros((200, 200, 3), np.uint8)

    def track(index: int, time_ns: int) -> Tracked:
        box = np.array([[20 + index, 20, 60 + index, 140]], np.float32)
        return stream.track(Frame("gate", index, time_ns, image), Detections(box, np.ones(1, np.float32)))

    for index in range(6):
        before = track(index, NOW + index * FRAME_NS)
        assert before.ended == ()
    seen = {person.track for person in before.persons}
    assert len(seen) == 1
    assert set(track(6, NOW - 3600 * SECOND_NS).ended) == seen
    for index in range(7, 12):
        after = track(index, NOW - 3600 * SECOND_NS + index * FRAME_NS)
        assert after.ended == ()
    assert len(after.persons) == 1
    assert after.persons[0].track not in seen


class Faulty:
    """A live camera whose decoder raises what no contract names."""

    def __init__(self) -> None:
        self.live = True
        self.corrupt = 0
        self.tries = 0

    def open(self) -> None:
        self.tries += 1

    def read(self) -> Picture | None:
        if self.tries < 3:
            raise ZeroDivisionError("in rtsp://u:secret@h/x")
        self.live = False
        return None

    def close(self) -> None:
        raise RuntimeError("twice closed")


def test_an_unexpected_exception_is_a_fault_like_any_other() -> None:
    told: list[str] = []
    source = Faulty()
    reader = CameraReader(
        Camera(id="a", url=SecretUrl("rtsp://u:secret@h/x")),
        Sources(backoff_min_s=0.001, backoff_max_s=0.001),
        factory=lambda camera, sources: source,
        on_state=lambda change: told.append(f"{change.state} {change.reason}"),
    )
    reader.start()
    assert reader.join(5.0)
    assert told == [
        "offline rtsp://***@h/x: unexpected ZeroDivisionError: in rtsp://***@h/x",
        "ended ",
    ]

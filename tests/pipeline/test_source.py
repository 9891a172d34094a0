"""Files, folders and the synthetic world as cameras; clocks, rates, queues and waits with time in hand."""

from __future__ import annotations

import gc
import itertools
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition

from gaitstream.config.camera_sections import Camera, Sources
from gaitstream.config.secret_url import SecretUrl
from gaitstream.data import Frame
from gaitstream.errors import ConfigError, SourceError
from gaitstream.pipeline.source import (
    CameraReader,
    CameraRefusedError,
    Picture,
    Source,
    State,
    StateChange,
    create_source,
    video,
)
from gaitstream.pipeline.source.backoff import Backoff
from gaitstream.pipeline.source.base import scale_down
from gaitstream.pipeline.source.clock import SECOND_NS, CaptureClock, RateGate, is_plausible
from gaitstream.pipeline.source.host import unknown_host
from gaitstream.pipeline.source.queue import FrameQueue
from gaitstream.pipeline.source.showing import ShowingOrder
from gaitstream.pipeline.source.video import VideoSource, best_stream

NOW = 1_800_000_000 * SECOND_NS
HANGS_S = 60.0
"""What takes longer hangs, on a busy machine as well."""


def camera(url: Path | str, **keys: object) -> Camera:
    return Camera.model_validate({"id": "cam", "url": str(url), "fps": None, **keys})


def encode(path: Path, sizes: list[tuple[int, int]], frames: int = 10, fps: int = 10) -> Path:
    """A video of moving stripes; one run of frames per size, joined in one MPEG transport stream."""
    parts = []
    for run, (width, height) in enumerate(sizes):
        part = path.with_suffix(f".{run}.ts")
        with av.open(str(part), "w", format="mpegts") as container:
            stream = container.add_stream("mpeg2video", rate=fps)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.gop_size = 5
            for index in range(frames):
                image = np.zeros((height, width, 3), np.uint8)
                image[:, (index * 4) % width : (index * 4) % width + 20] = 200
                frame = av.VideoFrame.from_ndarray(image, "bgr24")
                frame.pts = run * frames + index
                frame.time_base = Fraction(1, fps)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        parts.append(part.read_bytes())
        part.unlink()
    path.write_bytes(b"".join(parts))
    return path


def read_all(source: Source) -> list[Picture]:
    source.open()
    try:
        return list(iter(source.read, None))
    finally:
        source.close()


class Run:
    """A reader run to its end, every frame taken."""

    def __init__(self, entry: Camera, sources: Sources | None = None, **options: object) -> None:
        self.changes: list[StateChange] = []
        self.frames: list[Frame] = []
        self.reader = CameraReader(entry, sources or Sources(), on_state=self.changes.append, **options)  # type: ignore[arg-type]
        self.reader.start()
        deadline = time.monotonic() + HANGS_S
        while not self.reader.finished:
            assert time.monotonic() < deadline
            frame = self.reader.get(0.05)
            if frame is not None:
                self.frames.append(frame)
        assert self.reader.join(HANGS_S)


def test_a_file_loses_no_frame_however_slowly_it_is_read(shared: Path) -> None:
    entry = camera(shared / "media" / "walkers_gallery.mp4")
    run = Run(entry, Sources(queue=2))
    counters = run.reader.counters
    assert [frame.index for frame in run.frames] == list(range(235))
    assert (counters.decoded, counters.skipped, counters.delivered, counters.corrupt) == (235, 0, 235, 0)
    assert run.reader.queue.dropped == 0
    assert [change.state for change in run.changes] == [State.ONLINE, State.ENDED]
    assert run.frames[0].image.shape == (854, 480, 3)
    assert np.allclose(np.diff([frame.time_ns for frame in run.frames]), SECOND_NS / 30, atol=2e6)


def test_the_analysis_rate_skips_and_counts(shared: Path) -> None:
    run = Run(camera(shared / "media" / "walkers_gallery.mp4", fps=10))
    assert len(run.frames) in (78, 79)
    assert run.reader.counters.skipped == 235 - len(run.frames)


def test_a_files_times_come_from_its_entry_then_its_metadata_then_the_disk(
    shared: Path, tmp_path: Path
) -> None:
    video = shared / "media" / "walkers_gallery.mp4"
    told = read_all(create_source(camera(video, start_time="2026-03-02T08:00:00+01:00"), Sources()))
    assert datetime.fromtimestamp(told[0].time_ns / SECOND_NS, UTC) == datetime(2026, 3, 2, 7, tzinfo=UTC)
    own = read_all(create_source(camera(video), Sources()))
    assert datetime.fromtimestamp(own[0].time_ns / SECOND_NS, UTC) == datetime(
        2023, 5, 11, 11, 15, 29, tzinfo=UTC
    )
    plain = encode(tmp_path / "plain.ts", [(64, 48)])
    os.utime(plain, ns=(NOW, NOW))
    last = read_all(create_source(camera(plain), Sources()))[-1]
    assert abs(last.time_ns - NOW) < 3 * SECOND_NS


@pytest.mark.parametrize("container", ["ts", "mkv"])
@pytest.mark.parametrize("start_s", [0, 36000])
def test_a_file_begins_at_its_start_whatever_its_timestamps_begin_with(
    container: str, start_s: int, tmp_path: Path
) -> None:
    """A recorder's files go on counting: the tenth hour's begins with ten hours."""
    path = tmp_path / f"part.{container}"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index, np.uint8), "bgr24")
            frame.pts, frame.time_base = index + 25 * start_s, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    begin = datetime(2026, 3, 2, 8, tzinfo=UTC)
    times = [one.time_ns for one in read_all(create_source(camera(path, start_time=begin), Sources()))]
    assert times == [int(begin.timestamp()) * SECOND_NS + index * SECOND_NS // 25 for index in range(10)]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert read_all(create_source(camera(path, start_time=epoch), Sources()))[0].time_ns == 0


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_pictures_stand_upright_as_their_file_says(turns: int, mirrored: bool, tmp_path: Path) -> None:
    """The matrix of a phone's or a dashboard camera's file, written into one that has none."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32], picture[:24, 32:], picture[24:, :32] = 80, 160, 240
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        file.mux(stream.encode(None))
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns]
    flip = -1 if mirrored else 1  # to the right edge for the left one, and then turned clockwise
    matrix = struct.pack(
        ">9i", flip * cos << 16, flip * sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30
    )
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    data[start : start + len(matrix)] = matrix
    path.write_bytes(data)
    source = create_source(camera(path), Sources())
    source.open()
    try:
        seen = source.read()
        assert seen is not None
        image = seen.to_image()
    finally:
        source.close()
    wanted = np.rot90(picture[:, ::flip], -turns)
    assert image.shape == wanted.shape == (seen.height, seen.width, 3)
    assert np.abs(image.astype(int) - wanted).mean() < 12


def encode_oblong(path: Path, aspect: tuple[int, int], size: tuple[int, int] = (352, 288)) -> Path:
    """A video of a disc, as it looks on pixels of this width and height, which the stream names."""
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    axes = (round(80 * aspect[1] / aspect[0]), 80)
    cv2.ellipse(picture, (width // 2, height // 2), axes, 0, 0, 360, (255, 255, 255), -1)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        for _ in range(3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        file.mux(stream.encode(None))
    return path


def disc_of(run: Run) -> tuple[int, int]:
    """Width and height of what is bright in the first picture."""
    return cv2.boundingRect((run.frames[0].image[:, :, 0] > 128).astype(np.uint8))[2:]  # type: ignore[return-value]


@pytest.mark.parametrize("container", ["mp4", "ts", "mkv", "avi"])
@pytest.mark.parametrize(("aspect", "width"), [((12, 11), 384), ((16, 11), 512), ((10, 11), 320)])
def test_pictures_are_as_wide_as_their_stream_says_they_are_shown(
    container: str, aspect: tuple[int, int], width: int, tmp_path: Path
) -> None:
    run = Run(camera(encode_oblong(tmp_path / f"disc.{container}", aspect)))
    assert run.reader.size == (width, 288)
    assert {frame.image.shape for frame in run.frames} == {(288, width, 3)}
    assert np.allclose(disc_of(run), 161, atol=4)
    low = Run(camera(encode_oblong(tmp_path / f"low.{container}", aspect), max_height=144))
    assert low.frames[0].image.shape == (144, width // 2, 3)
    assert low.reader.size == (width // 2, 144)


def test_a_camera_may_be_told_the_shape_of_its_pixels(tmp_path: Path) -> None:
    """Where the stream says nothing, or something wrong; pictures in a folder never say it."""
    silent = encode_oblong(tmp_path / "silent.mp4", (1, 1))
    assert Run(camera(silent, pixel_aspect="2:1")).frames[0].image.shape == (288, 704, 3)
    wrong = encode_oblong(tmp_path / "wrong.mp4", (16, 11))
    assert Run(camera(wrong, pixel_aspect="1:1")).frames[0].image.shape == (288, 352, 3)
    (tmp_path / "folder").mkdir()
    cv2.imwrite(str(tmp_path / "folder" / "1.png"), np.zeros((288, 352, 3), np.uint8))
    assert Run(camera(tmp_path / "folder", pixel_aspect="12:11")).frames[0].image.shape == (288, 384, 3)


def test_pictures_keep_their_pace_where_the_container_has_no_times_of_showing(tmp_path: Path) -> None:
    """An AVI file whose pictures are coded in another order than they are shown."""
    path = tmp_path / "recorder.avi"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"bf": "3", "b_strategy": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(100):
            file.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), index, np.uint8), "bgr24"))
            )
        file.mux(stream.encode(None))
    times = np.array([picture.time_ns for picture in read_all(create_source(camera(path), Sources()))])
    assert len(times) == 100
    assert abs(times[-1] - times[0] - 99 * SECOND_NS // 25) < SECOND_NS // 5
    assert np.allclose(np.diff(times)[10:-10], SECOND_NS / 25)


def test_times_of_decoding_count_only_while_those_of_showing_go_to_and_fro() -> None:
    order = ShowingOrder()
    assert [order.time_of(*one) for one in [(0, 0), (2, 1), (1, 2), (4, 3), (3, 4)]] == [0, 2, 2, 3, 4]
    joined = ShowingOrder()
    assert [joined.time_of(*one) for one in [(5, 4), (6, 5), (0, 0), (1, 0)]] == [5, 6, 0, 1]
    assert [ShowingOrder().time_of(*one) for one in [(None, 3), (7, None), (None, None)]] == [3, 7, None]


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("high", [None, 96])
def test_what_moves_in_interlaced_pictures_has_no_combs(high: int | None, told: bool, tmp_path: Path) -> None:
    """A bar that moves by 8 pixels from half picture to half picture, before stripes that stand."""
    path = tmp_path / "interlaced.ts"
    options = {"qmax": "2"} | ({"flags": "+ildct+ilme"} if told else {})
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg2video", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 256, 192, "yuv420p", 20_000_000
        for index in range(5):
            picture = np.zeros((192, 256, 3), np.uint8)
            picture[96:, ::32] = picture[100:104] = 200
            for field in range(2):
                left = 20 + 8 * (2 * index + field)
                picture[field:96:2, left : left + 40] = 200
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        file.mux(stream.encode(None))
    entry = camera(path, max_height=high, interlaced=None if told else True)
    seen = [frame.image[:, :, 1].astype(int) for frame in Run(entry).frames]
    assert len(seen) == 5
    for image in seen:
        moving = image[4 : image.shape[0] // 2 - 4]
        assert np.abs(np.diff(moving, axis=0)).max() < 40
        assert np.ptp(moving, axis=1).min() > 150
    if high is None:
        assert seen[-1][100:104, 5:27].min() > 150
        assert seen[-1][106:110, 5:27].max() < 60
        stored = Run(camera(path, interlaced=False)).frames[0].image[4:92, :, 1].astype(int)
        assert np.abs(np.diff(stored, axis=0)).max() > 150


def test_a_picture_larger_than_any_interlaced_one_is_scaled_as_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it says of itself: at full size it would take any amount of memory."""
    path = tmp_path / "interlaced.ts"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg2video", rate=25, options={"flags": "+ildct+ilme"})
        stream.width, stream.height, stream.pix_fmt = 256, 192, "yuv420p"
        file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((192, 256, 3), np.uint8), "bgr24")))
        file.mux(stream.encode(None))
    smoothed: list[tuple[int, ...]] = []
    monkeypatch.setattr(video, "smooth_combs", lambda image: smoothed.append(image.shape))
    assert Run(camera(path, max_height=96)).frames[0].image.shape == (96, 128, 3)
    assert smoothed == [(192, 256, 3)]
    monkeypatch.setattr(video, "LARGEST", 1000)
    assert Run(camera(path, max_height=96)).frames[0].image.shape == (96, 128, 3)
    assert len(smoothed) == 1


@pytest.mark.parametrize("aspect", [(1280, 1281), (1, 100)])
def test_pixels_that_are_nearly_square_or_of_a_shape_that_none_have_are_left_alone(
    aspect: tuple[int, int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(camera(encode_oblong(tmp_path / "disc.mp4", aspect)))
    assert run.frames[0].image.shape == (288, 352, 3)
    assert ("pixels are 1:100, which no camera has" in caplog.text) == (aspect == (1, 100))


def test_regions_without_a_size_of_their_own_are_told_of_where_pixels_are_not_square(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    video, corners = encode_oblong(tmp_path / "disc.mp4", (12, 11)), [[0, 0], [300, 0], [300, 200]]
    Run(camera(video, regions=[corners]))
    assert "regions are taken in pixels of 384 x 288; if they were drawn on 352 x 288" in caplog.text
    caplog.clear()
    Run(camera(video, regions=[corners], region_size=[352, 288]))
    assert "regions" not in caplog.text


def test_a_change_of_resolution_inside_a_file_is_followed(tmp_path: Path) -> None:
    run = Run(camera(encode(tmp_path / "two.ts", [(64, 48), (96, 64)])))
    assert {frame.image.shape for frame in run.frames} == {(48, 64, 3), (64, 96, 3)}
    assert len(run.frames) >= 18
    assert run.reader.state is State.ENDED


def test_a_picture_that_nobody_holds_is_gone_at_once(tmp_path: Path) -> None:
    def are_there() -> int:
        return sum(isinstance(one, av.VideoFrame) for one in gc.get_objects())

    source = VideoSource(camera(encode(tmp_path / "a.ts", [(320, 240)], frames=40)), Sources())
    source.open()
    gc.disable()  # else what waits for it would depend on when it runs
    try:
        before = are_there()
        while (picture := source.read()) is not None:
            picture.to_image()
        assert are_there() - before <= 2
    finally:
        gc.enable()
        source.close()


def test_corrupt_packets_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    path = encode(tmp_path / "torn.ts", [(320, 240)], frames=60)
    data = bytearray(path.read_bytes())
    random = np.random.default_rng(3)
    for start in random.integers(2000, len(data) - 200, 25):
        data[start : start + 40] = random.bytes(40)
    path.write_bytes(data)
    run = Run(camera(path))
    assert run.reader.counters.corrupt > 0
    assert len(run.frames) > 20
    assert run.reader.state is State.ENDED


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.mp4", None, "no such file; give a video or a folder of images that exists"),
        ("empty.mp4", b"", "the file is empty; record or copy it again"),
        ("text.mp4", b"this is no video at all\n" * 100, "FFmpeg can read; give a video such as .mp4"),
    ],
)
def test_what_is_no_video_says_so_and_is_not_tried_again(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    run = Run(camera(tmp_path / name))
    assert run.reader.state is State.FAILED
    assert message in run.reader.reason
    assert name in run.reader.reason
    assert run.reader.counters.reconnects == 0


def test_sound_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(SourceError, match="holds no video stream"):
        create_source(camera(path), Sources()).open()


DAY_NS = 24 * 3600 * SECOND_NS


@pytest.mark.parametrize(
    ("shift_s", "days"),
    [
        (9000 * 365 * 86400, 0.0),
        (30 * 86400, 0.0),
        (9 * 3600, 9 / 24),  # a camera that records motion alone was quiet overnight
    ],
)
def test_timestamps_that_leap_beyond_reason_go_on_one_frame_after_the_last(
    tmp_path: Path, shift_s: int, days: float, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "leap.nut"
    with av.open(str(path), "w", format="nut") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for index in range(40):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index, np.uint8), "bgr24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            for packet in stream.encode(frame):
                packet.pts = packet.dts = index + (10 * shift_s if index >= 10 else 0)
                packet.time_base = Fraction(1, 10)
                container.mux(packet)
    run = Run(camera(path))
    times = [frame.time_ns for frame in run.frames]
    assert len(times) == 40
    assert all(one < after for one, after in itertools.pairwise(times))
    assert abs(times[-1] - times[0] - (39 * SECOND_NS // 10 + days * DAY_NS)) < SECOND_NS
    assert is_plausible(times[0])
    assert run.reader.counters.corrupt == (days == 0.0)
    assert caplog.text.count("its timestamps leap") == (days == 0.0)


@pytest.mark.parametrize(
    ("kind", "late_s"),
    [("repeated", 0.11), ("to and fro", 0.11), ("all alike", 0.0)],
)
def test_pictures_of_one_time_make_no_recording_longer(kind: str, late_s: float, tmp_path: Path) -> None:
    """As recorders write them that take the time of arrival: a file's end is where its timestamps say."""
    times = np.arange(100) * 100
    if kind == "repeated":
        times[5::5] = times[4:-1:5]
    elif kind == "to and fro":
        times[5::5] -= 150
    else:
        times[:] = 0
    path = tmp_path / "uneven.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for index in range(100):
            image = np.full((48, 64, 3), index, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")):
                packet.pts, packet.dts = int(times[index]), index - 20_000
                packet.time_base = Fraction(1, 1000)
                container.mux(packet)
    run = Run(camera(path))
    found = np.array([frame.time_ns for frame in run.frames])
    assert len(found) == 100
    assert np.diff(found).min() > 0
    wanted = np.arange(100) * 0.1 if kind == "all alike" else times / 1000
    seconds = (found - found[0]) / SECOND_NS
    assert np.abs(seconds - wanted).max() < late_s + 0.001
    assert run.reader.counters.corrupt == 0


@pytest.mark.parametrize("rate", [10, 50, 120])
@pytest.mark.parametrize(("codec", "container"), [("libx264", "h264"), ("libx265", "hevc")])
def test_a_bare_stream_goes_at_the_rate_that_it_says(
    codec: Literal["libx264", "libx265"], container: str, rate: int, tmp_path: Path
) -> None:
    """Such files hold no timestamps, and FFmpeg plays them at 25 pictures a second unless it is told."""
    path = tmp_path / f"camera.{container}"
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(20):
            image = np.full((48, 64, 3), index, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        file.mux(stream.encode(None))
    times = [picture.time_ns for picture in read_all(create_source(camera(path), Sources()))]
    assert np.allclose(np.diff(times), SECOND_NS / rate, atol=1000)


def test_the_largest_video_stream_is_read_and_never_a_cover_picture(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = []
        for width, height in ((64, 48), (160, 120), (96, 64)):
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            streams.append(stream)
        for index in range(5):
            for stream in streams:
                image = np.zeros((stream.height, stream.width, 3), np.uint8)
                frame = av.VideoFrame.from_ndarray(image, "bgr24")
                frame.pts, frame.time_base = index, Fraction(1, 10)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    run = Run(camera(path))
    assert {frame.image.shape for frame in run.frames} == {(120, 160, 3)}
    cover, film = (SimpleNamespace(width=w, height=h, disposition=d) for w, h, d in COVER_AND_FILM)
    both: Any = SimpleNamespace(streams=SimpleNamespace(video=[cover, film]))
    best: Any = best_stream(both)
    assert best is film


COVER_AND_FILM = (3000, 3000, Disposition.attached_pic | Disposition.default), (640, 360, Disposition.default)


def test_a_device_that_is_not_there_is_called_a_device() -> None:
    with pytest.raises(SourceError, match=r"^/dev/video77: no such device; plug it in, or give one that 'ls"):
        create_source(camera("/dev/video77"), Sources()).open()


def test_a_scheme_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"scheme 'gopher' is unknown; allowed: synth, rtsp"):
        create_source(camera("gopher://user:pass@h/x"), Sources())


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_host_name_that_is_not_found_is_named_without_credentials(scheme: str) -> None:
    source = create_source(camera(f"{scheme}://viewer:battery-staple@nobody.invalid/x.mp4"), Sources())
    with pytest.raises(SourceError, match=r"the host name nobody\.invalid was not found; check") as caught:
        source.open()
    assert "battery" not in str(caught.value)
    assert "viewer" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("rtsp://u:p@nobody.invalid:554/1", "nobody.invalid"),
        ("rtsp://127.0.0.1/1", ""),
        ("rtsp://[::1]:554/1", ""),
        ("rtsp://[gate/1", ""),
        ("rtsp://" + "a" * 70 + "/1", ""),
    ],
)
def test_only_names_without_an_address_are_unknown(url: str, host: str) -> None:
    assert unknown_host(url) == host


def test_a_refused_connection_is_tried_again_without_credentials_in_sight() -> None:
    changes: list[StateChange] = []
    came = threading.Event()
    entry = camera("rtsp://viewer:battery-staple@127.0.0.1:1/x")
    quick = Sources(backoff_min_s=0.01, backoff_max_s=0.02)

    def note(change: StateChange) -> None:
        changes.append(change)
        came.set()

    reader = CameraReader(entry, quick, on_state=note)
    reader.start()
    assert came.wait(HANGS_S)
    deadline = time.monotonic() + HANGS_S
    while reader.counters.reconnects < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    reader.stop()
    assert reader.join(HANGS_S)
    assert reader.counters.reconnects >= 3
    assert [change.state for change in changes] == [State.OFFLINE]
    assert "Connection refused" in changes[0].reason
    assert "battery" not in changes[0].reason
    assert "viewer" not in changes[0].reason


def test_a_folder_of_images_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    import cv2

    for index in (10, 9, 1):
        cv2.imwrite(str(tmp_path / f"frame{index}.png"), np.full((8, 8, 3), index, np.uint8))
    (tmp_path / "frame2.png").write_bytes(b"torn")
    (tmp_path / "frame3.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not an image")
    run = Run(camera(tmp_path))
    assert [int(frame.image[0, 0, 0]) for frame in run.frames] == [1, 9, 10]
    assert run.reader.counters.corrupt == 2


def test_superscripts_in_the_names_of_images_are_no_numbers(tmp_path: Path) -> None:
    for index, name in enumerate(("10m²2.png", "10m²10.png", "²7.png")):
        written = cv2.imencode(".png", np.full((8, 8, 3), index, np.uint8))[1]
        (tmp_path / name).write_bytes(written.tobytes())
    run = Run(camera(tmp_path))
    assert [int(frame.image[0, 0, 0]) for frame in run.frames] == [2, 0, 1], run.reader.reason


def test_high_pictures_are_scaled_down_whatever_they_come_from(tmp_path: Path) -> None:
    video = encode(tmp_path / "a.mp4", [(640, 360)])
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((360, 640, 3), 40, np.uint8))
    for url in (video, folder, "synth://plaza?camera=1&people=1&seconds=0.2"):
        run = Run(camera(str(url), max_height=90))
        sizes = {frame.image.shape for frame in run.frames}
        assert sizes == {(90, 160, 3)}, url
        assert run.reader.size == (160, 90)
    low = Run(camera(video, max_height=720))
    assert {frame.image.shape for frame in low.frames} == {(360, 640, 3)}


def test_a_picture_that_is_too_large_is_refused_unless_it_is_scaled_down(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((8000, 9000), np.uint8))
    [change] = Run(camera(tmp_path)).changes
    assert change.state is State.FAILED
    assert "9000 x 8000 pixels, of at most 67 million; set max_height" in change.reason
    assert [frame.image.shape for frame in Run(camera(tmp_path, max_height=80)).frames] == [(80, 90, 3)]


def test_a_real_video_is_scaled_as_it_is_decoded(shared: Path) -> None:
    entry = camera(shared / "media" / "walkers_gallery.mp4", max_height=427)
    [picture, *_] = read_all(create_source(entry, Sources()))
    image = picture.to_image()
    assert image.shape == (427, 240, 3)
    whole = read_all(create_source(camera(shared / "media" / "walkers_gallery.mp4"), Sources()))[0].to_image()
    assert np.abs(image.astype(int) - scale_down(whole, 427)).mean() < 2.0


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no image; known are \.jpg"):
        create_source(camera(tmp_path), Sources()).open()


def test_a_folder_in_which_nothing_can_be_decoded_has_failed(tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / f"{index}.jpg").write_bytes(b"no picture")
    run = Run(camera(tmp_path))
    assert run.reader.state is State.FAILED
    assert "none of its 3 images can be decoded" in run.reader.reason
    assert run.reader.counters.corrupt == 3
    assert not run.frames
    cv2.imwrite(str(tmp_path / "9.png"), np.zeros((48, 64, 3), np.uint8))
    run = Run(camera(tmp_path))
    assert run.reader.state is State.ENDED
    assert len(run.frames) == 1


def test_the_synthetic_world_is_a_camera() -> None:
    pictures = read_all(create_source(camera("synth://plaza?seconds=0.4&fps=10"), Sources()))
    assert len(pictures) == 4
    image = pictures[0].to_image()
    assert image.shape == (pictures[0].height, pictures[0].width, 3)
    assert np.allclose(np.diff([picture.time_ns for picture in pictures]), SECOND_NS / 10, atol=10)


def test_real_time_paces_a_file(tmp_path: Path) -> None:
    path = encode(tmp_path / "paced.ts", [(64, 48)], frames=8, fps=20)
    started = time.monotonic()
    assert len(Run(camera(path), realtime=True).frames) == 8
    assert time.monotonic() - started >= 7 / 20 - 0.01


def test_a_looped_file_goes_on_with_rising_times(tmp_path: Path) -> None:
    path = encode(tmp_path / "loop.ts", [(64, 48)])
    reader = CameraReader(camera(path, loop=True), Sources())
    reader.start()
    frames: list[Frame] = []
    while len(frames) < 25:
        frame = reader.get(HANGS_S)
        assert frame is not None
        frames.append(frame)
    reader.stop()
    assert reader.join(HANGS_S)
    assert (np.diff([frame.time_ns for frame in frames]) > 0).all()
    assert reader.counters.reconnects == 0


class Scripted:
    """A live camera that plays a script: numbers are pictures, errors are raised, callables are run."""

    def __init__(self, steps: Iterator[object]) -> None:
        self.live = True
        self.corrupt = 0
        self._steps = steps
        self._time_ns = NOW

    def open(self) -> None: ...

    def close(self) -> None: ...

    def read(self) -> Picture | None:
        step = next(self._steps, None)
        if isinstance(step, Exception):
            raise step
        if callable(step):
            step()
        if step is None:
            self.live = False
            return None
        self._time_ns += SECOND_NS // 20
        return Picture(self._time_ns, 4, 4, lambda: np.zeros((4, 4, 3), np.uint8))


def scripted(*steps: object) -> Callable[[Camera, Sources], Source]:
    script = iter(steps)
    return lambda entry, sources: Scripted(script)


def test_a_live_camera_drops_the_oldest_and_counts_it() -> None:
    reader = CameraReader(camera("rtsp://h/x"), Sources(queue=3), factory=scripted(*range(10)))
    reader.start()
    assert reader.join(HANGS_S)
    kept = [frame.index for frame in iter(reader.get, None)]
    assert kept == [7, 8, 9]
    assert reader.queue.dropped == 7
    assert reader.counters.delivered == 10


def test_every_fault_is_reported_once_and_survived() -> None:
    faults = [SourceError("rtsp://u:secret@h/x: broke off"), SourceError("rtsp://u:secret@h/x: broke off")]
    script = scripted(1, faults[0], faults[1], 2, 3)
    run = Run(
        camera("rtsp://u:secret@h/x"),
        Sources(backoff_min_s=0.001, backoff_max_s=0.001),
        factory=script,
    )
    assert [(change.state, change.reason) for change in run.changes] == [
        (State.ONLINE, ""),
        (State.OFFLINE, "rtsp://***@h/x: broke off"),
        (State.ONLINE, ""),
        (State.ENDED, ""),
    ]
    assert run.reader.counters.reconnects == 2


def test_a_driver_that_hangs_is_noticed_from_outside() -> None:
    gate = threading.Event()
    changes: list[StateChange] = []
    reader = CameraReader(
        camera("/dev/video9"),
        Sources(stall_s=0.01),
        factory=scripted(1, lambda: gate.wait(2 * HANGS_S)),
        on_state=changes.append,
    )
    reader.start()
    assert reader.get(HANGS_S) is not None
    deadline = time.monotonic() + HANGS_S
    while reader.state is State.ONLINE and time.monotonic() < deadline:
        reader.watch()
        time.sleep(0.05)
    assert "its driver hangs" in changes[-1].reason
    gate.set()
    assert reader.join(HANGS_S)
    assert changes[-2].state is State.ONLINE


def test_a_reader_that_was_stopped_says_no_more_how_it_is() -> None:
    changes: list[StateChange] = []
    waits, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        waits.set()
        assert go_on.wait(HANGS_S)
        raise SourceError("nothing came for 10 s")

    reader = CameraReader(
        camera("rtsp://camera/1"), Sources(), on_state=changes.append, factory=scripted(1, hang)
    )
    reader.start()
    assert waits.wait(HANGS_S)
    reader.stop()
    go_on.set()
    assert reader.join(HANGS_S)
    assert [change.state for change in changes] == [State.ONLINE]


def test_stopping_frees_a_file_reader_that_waits_for_room(tmp_path: Path) -> None:
    reader = CameraReader(camera(encode(tmp_path / "a.ts", [(64, 48)], frames=30)), Sources(queue=1))
    reader.start()
    assert reader.get(HANGS_S) is not None
    reader.stop()
    assert reader.join(HANGS_S)


def test_a_queue_keeps_order_and_says_when_it_is_closed() -> None:
    calls: list[int] = []
    queue = FrameQueue(2, notify=lambda: calls.append(1))
    frames = [Frame("a", index, index, np.zeros((1, 1, 3), np.uint8)) for index in range(3)]
    assert all(queue.put(frame, live=True) for frame in frames)
    assert (len(queue), queue.dropped, len(calls)) == (2, 1, 3)
    queue.close()
    assert not queue.put(frames[0], live=False)
    assert [frame.index for frame in iter(queue.get, None)] == [1, 2]


def test_waits_grow_to_their_bound_and_are_shortened_by_chance() -> None:
    full = Backoff(0.5, 3.0, lambda: 0.0)
    assert [full.next() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    full.reset()
    assert full.next() == 0.5
    short = Backoff(0.5, 3.0, lambda: 1.0)
    assert short.next() == pytest.approx(0.35)
    assert Backoff(0.5, 3.0).next() <= 0.5
    endless = Backoff(0.5, 3.0, lambda: 0.0)
    assert [endless.next() for _ in range(3000)][-1] == 3.0


@pytest.mark.parametrize(
    ("source_fps", "fps"), [(30, 15), (25, 15), (29.97, 10), (15, 15), (10, 15), (30, 7.5)]
)
def test_the_rate_gate_is_exact_on_average(source_fps: float, fps: float) -> None:
    gate = RateGate(fps)
    kept = sum(gate.due(NOW + round(index * SECOND_NS / source_fps)) for index in range(int(source_fps * 20)))
    assert kept == pytest.approx(20 * min(fps, source_fps), abs=2)


def test_the_rate_gate_survives_a_clock_that_goes_back() -> None:
    gate = RateGate(10)
    assert gate.due(NOW)
    assert gate.due(NOW - 3600 * SECOND_NS)
    assert not gate.due(NOW - 3600 * SECOND_NS + SECOND_NS // 50)
    assert RateGate(None).due(NOW)


def test_the_least_delayed_frame_sets_the_clock() -> None:
    clock = CaptureClock()
    delays = [0.30, 0.05, 0.40, 0.05, 0.20] * 3
    stamps = [
        clock.stamp(index * SECOND_NS // 10, NOW + index * SECOND_NS // 10 + int(delay * SECOND_NS))
        for index, delay in enumerate(delays)
    ]
    assert (np.diff(stamps) > 0).all()
    assert stamps[-1] - NOW == pytest.approx(1.45 * SECOND_NS, abs=3e6)


def test_the_clock_follows_drift_and_a_stream_that_starts_anew() -> None:
    clock = CaptureClock()
    for second in range(600):
        stamp = clock.stamp(int(second * SECOND_NS * 0.9998), NOW + second * SECOND_NS)
    assert stamp - NOW == pytest.approx(599 * SECOND_NS, abs=5e6)
    again = clock.stamp(0, NOW + 700 * SECOND_NS)
    assert again - NOW == pytest.approx(700 * SECOND_NS, abs=5e6)


def test_the_senders_clock_wins_when_it_is_believable() -> None:
    clock = CaptureClock()
    arrival = NOW + SECOND_NS // 2
    clock.stamp(0, arrival)
    before = clock.from_sender
    clock.sender_report(0, NOW + SECOND_NS // 4, arrival)
    assert clock.stamp(SECOND_NS, arrival + SECOND_NS) == NOW + SECOND_NS + SECOND_NS // 4
    assert (before, clock.from_sender) == (False, True)
    clock.sender_report(2 * SECOND_NS, NOW - 3600 * SECOND_NS, arrival + 2 * SECOND_NS)
    clock.stamp(2 * SECOND_NS, arrival + 2 * SECOND_NS)
    assert not clock.from_sender


def test_a_password_with_odd_letters_reaches_the_decoder_as_written() -> None:
    assert camera("rtsp://u:p%40%3A@h/x").url == SecretUrl("rtsp://u:p%40%3A@h/x")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address it is served at; `/locked/` needs credentials."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/locked/"):
                self.send_error(401)
            else:
                super().do_GET()

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield tmp_path, f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_on_the_web_is_read_like_one_on_the_disk(web: tuple[Path, str]) -> None:
    folder, address = web
    source = encode(folder / "source.ts", [(64, 48)])
    with av.open(str(source)) as read, av.open(str(folder / "clip.mp4"), "w") as write:
        stream = write.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                write.mux(packet)
    run = Run(camera(f"http://{address}/clip.mp4"))
    assert len(run.frames) == 10
    assert run.reader.state is State.ENDED


def test_an_hls_recording_is_read_across_its_segments(web: tuple[Path, str]) -> None:
    folder, address = web
    for index in range(2):
        encode(folder / f"part{index}.ts", [(64, 48)])
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", "#EXT-X-MEDIA-SEQUENCE:0"]
    for index in range(2):
        lines += ["#EXT-X-DISCONTINUITY"] * index + ["#EXTINF:1.0,", f"part{index}.ts"]
    (folder / "index.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    run = Run(camera(f"http://{address}/index.m3u8"))
    assert len(run.frames) == 20
    assert (np.diff([frame.time_ns for frame in run.frames]) > 0).all()
    assert run.reader.state is State.ENDED


def test_pictures_without_times_of_their_own_have_those_of_their_arrival(web: tuple[Path, str]) -> None:
    """A web camera at 8 pictures a second: FFmpeg supposes 25, and is five seconds behind after seven."""
    folder, address = web
    parts = []
    for level in range(60):
        _, coded = cv2.imencode(".jpg", np.full((48, 64, 3), level, np.uint8))
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(coded)}\r\n\r\n"
        parts.append(head.encode() + coded.tobytes() + b"\r\n")
    (folder / "video.mjpg").write_bytes(b"".join(parts))
    arrivals = itertools.count(SECOND_NS, SECOND_NS // 8)
    now = [0]

    def steady_ns() -> int:
        now[0] = next(arrivals)
        return now[0]

    source = VideoSource(
        camera(f"http://{address}/video.mjpg"), Sources(), clock_ns=lambda: NOW + now[0], steady_ns=steady_ns
    )
    source.open()
    try:
        assert source.live
        times = [picture.time_ns for picture in itertools.islice(iter(source.read, None), 50)]
    finally:
        source.close()
    assert times == [NOW + SECOND_NS + index * SECOND_NS // 8 for index in range(50)]


def test_the_webs_refusals_are_told_apart(web: tuple[Path, str]) -> None:
    _, address = web
    for path, error, text in (
        ("locked/a.mp4", CameraRefusedError, "refused the user name or password"),
        ("none.mp4", SourceError, "cannot be opened"),
    ):
        source = create_source(camera(f"http://me:battery-staple@{address}/{path}"), Sources())
        with pytest.raises(error, match=text) as caught:
            source.open()
        assert "battery" not in str(caught.value)


def test_the_address_of_a_snapshot_is_told_from_that_of_a_video(web: tuple[Path, str]) -> None:
    folder, address = web
    cv2.imwrite(str(folder / "snapshot.jpg"), np.zeros((48, 64, 3), np.uint8))
    source = create_source(camera(f"http://me:battery-staple@{address}/snapshot.jpg"), Sources())
    source.open()
    try:
        assert source.read() is not None
        with pytest.raises(
            SourceError, match="ended after one picture; give the address of the camera's video"
        ):
            source.read()
    finally:
        source.close()

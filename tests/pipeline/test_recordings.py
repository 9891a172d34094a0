"""Recordings as they come: cut off, damaged, counting on; what is missing of them is said."""

from __future__ import annotations

import os
import re
import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from gaitstream.config.camera_sections import Sources
from gaitstream.deepstream.spec import start_of
from gaitstream.errors import SourceError
from gaitstream.pipeline.source import CameraReader, State, create_source
from gaitstream.pipeline.source.clock import SECOND_NS
from tests.pipeline.test_source import HANGS_S, NOW, Run, camera, read_all


def test_a_file_that_counts_on_began_when_it_was_written_minus_its_own_length(tmp_path: Path) -> None:
    """Matroska's length counts from zero: ten hours and two seconds of a file of two seconds."""
    path = tmp_path / "part.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index, np.uint8), "bgr24")
            frame.pts, frame.time_base = index + 360_000, Fraction(1, 10)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    os.utime(path, ns=(NOW, NOW))
    first = read_all(create_source(camera(path), Sources()))[0]
    assert abs(first.time_ns - (NOW - 2 * SECOND_NS)) < SECOND_NS
    assert start_of(camera(path)) == first.time_ns, "DeepStream has another time"


def encode_noise(path: Path, bframes: int = 0, options: dict[str, str] | None = None) -> Path:
    """Four seconds whose every part of the file holds some of the pictures."""
    random = np.random.default_rng(1)
    with av.open(str(path), "w", options=options) as file:
        stream = file.add_stream("libx264", rate=10, options={"x264-params": f"keyint=10:bframes={bframes}"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(40):
            image = random.integers(0, 255, (48, 64, 3), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", ["whole.mp4", "whole.mkv", "whole.avi", "whole.flv", "whole.ts"])
def test_nothing_is_said_of_a_file_that_is_whole(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(camera(encode_noise(tmp_path / name)))
    assert len(run.frames) == 40
    assert not caplog.records


@pytest.mark.parametrize("name", ["copied.mkv", "copied.flv", "copied.mp4"])
def test_of_a_file_that_was_cut_off_it_is_said_how_much_is_missing(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = encode_noise(tmp_path / name, options={"movflags": "faststart"} if name.endswith("mp4") else None)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    run = Run(camera(path))
    assert 10 < len(run.frames) < 30
    assert run.changes[-1].state is State.ENDED
    missing = re.search(rf"{name} ended ([0-9.]+) s before the length that it states", caplog.text)
    assert missing is not None
    assert abs(float(missing[1]) + len(run.frames) / 10 - 4) < 0.5


def test_of_a_file_that_is_damaged_inside_it_is_said_once_that_pictures_are_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = encode_noise(tmp_path / "worn.mp4", options={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + len(data) // 6] = bytes(len(data) // 6)
    path.write_bytes(data)
    reader = CameraReader(camera(path, loop=True), Sources())
    reader.start()
    for _ in range(100):
        assert reader.get(HANGS_S) is not None
    reader.stop()
    assert reader.join(HANGS_S)
    assert reader.counters.corrupt
    assert caplog.text.count("worn.mp4 is damaged: ") == 1


@pytest.mark.parametrize("name", ["walk.mp4", "walk.mov"])
def test_a_file_without_its_index_is_told_from_one_that_is_no_video(name: str, tmp_path: Path) -> None:
    """As a phone or a recorder leaves it that lost its power, and as it is while it is written."""
    path = encode_noise(tmp_path / name)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match="its index is missing or damaged: it is still being written"):
        create_source(camera(path), Sources()).open()
    path.write_bytes(b"ftyp" + data)
    with pytest.raises(SourceError, match="is not a video that FFmpeg can read"):
        create_source(camera(path), Sources()).open()


def test_what_an_edit_list_leaves_out_counts_nowhere(tmp_path: Path) -> None:
    """A phone's video that was trimmed: the pictures are in the file, and are not part of it."""
    path = encode_noise(tmp_path / "trimmed.mp4", bframes=3)
    data = bytearray(path.read_bytes())
    entry = data.index(b"elst") + 12
    data[entry : entry + 4] = struct.pack(">I", 2000)
    path.write_bytes(data)
    for fps in (None, 1.0):
        counters = Run(camera(path, fps=fps)).reader.counters
        assert counters.decoded == 20


@pytest.mark.parametrize("name", ["12:30:01.mp4", "p%d?x#y.mp4", "a@b c.mp4", "-i.mp4"])
def test_a_file_may_have_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode_noise(tmp_path / "plain.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(Run(camera(name)).frames) == 40


def test_a_picture_whose_name_looks_like_a_pattern_is_that_picture(tmp_path: Path) -> None:
    """FFmpeg would show w001.png and w002.png in its place."""
    for name, grey in (("w001.png", 50), ("w002.png", 100), ("other.png", 200)):
        assert cv2.imwrite(str(tmp_path / name), np.full((48, 64, 3), grey, np.uint8))
    (tmp_path / "other.png").rename(tmp_path / "w%03d.png")
    frames = Run(camera(tmp_path / "w%03d.png")).frames
    assert [int(frame.image.mean()) for frame in frames] == [200]


@pytest.mark.parametrize("kind", ["flv", "mp4", "mov"])
def test_of_joined_videos_it_is_said_that_only_the_first_is_read(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = encode_noise(tmp_path / f"one.{kind}").read_bytes()
    (tmp_path / f"joined.{kind}").write_bytes(data + data)
    assert len(Run(camera(tmp_path / f"joined.{kind}")).frames) == 40
    said = rf"the last 5\d% of \S*joined.{kind} hold no picture .* several recordings"
    assert re.search(said, caplog.text)


def test_an_mp4_file_with_much_behind_its_pictures_is_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Recorders reserve room, and keep notes of their own."""
    path = encode_noise(tmp_path / "one.mp4")
    room = path.stat().st_size
    path.write_bytes(path.read_bytes() + struct.pack(">I4s", room, b"free") + bytes(room - 8))
    assert len(Run(camera(path)).frames) == 40
    assert "several recordings" not in caplog.text


@pytest.mark.parametrize("pmt", ["0x1000", "0x1200"])
def test_pictures_of_a_stream_that_appears_in_the_middle_are_told_of(
    pmt: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Recordings of two recorders, joined: the second's pictures are another stream, or another programme."""
    path = tmp_path / "joined.ts"
    one = encode_noise(tmp_path / "one.ts").read_bytes()
    pids = {"mpegts_start_pid": "0x200", "mpegts_pmt_start_pid": pmt}
    path.write_bytes(one + encode_noise(tmp_path / "two.ts", options=pids).read_bytes())
    run = Run(camera(path))
    assert [change.state for change in run.changes] == [State.ONLINE, State.ENDED]
    assert len(run.frames) == 40
    assert re.search(r"the last (49|50|51)% of \S*joined.ts hold no picture", caplog.text)


@pytest.mark.parametrize("begin_s", [0, 36_000])
@pytest.mark.parametrize("bframes", [0, 2])
def test_pictures_that_share_a_packet_come_one_after_the_other(
    bframes: int, begin_s: int, tmp_path: Path
) -> None:
    """As broadcasters and some recorders pack them: the first one alone of such a packet has a time.

    With a pause of 20 seconds in the middle.
    """
    path, random = tmp_path / "packed.ts", np.random.default_rng(1)
    with av.open(str(path), "w") as file:
        options = {"x264-params": f"keyint=30:bframes={bframes}"}
        stream = file.add_stream("libx264", rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        coded = []
        for index in range(90):
            frame = av.VideoFrame.from_ndarray(random.integers(0, 255, (48, 64, 3), np.uint8), "bgr24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            coded += stream.encode(frame)
        coded += stream.encode(None)
        for start in range(0, 90, 3):
            own = coded[start : start + 3]
            packet = av.Packet(b"".join(map(bytes, own)))
            packet.stream, packet.time_base = stream, own[0].time_base
            later = int((begin_s + (20 if start >= 30 else 0)) / own[0].time_base)
            assert own[0].pts is not None
            assert own[0].dts is not None
            packet.pts, packet.dts = own[0].pts + later, own[0].dts + later
            file.mux(packet)
    times = np.array([picture.time_ns for picture in read_all(create_source(camera(path), Sources()))])
    assert len(times) == 90
    assert abs((times[-1] - times[0]) / SECOND_NS - 28.9) < 0.3
    steps = np.diff(times) / SECOND_NS
    assert np.count_nonzero(steps > 0.25) == 1
    assert steps.min() > 0.04

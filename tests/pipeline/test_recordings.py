"""Recordings as they come: cut off, damaged, counting on; what is missing of them is said."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gaitstream.config.camera_sections import Sources
from gaitstream.deepstream.spec import start_of
from gaitstream.errors import SourceError
from gaitstream.pipeline.source import create_source
from gaitstream.pipeline.source.clock import SECOND_NS
from tests.pipeline.test_source import NOW, camera, read_all


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


def encode_noise(path: Path, **options: str) -> Path:
    """Four seconds whose every part of the file holds some of the pictures."""
    random = np.random.default_rng(1)
    with av.open(str(path), "w", options=options) as file:
        stream = file.add_stream("libx264", rate=10, options={"x264-params": "keyint=10:bframes=0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(40):
            image = random.integers(0, 255, (48, 64, 3), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        file.mux(stream.encode(None))
    return path


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

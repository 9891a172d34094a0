"""Pictures that nobody looks at are not decoded, and everything else stays as it was."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitstream.config.camera_sections import Camera, Sources
from gaitstream.pipeline.source.clock import SECOND_NS, RateGate
from gaitstream.pipeline.source.reader import CameraReader
from gaitstream.pipeline.source.sparing import Sparing


def write(path: Path, frames: int = 60, between: int = 3, times: list[int] | None = None) -> Path:
    """An H.264 video at 30 frames a second with so many pictures between those that others are made from."""
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 255, (96, 160, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.time_base = Fraction(1, 30)
        stream.options = {"bf": str(between), "b-adapt": "0", "b-pyramid": "none"}
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(scene, 2 * number, 1), "bgr24")
            frame.pts, frame.time_base = number if times is None else times[number], Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read(
    path: Path, fps: float | None, *, sparing: bool
) -> tuple[CameraReader, list[tuple[int, int, bytes]]]:
    """A reader that came to the video's end, and its frames: index, time and pixels."""
    camera = Camera(id="a", url=str(path), fps=fps)  # type: ignore[arg-type]
    reader = CameraReader(camera, Sources(queue=256))
    if not sparing:
        setattr(reader, "_may_be_due", lambda _time_ns, _spacing_ns: True)  # noqa: B010
    reader.start()
    frames = []
    while (frame := reader.get(5.0)) is not None:
        frames.append((frame.index, frame.time_ns, frame.image.tobytes()))
    return reader, frames


@pytest.mark.parametrize("fps", [15, 10, 7, 4, 1])
@pytest.mark.parametrize("between", [0, 3])
def test_the_frames_that_are_due_are_the_same(tmp_path: Path, fps: float, between: int) -> None:
    path = write(tmp_path / "a.mp4", between=between)
    (all_decoded, before), (spared, after) = (read(path, fps, sparing=sparing) for sparing in (False, True))
    assert after == before
    assert spared.counters == all_decoded.counters
    assert spared.counters.decoded == 60


def count_decoded(path: Path, fps: float | None, monkeypatch: pytest.MonkeyPatch) -> int:
    came: list[int | None] = []
    come = Sparing.come

    def note(self: Sparing, pts: int | None, spacing: float) -> int:
        came.append(pts)
        return come(self, pts, spacing)

    monkeypatch.setattr(Sparing, "come", note)
    read(path, fps, sparing=True)
    return len(came)


def test_only_pictures_that_others_are_made_from_are_decoded_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.mp4")
    assert count_decoded(path, None, monkeypatch) == 60
    assert count_decoded(path, 15, monkeypatch) <= 50  # of four pictures the first and the third stay out
    assert count_decoded(path, 3, monkeypatch) <= 40


def test_nothing_is_left_out_of_a_stream_with_uneven_times(tmp_path: Path) -> None:
    times = list(np.cumsum(np.random.default_rng(1).integers(1, 4, 60)))
    path = write(tmp_path / "a.mkv", times=[int(time) for time in times])
    assert read(path, 6, sparing=True)[1] == read(path, 6, sparing=False)[1]


@given(
    st.floats(0.5, 30), st.floats(5, 60), st.floats(-0.04, 0.04), st.integers(1, 6), st.integers(0, 10**12)
)
def test_whatever_will_be_due_may_be_due_before(
    fps: float, rate: float, off: float, ahead: int, begin_ns: int
) -> None:
    gate, spacing_ns = RateGate(fps), int(SECOND_NS / rate)
    times = [begin_ns + n * spacing_ns for n in range(80)]
    may = dict.fromkeys(times[: ahead + 1], True)
    for time_ns, coming_ns in zip(times, times[ahead:], strict=False):
        assert gate.due(time_ns) <= may[time_ns]
        may.setdefault(coming_ns, gate.may_be_due(coming_ns + int(off * spacing_ns), spacing_ns))

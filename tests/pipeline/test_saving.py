"""Saved media: names of the run, modes, playable at any moment, what is kept."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from gaitstream.config.camera_sections import Camera
from gaitstream.config.output_sections import Saving
from gaitstream.config.schema import Config
from gaitstream.config.secret_url import SecretUrl
from gaitstream.data import Decision, Frame, Person, Reason, Status
from gaitstream.errors import ConfigError
from gaitstream.pipeline.enroll import Walk, save_pictures
from gaitstream.pipeline.identify import TrackState
from gaitstream.pipeline.runner import Pipeline
from gaitstream.pipeline.saving import Shelf, TrackletSaver, VideoSaver, folder_name, too_much

NOW_NS = 1_790_000_000 * 10**9
BOX = np.array([10, 10, 40, 100], np.float32)


def frame(index: int, size: tuple[int, int] = (160, 120), second: float | None = None) -> Frame:
    image = np.full((size[1], size[0], 3), index % 250, np.uint8)
    after_s = index / 10 if second is None else second
    return Frame("gate", index, NOW_NS + int(after_s * 1e9), image)


def played(path: Path) -> list[float]:
    """Times of the pictures in a file."""
    with av.open(str(path)) as container:
        return [float(picture.time or 0) for picture in container.decode(video=0)]


def write(folder: Path, frames: list[Frame], rules: Saving | None = None) -> list[Path]:
    saver = VideoSaver(folder, {"gate": 10.0}, rules)
    for one in frames:
        saver.on_frame(one, [], {})
    saver.close()
    return sorted((folder / "gate").iterdir())


def test_pictures_to_choose_from_are_for_their_owner_in_any_folder(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        (tmp_path / "tracks").mkdir()
        walk = Walk(3, pictures=[np.zeros((60, 20, 3), np.uint8)])
        path = save_pictures([walk], tmp_path / "tracks")[3]
    finally:
        os.umask(before)
    assert path.read_bytes()[:2] == b"\xff\xd8"
    assert path.stat().st_mode & 0o777 == 0o600


def test_runs_do_not_touch_each_others_files_and_these_are_for_their_owner(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        [first] = write(tmp_path / "a" / "b", [frame(index) for index in range(20)])
        data = first.read_bytes()
        paths = write(tmp_path / "a" / "b", [frame(index) for index in range(30)])
    finally:
        os.umask(before)
    assert len(paths) == 2
    assert first.read_bytes() == data
    for path in (*paths, tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "gate"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_what_is_saved_is_named_after_the_run_of_the_events(tmp_path: Path) -> None:
    config = Config(cameras=[Camera(id="gate", url=SecretUrl("synth://yard?seconds=1&width=64&height=48"))])
    video_saver, saver = VideoSaver(tmp_path, {}), TrackletSaver(tmp_path, most=1)
    with Pipeline(config, observers=[video_saver, saver], run="0a1b2c3d") as pipeline:
        pipeline.run()
        [video] = (tmp_path / "gate").glob("*.mp4")
    assert video.stem.endswith("Z-0a1b2c3d")
    saver.on_frame(frame(0), [Person("gate", 1, 0, 0, BOX, 1.0)], {})
    saver.on_track_ended(TrackState("gate", 1, 0, 1, BOX), decision("Ada"), "lost")
    [folder] = (tmp_path / "gate").glob("*Z-0a1b2c3d")
    old = tmp_path / "gate" / "20200101T000000Z-0a1b2c.mp4"  # of an earlier version
    old.touch()
    os.utime(old, (1, 1))
    Shelf(tmp_path, Saving(keep_days=1)).sweep()
    assert folder.exists()
    assert not old.exists()


def test_a_video_plays_at_the_pace_of_its_captures(tmp_path: Path) -> None:
    frames = [frame(0, second=0.0), frame(1, second=0.1), frame(2, second=3.0), frame(3, second=3.5)]
    [path] = write(tmp_path, frames)
    assert played(path) == pytest.approx([0.0, 0.1, 3.0, 3.5], abs=0.002)


def test_files_begin_anew_after_their_minutes_at_another_size_and_when_time_goes_back(tmp_path: Path) -> None:
    frames = [frame(index) for index in range(35)]  # 3.5 s in files of 2 s
    frames += [frame(index, (320, 240)) for index in range(35, 40)]
    frames += [frame(40, (320, 240), second=-3600)]
    paths = write(tmp_path, frames, Saving(minutes=2 / 60))
    assert sorted(len(played(path)) for path in paths) == [1, 5, 15, 20]


WRITER = """
import sys, time
import numpy as np
from gaitstream.data import Frame
from gaitstream.pipeline.saving import VideoSaver
saver = VideoSaver(sys.argv[1], {"gate": 10.0})
for index in range(100):
    saver.on_frame(Frame("gate", index, 10**18 + index * 10**8, np.zeros((120, 160, 3), np.uint8)), [], {})
print("written", flush=True)
time.sleep(60)
"""


def test_a_video_plays_while_it_is_written_and_after_sigkill(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    [path] = (tmp_path / "gate").iterdir()
    while_written = len(played(path))
    process.kill()
    process.wait()
    process.stdout.close()
    assert while_written >= 80, "all but the last fragment of two seconds"
    assert len(played(path)) >= while_written


def test_the_bit_rate_is_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = [
        Frame("gate", n, NOW_NS + n * 10**8, rng.integers(0, 255, (240, 320, 3), np.uint8)) for n in range(60)
    ]
    [free] = write(tmp_path / "free", noise)
    [bound] = write(tmp_path / "bound", noise, Saving(bitrate_kbps=200))
    assert bound.stat().st_size * 8 / 6 < 400_000 < free.stat().st_size * 8 / 6


def test_what_is_too_old_or_too_much_goes_the_oldest_first() -> None:
    day = 86_400.0
    saved = [(n * day, 2**29, Path(f"{n}")) for n in (3, 0, 2, 1)]
    assert too_much(saved, Saving(), 4 * day) == []
    assert too_much(saved, Saving(keep_days=2.5), 4 * day) == [Path("0"), Path("1")]
    assert too_much(saved, Saving(most_gib=1.0), 4 * day) == [Path("0"), Path("1")]
    assert too_much(saved, Saving(most_gib=1.6, keep_days=1.5), 4 * day) == [Path("0"), Path("1"), Path("2")]


def test_only_what_gaitstream_saved_is_deleted(tmp_path: Path) -> None:
    [old] = write(tmp_path, [frame(index) for index in range(5)])
    own = tmp_path / "gate" / "holiday.mp4"
    own.write_bytes(b"x" * 10)
    long_ago = time.time() - 10 * 86_400
    for path in (old, own):
        os.utime(path, (long_ago, long_ago))
    paths = write(tmp_path, [frame(index) for index in range(5)], Saving(keep_days=1))
    assert old not in paths
    assert own in paths
    assert len(paths) == 2


def test_a_folder_that_takes_nothing_any_more_stops_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saver = VideoSaver(tmp_path, {"gate": 10.0})
    (tmp_path / "gate").write_text("a file where the folder belongs")
    for index in range(5):
        saver.on_frame(frame(index), [], {})
    saver.close()
    assert caplog.text.count("video is not saved, tried again") == 1
    crops = TrackletSaver(tmp_path)
    crops.on_track_ended(TrackState("gate", 1, 0, 1, BOX), decision("Ada"), "lost")
    assert "track 1 is not saved" in caplog.text
    with pytest.raises(ConfigError, match="cannot be made"):
        VideoSaver(tmp_path / "gate" / "below", {})


def decision(person: str) -> Decision:
    return Decision(
        camera="gate", track=1, time_ns=1, first_ns=0, status=Status.KNOWN, person=person, distance=0.1,
        margin=None, threshold=1.0, frames=30, windows=1, provisional=False, final=True, reason=None, box=BOX,
    )  # fmt: skip


def test_tracks_are_saved_by_run_for_their_owner_whatever_the_name(tmp_path: Path) -> None:
    for name in ("Ada", "a/../../b", "n" * 300, "[/red]\n\x1b[31m", "é" * 200):
        saver = TrackletSaver(tmp_path)
        person = Person("gate", 1, 0, 0, BOX, 1.0)
        saver.on_frame(frame(0), [person, Person("gate", 2, 0, 0, BOX, 1.0, Reason.BLURRED)], {})
        saver.on_track_ended(TrackState("gate", 1, 0, 1, BOX), decision(name), "lost")
        assert len(folder_name(decision(name)).encode()) <= 120
    runs = list((tmp_path / "gate").iterdir())
    assert len(runs) == 5
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 10
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)
    assert all(len(path.relative_to(tmp_path).parts) == 4 for path in files)


def test_a_track_that_finds_no_room_leaves_no_pictures_without_its_decision(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saver = TrackletSaver(tmp_path)
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    saver.on_frame(Frame("gate", 0, NOW_NS, noise), [Person("gate", 1, 0, 0, BOX, 1.0)], {})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        saver.on_track_ended(TrackState("gate", 1, 0, 1, BOX), decision("Ada"), "lost")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "track 1 is not saved" in caplog.text
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

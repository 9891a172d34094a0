"""Tracks: ids of our own, ends, frames between detections, and four real people."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from gaitstream.config.camera_sections import Camera, Sources
from gaitstream.config.secret_url import SecretUrl
from gaitstream.config.track_sections import Tracking
from gaitstream.data import Detections, Person
from gaitstream.models.detector import DetectorModel
from gaitstream.pipeline.cameras import detections_per_s
from gaitstream.pipeline.source import create_source
from gaitstream.pipeline.source.clock import SECOND_NS
from gaitstream.pipeline.track import CameraTracker, Tracked

SIZE = (640, 480)
START = 1_800_000_000 * SECOND_NS
Algorithm = Literal["appearance", "bytetrack", "ocsort", "sort"]
ALGORITHMS: tuple[Algorithm, ...] = ("appearance", "bytetrack", "ocsort", "sort")


def seen(*lefts: float, score: float = 0.9) -> Detections:
    """People of 60 x 200 pixels, by their left edge."""
    boxes = np.array([[left, 100, left + 60, 300] for left in lefts], np.float32).reshape(-1, 4)
    return Detections(boxes, np.full(len(lefts), score, np.float32))


class Walk:
    """Feeds a tracker frames at 10 per second."""

    def __init__(self, camera: str = "a", tracking: Tracking | None = None) -> None:
        self.tracker = CameraTracker(camera, tracking or Tracking(), fps=10)
        self.index = 0
        self.ended: list[int] = []

    def see(self, *lefts: float, size: tuple[int, int] = SIZE, score: float = 0.9) -> tuple[Person, ...]:
        tracked = self.tracker.update(self.index, self._now(), size, seen(*lefts, score=score))
        return self._note(tracked)

    def guess(self, size: tuple[int, int] = SIZE) -> tuple[Person, ...]:
        return self._note(self.tracker.predict(self.index, self._now(), size))

    def _now(self) -> int:
        return START + self.index * SECOND_NS // 10

    def _note(self, tracked: Tracked) -> tuple[Person, ...]:
        self.index += 1
        self.ended += tracked.ended
        return tracked.persons


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_people_keep_their_ids(algorithm: Algorithm) -> None:
    walk = Walk(tracking=Tracking(algorithm=algorithm))
    for step in range(20):
        persons = walk.see(100 + 5 * step, 500 - 5 * step)
    assert [(person.track, float(person.box[0])) for person in persons] == [(1, 195), (2, 405)]
    assert persons[0].camera == "a"
    assert persons[0].time_ns == START + 19 * SECOND_NS // 10


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_cameras_number_their_tracks_apart(algorithm: Algorithm) -> None:
    walks = [Walk(camera, Tracking(algorithm=algorithm)) for camera in ("a", "b")]
    for step in range(10):
        found = [walk.see(100 + 5 * step) for walk in walks]
    assert [persons[0].track for persons in found] == [1, 1]
    for _ in range(30):
        walks[0].see()
    for step in range(10):
        again = walks[0].see(100 + 5 * step)
    assert again[0].track == 2


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_track_ends_once_when_nobody_was_seen_for_long_enough(algorithm: Algorithm) -> None:
    walk = Walk(tracking=Tracking(algorithm=algorithm, lost_s=0.5))
    for step in range(10):
        walk.see(100 + 5 * step)
    missing = 0
    while not walk.ended and missing < 20:
        walk.see()
        missing += 1
    assert walk.ended == [1]
    assert 4 <= missing <= 8
    for _ in range(10):
        walk.see()
    assert walk.ended == [1]


def test_a_short_gap_does_not_end_a_track() -> None:
    walk = Walk()
    for step in range(10):
        walk.see(100 + 5 * step)
    for _ in range(4):
        walk.see()
    for step in range(14, 18):
        persons = walk.see(100 + 5 * step)
    assert [person.track for person in persons] == [1]
    assert walk.ended == []


def test_weak_boxes_start_no_track() -> None:
    walk = Walk(tracking=Tracking(new_track_score=0.6))
    assert [walk.see(100, score=0.5) for _ in range(10)][-1] == ()


def test_between_detections_people_move_on() -> None:
    walk = Walk()
    for step in range(10):
        walk.see(100 + 10 * step)
    (person,) = walk.guess()
    assert person.track == 1
    assert person.box[0] == pytest.approx(200, abs=1)
    assert person.frame_index == 10
    (later,) = walk.guess()
    assert later.box[0] == pytest.approx(210, abs=1)
    assert [p.track for p in walk.see(220)] == [1]


def test_who_was_not_seen_last_is_not_guessed() -> None:
    walk = Walk()
    for step in range(10):
        walk.see(100 + 10 * step, 500)
    walk.see(200)
    assert [person.track for person in walk.guess()] == [1]
    walk.see()
    assert walk.guess() == ()
    assert [person.track for person in walk.see(220)] == [1]


def test_nobody_is_guessed_after_a_time_without_pictures() -> None:
    walk = Walk()
    for step in range(10):
        walk.see(100 + 10 * step)
    walk.index += 9
    assert [person.track for person in walk.guess()] == [1]
    walk.index += 600
    assert walk.guess() == ()


def test_another_resolution_between_detections_ends_every_track() -> None:
    walk = Walk()
    for _ in range(5):
        walk.see(100, 400)
    assert len(walk.guess()) == 2
    assert walk.guess(size=(1280, 720)) == ()
    assert walk.ended == [1, 2]
    walk.see(100, size=(1280, 720))
    assert [person.track for person in walk.see(100, size=(1280, 720))] == [3]


def test_another_resolution_ends_every_track_and_ids_go_on() -> None:
    walk = Walk()
    for _ in range(5):
        walk.see(100, 400)
    walk.see(100, size=(1280, 720))
    assert walk.ended == [1, 2]
    persons = [walk.see(100, size=(1280, 720)) for _ in range(3)][-1]
    assert [person.track for person in persons] == [3]


def test_four_real_people_have_one_track_each(shared: Path) -> None:
    """All four are visible in all 235 frames; left to right they never change places.

    One tracker gets every frame's detections, the other those of every third and predicts in between.
    """
    detector = DetectorModel.load(shared / "models" / "yolox_nano_coco.onnx", threads=2)
    url = SecretUrl(str(shared / "media" / "walkers_gallery.mp4"))
    source = create_source(Camera(id="a", url=url), Sources())
    trackers = {every: CameraTracker("a", Tracking(), fps=30 / every) for every in (1, 3)}
    middles: dict[int, dict[int, list[float]]] = {every: {} for every in trackers}
    source.open()
    index = 0
    while (picture := source.read()) is not None:
        image = picture.to_image()
        (found,) = detector.detect([image])
        for every, tracker in trackers.items():
            tracked = (
                tracker.predict(index, picture.time_ns, image.shape[1::-1])
                if index % every
                else tracker.update(index, picture.time_ns, (picture.width, picture.height), found, image)
            )
            for person in tracked.persons:
                middle = float(person.box[0] + person.box[2]) / 2
                middles[every].setdefault(person.track, []).append(middle)
        index += 1
    source.close()
    detector.close()
    assert index == 235
    for tracks in middles.values():
        four = {track: middle for track, middle in tracks.items() if len(middle) >= 0.8 * index}
        assert len(four) == 4
        assert all(len(middle) < 0.1 * index for track, middle in tracks.items() if track not in four)
        ends = sorted((middle[0], middle[-1]) for middle in four.values())
        assert [last for _, last in ends] == sorted(last for _, last in ends)


@pytest.mark.parametrize(("fps", "every"), [(2, 8), (1, 5), (0.1, 1)])
def test_whoever_is_looked_for_seldom_is_followed(fps: float, every: int) -> None:
    """The next detection comes when it is due, however much later than `lost_s` that is."""
    entry = Camera.model_validate({"id": "a", "url": "synth://plaza", "fps": fps, "detect_every": every})
    tracker = CameraTracker("a", Tracking(), detections_per_s(entry))
    tracks = set()
    for index in range(10):
        found = tracker.update(index * every, START + int(index * every / fps * SECOND_NS), SIZE, seen(100.0))
        assert not found.ended
        tracks |= {person.track for person in found.persons}
    assert tracks == {1}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_another_rate_leaves_lost_tracks_their_seconds(algorithm: Algorithm) -> None:
    """From 10 to 2 frames per second: after one second at most one more frame passes, not ten."""
    tracker = CameraTracker("a", Tracking(algorithm=algorithm, lost_s=1.0), fps=10)
    times = [START + index * SECOND_NS // 10 for index in range(10)]
    for index, time_ns in enumerate(times):
        tracker.update(index, time_ns, SIZE, seen(100.0 + index))
    tracker.adjust(2)
    waited_s = 0.0
    while not tracker.update(99, times[-1] + int(waited_s * SECOND_NS) + SECOND_NS // 2, SIZE, seen()).ended:
        waited_s += 0.5
        assert waited_s <= 3.5
    assert waited_s >= 0.5
    if algorithm != "appearance":
        assert waited_s <= 1.0
        tracker.reset()
        assert tracker._tracker._tracker._frame_rate == 2  # type: ignore[attr-defined]

"""What is left undone: settled tracks, and the least valuable work under load."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitstream.config.camera_sections import Camera
from gaitstream.config.schema import Config
from gaitstream.data import Decision, Detections, Frame, Person, Reason, Status
from gaitstream.pipeline.cameras import CameraStream
from gaitstream.pipeline.gather import Work
from gaitstream.pipeline.latency import EVERYTHING, Urgency
from gaitstream.pipeline.shedding import Share, WorkSelector
from gaitstream.pipeline.source import CameraReader
from gaitstream.pipeline.stillness import StillnessGate
from gaitstream.pipeline.track import CameraTracker
from gaitstream.telemetry.stats import CameraCounters

BLANK = np.zeros((8, 8, 3), np.uint8)


def person(track: int, time_ns: int = 0) -> Person:
    return Person("a", track, 0, time_ns, np.array([0, 0, 40, 120], np.float32), 0.9)


def work(*tracks: int) -> Work:
    return Work(Frame("a", 0, 0, BLANK), tuple(person(track) for track in tracks))


def decided(track: int, who: str | None, windows: int) -> Decision:
    values: dict[str, Any] = dict.fromkeys(Decision.__dataclass_fields__)
    values |= {"camera": "a", "track": track, "person": who, "windows": windows}
    return Decision(**values | {"status": Status.KNOWN if who else Status.UNKNOWN})


def left(works: list[Work]) -> list[int]:
    return [one.track for item in works for one in item.persons if one.rejected is None]


def test_a_settled_track_is_encoded_on_every_kth_frame_and_the_others_say_why() -> None:
    labels = {1: decided(1, "Ada", 1)}
    selector = WorkSelector(lambda _: labels, settled_after=3, settled_every=3)
    assert left(selector.select([work(1)])) == [1]  # named once
    labels[1] = decided(1, "Ada", 3)
    seen = [selector.select([work(1, 2)]) for _ in range(6)]
    assert [left(one) for one in seen] == [[2], [2], [1, 2], [2], [2], [1, 2]]
    assert seen[0][0].persons[0].rejected is Reason.SETTLED


def test_every_second_frame_of_a_track_is_encoded_and_tracks_take_turns() -> None:
    labels = {4: decided(4, "Ada", 9)}
    selector = WorkSelector(lambda _: labels, settled_after=1, settled_every=3, every=2)
    seen = [selector.select([work(1, 2, 3)]) for _ in range(4)]
    assert [left(one) for one in seen] == [[1, 3], [2], [1, 3], [2]]
    assert seen[0][0].persons[1].rejected is Reason.SPACED
    alone = [selector.select([work(4)]) for _ in range(6)]
    assert [left(one) for one in alone] == [[], [], [4], [], [], [4]]
    assert alone[0][0].persons[0].rejected is Reason.SETTLED
    selector.settled_every = 1  # never more often than those who are not settled
    assert [left(selector.select([work(4)])) for _ in range(4)] == [[], [4], [], [4]]


def test_another_name_or_a_new_track_of_the_same_number_is_not_settled() -> None:
    labels = {1: decided(1, "Ada", 3)}
    selector = WorkSelector(lambda _: labels, settled_after=2, settled_every=2)
    selector.select([work(1)])
    labels[1] = decided(1, "Ada", 4)
    assert left(selector.select([work(1)])) == []
    labels[1] = decided(1, "Bo", 5)
    assert left(selector.select([work(1), work(1)])) == [1, 1]
    selector.forget("a", 1)
    labels[1] = decided(1, "Bo", 6)
    assert left(selector.select([work(1)])) == [1]


def shares(**some: float) -> dict[Urgency, float]:
    return dict(EVERYTHING.encoded) | {Urgency[name]: share for name, share in some.items()}


def test_each_urgency_has_a_share_of_its_own() -> None:
    labels = {2: decided(2, None, 1), 3: decided(3, "Cy", 1), 4: decided(4, "Di", 9)}
    selector = WorkSelector(lambda _: labels, settled_after=2)
    selector.select([work(4)])
    labels[4] = decided(4, "Di", 10)
    crowd = [work(4, 3, 2, 1)]
    assert set(left(selector.select(crowd, shares(SETTLED=0.0)))) == {1, 2, 3}
    assert set(left(selector.select(crowd, shares(SETTLED=0.0, NAMED=0.0)))) == {1, 2}
    assert set(left(selector.select(crowd, shares(UNNAMED=0.0)))) == {1, 3, 4}
    nobody = selector.select(crowd, dict.fromkeys(Urgency, 0.0))
    assert [one.rejected for one in nobody[0].persons] == [Reason.OVERLOAD] * 4
    assert selector.wanted == dict.fromkeys(Urgency, 1)


def test_of_two_undecided_the_one_nearest_to_a_window_goes_on() -> None:
    selector = WorkSelector(lambda _: {})
    selector.select([work(7)])
    selector.select([work(7)])
    for _ in range(10):
        assert left(selector.select([work(3, 7)], shares(UNDECIDED=0.5))) == [7]


def test_known_people_take_turns() -> None:
    labels = {track: decided(track, "Ada", 1) for track in (1, 2, 3)}
    selector = WorkSelector(lambda _: labels, settled_after=9)
    seen = [left(selector.select([work(1, 2, 3)], shares(NAMED=1 / 3))) for _ in range(9)]
    assert all(len(one) == 1 for one in seen)
    assert all({track for one in seen[n : n + 3] for track in one} == {1, 2, 3} for n in range(7))


def test_people_already_rejected_stay_as_they_are() -> None:
    selector = WorkSelector(lambda _: {})
    small = Person("a", 1, 0, 0, np.zeros(4, np.float32), 0.9, Reason.TOO_SMALL)
    [out] = selector.select([Work(Frame("a", 0, 0, BLANK), (small, person(2)))], dict.fromkeys(Urgency, 0.0))
    assert [one.rejected for one in out.persons] == [Reason.TOO_SMALL, Reason.OVERLOAD]


@given(st.floats(0, 0.999), st.lists(st.integers(0, 20), min_size=1, max_size=60))
def test_a_share_is_spread_evenly(share: float, counts: list[int]) -> None:
    spread, taken, asked = Share(), 0, 0
    for count in counts:
        one = spread.take(share, count)
        assert 0 <= one <= count
        taken, asked = taken + one, asked + count
        assert abs(taken - share * asked) <= 1 + 1e-6


def scene(seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(40, 200, (360, 640, 3), dtype=np.uint8)


def noisy(image: Any, seed: int, light: int = 0) -> Any:
    noise = np.random.default_rng(seed).normal(0, 2.5, image.shape)
    return np.clip(image + light + noise, 0, 255).astype(np.uint8)


def test_noise_and_light_are_still_and_a_person_is_not() -> None:
    gate, empty = StillnessGate(), scene()
    assert not gate.is_still(empty)  # nothing to compare with
    gate.note_detection(0)
    for seed in range(20):
        assert gate.is_still(noisy(empty, seed, light=seed % 7))
    entered = noisy(empty, 99)
    entered[200:264, 0:12] = 90  # the smallest person that counts, a dozen pixels of whom are in view
    assert not gate.is_still(entered)
    gate.note_detection(1)
    assert not gate.is_still(empty)  # who was found may still be there


def test_slow_changes_are_not_forgotten() -> None:
    gate, image = StillnessGate(), scene()
    gate.is_still(image)
    gate.note_detection(0)
    steps = []
    for step in range(30):
        image = image.copy()
        image[100:200, 100 : 101 + 2 * step] = 255
        steps.append(gate.is_still(image))
    assert steps[0]
    assert not any(steps[10:])


def test_a_size_or_camera_of_its_own() -> None:
    gate = StillnessGate()
    gate.is_still(scene())
    gate.note_detection(0)
    assert not gate.is_still(np.ascontiguousarray(scene()[:180]))


def test_a_still_camera_is_looked_at_now_and_then_and_at_once_when_somebody_enters() -> None:
    camera = Camera(id="a", url="a.mp4", still_every=5)  # type: ignore[arg-type]
    config = Config(cameras=[camera])
    tracker = CameraTracker("a", config.tracking, 15)
    stream = CameraStream(camera, CameraReader(camera, config.sources), tracker, CameraCounters())
    empty, detected = scene(), []
    somebody = Detections(np.array([[100, 50, 180, 300]], np.float32), np.array([0.9], np.float32))
    nobody = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32))
    for index in range(30):
        image = noisy(empty, index)
        if index >= 23:
            image[50:300, 100:180] = 20
        frame = Frame("a", index, index * 66_000_000, image)
        due = stream.is_due(frame)
        stream.note_taken(frame)
        stream.track(frame, (somebody if index >= 23 else nobody) if due else None)
        detected.append(due)
    assert [index for index, due in enumerate(detected) if due] == [0, 5, 10, 15, 20, *range(23, 30)]
    assert stream.stats.undetected == {"still": 18}


def test_gaps_that_would_restart_every_window_are_refused() -> None:
    cameras = [Camera(id="a", url="a.mp4", fps=10)]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at most 9"):
        Config(cameras=cameras, tracklets={"settled_every": 10})  # type: ignore[arg-type]
    assert Config(cameras=cameras, tracklets={"settled_every": 9}).tracklets.settled_every == 9  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at most 9"):
        Config(cameras=cameras, tracklets={"every": 10})  # type: ignore[arg-type]

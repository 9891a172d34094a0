"""Rates and detectors: what walks need, what cameras send, what the machine carries."""

from __future__ import annotations

import numpy as np
import pytest

from gaitstream.errors import ConfigError
from gaitstream.tune import detectors
from gaitstream.tune.cores import CoresTaken
from gaitstream.tune.detectors import DetectorTried, advise_detector, found_again
from gaitstream.tune.finding import Finding
from gaitstream.tune.load import CameraDemand, MeasuredLoad, measured_load
from gaitstream.tune.people import ENOUGH_PEOPLE
from gaitstream.tune.rates import LEAST_FPS, advise_rates
from gaitstream.tune.seen import SampledPicture, SiteSeen
from tests.tune.sites import camera, costs, site, walk


def settings(found: list[Finding]) -> dict[object, object]:
    return {one.at: one.value for one in found if one.value is not None}


def walked(frames: int, *, sent_fps: float = 30.0, cameras: int = 1) -> SiteSeen:
    seen = site(*(camera(f"c{number}") for number in range(cameras)))
    for one in seen.cameras.values():
        for _ in range(ENOUGH_PEOPLE):
            walk(one, frames, sent_fps=sent_fps)
    return seen


def test_the_load_is_what_was_measured() -> None:
    seen = walked(60)
    costs(seen, detect_ms=10.0, person_ms=4.0)
    load = measured_load(seen)
    assert load is not None
    assert load.share() == pytest.approx(15 * 14.1 / 1e3, rel=1e-3)
    assert load.with_fps({"c0": 7.5}).share(every=2, detect_ms=20.0) == pytest.approx(
        7.5 * 14.1 / 1e3, rel=1e-3
    )
    assert seen.cameras["c0"].sent_fps == pytest.approx(30, rel=0.01)


def test_what_fits_is_left_alone() -> None:
    seen = walked(60)
    costs(seen, detect_ms=10.0, person_ms=4.0)
    found = list(advise_rates(seen, measured_load(seen)))
    assert settings(found) == {}
    assert "take 21% of this machine, which it carries" in found[0].said


def test_too_much_is_lowered_to_what_fits_and_walks_still_fill_windows() -> None:
    seen = walked(60)
    costs(seen, detect_ms=40.0, person_ms=30.0)  # 105% of the machine; windows fill at 8 a second
    load = measured_load(seen)
    assert load is not None
    [fps] = settings(list(advise_rates(seen, load))).values()
    assert isinstance(fps, float)
    assert load.with_fps({"c0": fps}).share() <= 0.8
    assert fps >= LEAST_FPS


def test_a_slow_camera_keeps_its_rate_and_the_others_make_room() -> None:
    seen = site(camera("slow", fps=5.0), camera("fast", fps=15.0))
    for name in ("slow", "fast"):
        for _ in range(3):
            walk(seen.cameras[name], 60)
    costs(seen, detect_ms=50.0, person_ms=0.0)  # 100% of the machine
    found = settings(list(advise_rates(seen, measured_load(seen))))
    assert list(found) == [("cameras", 1, "fps")]
    assert all(isinstance(fps, float) and LEAST_FPS <= fps <= 11 for fps in found.values())


def test_where_walks_need_every_frame_people_are_looked_for_less_often() -> None:
    seen = walked(31)
    costs(seen, detect_ms=60.0, person_ms=10.0)
    found = settings(list(advise_rates(seen, measured_load(seen))))
    assert found == {("cameras", 0, "detect_every"): 2}


def test_a_site_that_cannot_be_carried_gets_no_rate() -> None:
    seen = walked(60, cameras=4)
    costs(seen, detect_ms=100.0, person_ms=100.0)
    found = list(advise_rates(seen, measured_load(seen)))
    assert settings(found) == {}
    assert any("more machines" in one.said for one in found)


@pytest.mark.parametrize(("sent_fps", "expected"), [(30.0, {("cameras", 0, "fps"): 23.0}), (15.0, {})])
def test_short_walks_ask_for_more_frames_where_the_camera_sends_them(
    sent_fps: float, expected: dict[object, object]
) -> None:
    seen = walked(20, sent_fps=sent_fps)
    costs(seen, detect_ms=5.0, person_ms=1.0)
    assert settings(list(advise_rates(seen, measured_load(seen)))) == expected


def test_rates_are_raised_as_far_as_all_of_them_together_are_carried() -> None:
    """Each would fit alone, at 23 frames a second; together they would not."""
    seen = walked(20, cameras=3)
    costs(seen, detect_ms=11.0, person_ms=3.0)
    found = list(advise_rates(seen, measured_load(seen)))
    assert settings(found) == {("cameras", 0, "fps"): 23.0}
    assert len([one for one in found if "a longer view" in one.said]) == 2


def test_after_few_pictures_no_rate_is_set() -> None:
    seen = site()
    walk(seen.cameras["gate"], 60)
    assert measured_load(seen) is None
    [one] = advise_rates(seen, None)
    assert one.value is None


def test_a_camera_that_sends_less_than_is_asked_for_is_named() -> None:
    seen = site(camera(fps=30.0))
    for _ in range(3):
        walk(seen.cameras["gate"], 60, sent_fps=15.0)
    costs(seen, detect_ms=5.0, person_ms=1.0)
    found = list(advise_rates(seen, measured_load(seen)))
    assert any("sends 15.0 frames a second of the 30 that are asked for" in one.said for one in found)


LOAD = MeasuredLoad(detect_ms=10.0, track_ms=0.0, person_ms=0.0, cameras={"gate": CameraDemand(15.0, 2.0, 1)})


def tried(model: str, ms: float, found: int, again: float | None = 1.0) -> DetectorTried:
    return DetectorTried(model, (320, 192), ms, found, again)


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([tried("s", 40.0, 60)], "s"),  # finds more and is carried
        ([tried("m", 90.0, 90), tried("s", 40.0, 60)], "s"),  # the largest that is carried
        ([tried("s", 40.0, 54)], None),  # hardly more
        ([tried("s", 40.0, 60, 0.9)], None),  # loses people who are found now
        ([tried("m", 90.0, 90)], None),
    ],
)
def test_a_detector_is_set_where_it_is_plainly_better_and_carried(
    others: list[DetectorTried], chosen: str | None
) -> None:
    found = list(advise_detector([tried("nano", 10.0, 50), *others], LOAD))
    assert settings(found) == ({} if chosen is None else {("models", "detector", "model"): chosen})
    assert len([one for one in found if "finds" in one.said and one.value is None]) == 1 + len(others)


def test_a_detector_that_is_not_carried_gives_way_to_one_that_is() -> None:
    heavy = MeasuredLoad(detect_ms=80.0, track_ms=0.0, person_ms=0.0, cameras=LOAD.cameras)
    found = list(advise_detector([tried("m", 80.0, 90), tried("nano", 10.0, 50, 0.97)], heavy))
    assert settings(found) == {("models", "detector", "model"): "nano"}
    assert settings(list(advise_detector([tried("m", 80.0, 90), tried("s", 70.0, 88)], heavy))) == {}


def test_too_few_people_choose_no_detector() -> None:
    found = list(advise_detector([tried("nano", 10.0, 3), tried("s", 12.0, 9)], LOAD))
    assert settings(found) == {}
    assert "too few to choose by" in found[-1].said


def test_a_detector_that_opens_and_does_not_run_is_said_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its boxes are shares of the picture: that shows with the first people alone."""
    closed = []

    class Broken:
        def detect(self, *_: object) -> None:
            raise ConfigError("its boxes have no size")

        def close(self) -> None:
            closed.append(self)

    monkeypatch.setattr(detectors, "load_detector", lambda _: Broken())
    seen = site()
    seen.cameras["gate"].shots.append(
        SampledPicture(np.zeros((90, 160, 3), np.uint8), np.zeros((0, 4), np.float32))
    )
    found, faults = detectors.try_detectors(seen, ["mine.onnx"])
    assert not found
    assert [one.said for one in faults] == ["mine.onnx was not tried: its boxes have no size"]
    assert len(closed) == 1


def test_a_detector_that_is_not_made_for_these_cameras_gives_way_whatever_it_finds() -> None:
    both = [tried("demo", 10.0, 500), tried("s", 40.0, 60, 0.0)]
    assert settings(list(advise_detector(both, LOAD, unfit=True))) == {("models", "detector", "model"): "s"}
    few = [tried("demo", 10.0, 500), tried("s", 40.0, 6, 0.0)]
    assert settings(list(advise_detector(few, LOAD, unfit=True))) == {}
    heavy = list(advise_detector([tried("demo", 10.0, 500), tried("m", 4000.0, 60, 0.0)], LOAD, unfit=True))
    assert settings(heavy) == {}
    assert heavy[-1].said.startswith("demo is not made for these cameras, and none of the others leaves")


def test_what_pictures_cost_beside_other_programs_sets_nothing() -> None:
    seen = walked(60)
    costs(seen, detect_ms=100.0, person_ms=50.0)
    seen.others = 0.6
    assert measured_load(seen) is None
    [one] = advise_rates(seen, None)
    assert "other programs took 60% of this machine" in one.said
    assert settings(list(advise_detector([tried("m", 90.0, 90), tried("s", 9.0, 90)], None))) == {}


def test_the_cores_that_others_take_are_told_from_ones_own() -> None:
    begun = CoresTaken.now()
    while CoresTaken.now().own_s - begun.own_s < 0.3:
        sum(range(10_000))
    taken = CoresTaken.now()
    mine = CoresTaken(taken.own_s - begun.own_s + begun.all_s, taken.own_s, taken.at_s)
    assert mine.others_since(begun) == pytest.approx(0.0, abs=1e-6)
    busy = CoresTaken(mine.all_s + 1.0, taken.own_s, taken.at_s)
    assert busy.others_since(begun) > 0


def test_people_are_found_again_by_overlap() -> None:
    known = np.array([[0, 0, 10, 20], [50, 0, 60, 20]], np.float32)
    boxes = np.array([[1, 0, 11, 20], [100, 0, 110, 20]], np.float32)
    assert found_again(known, boxes) == 1
    assert found_again(known, np.empty((0, 4), np.float32)) == 0
    assert found_again(np.empty((0, 4), np.float32), boxes) == 0

"""Person-frames as evidence: each reason with a case for it and one beside it."""

from __future__ import annotations

import numpy as np
import pytest

from gaitstream.config.camera_sections import Camera
from gaitstream.config.schema import Config
from gaitstream.config.track_sections import Quality
from gaitstream.data import Feature, Person, Reason
from gaitstream.errors import ConfigError
from gaitstream.models import silhouettes
from gaitstream.pipeline.judge import CameraJudge, EvidenceJudge, FeatureCourse
from gaitstream.pipeline.quality import Regions, box_motion, covered, jumped, leg_motion, sharpness
from gaitstream.pipeline.source.clock import SECOND_NS

SIZE = (640, 480)
QUALITY = Quality()


def person(box: list[float], track: int = 1, time_s: float = 0.0) -> Person:
    return Person("a", track, 0, int(time_s * SECOND_NS), np.array(box, np.float32), 0.9)


def camera(**keys: object) -> Camera:
    return Camera.model_validate({"id": "a", "url": "a.mp4", **keys})


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([200, 100, 260, 300], None),
        ([200, 100, 260, 160], Reason.TOO_SMALL),
        ([200, 100, 260, 165], None),
        ([0, 100, 60, 300], Reason.TRUNCATED),
        ([200, 1, 260, 300], Reason.TRUNCATED),
        ([585, 100, 639, 300], Reason.TRUNCATED),
        ([200, 300, 260, 479], Reason.TRUNCATED),
        ([-30, 100, 30, 300], Reason.TRUNCATED),
        ([200, 300, 260, 477], None),
        ([200, 100, 420, 300], Reason.TRUNCATED),
    ],
)
def test_one_person_by_the_box(box: list[float], reason: Reason | None) -> None:
    (judged,) = CameraJudge(QUALITY, SIZE).judge([person(box)])
    assert judged.rejected is reason


def test_nobody() -> None:
    assert CameraJudge(QUALITY, SIZE).judge([]) == ()


def test_who_stands_behind_is_occluded_and_who_stands_before_is_not() -> None:
    near, far = [200.0, 100, 280, 400], [220.0, 120, 280, 320]
    judged = CameraJudge(QUALITY, SIZE).judge([person(near, 1), person(far, 2)])
    assert [one.rejected for one in judged] == [None, Reason.OCCLUDED]


@pytest.mark.parametrize(
    ("boxes", "share"),
    [
        ([[0, 0, 10, 20]], [0]),
        ([[0, 0, 10, 20], [5, 0, 15, 21]], [0.5, 0]),
        ([[0, 0, 10, 20], [20, 0, 30, 21]], [0, 0]),
        ([[0, 0, 10, 20], [0, 0, 10, 20]], [0, 0]),
    ],
)
def test_the_share_that_is_covered(boxes: list[list[float]], share: list[float]) -> None:
    np.testing.assert_allclose(covered(np.array(boxes, np.float32)), share)


@pytest.mark.parametrize(
    ("feet", "inside"),
    [((300, 300), True), ((99, 300), False), ((300, 401), False), ((101, 201), True)],
)
def test_feet_decide_about_the_region(feet: tuple[float, float], inside: bool) -> None:
    entry = camera(regions=[[[100, 200], [500, 200], [500, 400], [100, 400]]])
    judge = CameraJudge(QUALITY, SIZE, Regions(entry, SIZE))
    box = [feet[0] - 25, feet[1] - 150, feet[0] + 25, feet[1]]
    (judged,) = judge.judge([person(box)])
    assert (judged.rejected is None) is inside
    assert inside or judged.rejected is Reason.OUTSIDE_REGION


def test_regions_scale_with_the_stream_and_must_lie_in_it() -> None:
    polygon = [[0, 0], [960, 0], [960, 1080], [0, 1080]]
    scaled = Regions(camera(regions=[polygon], region_size=[1920, 1080]), SIZE)
    points = np.array([[319, 100], [321, 100]], np.float32)
    assert scaled.contain(points).tolist() == [True, False]
    with pytest.raises(
        ConfigError, match=r"regions\[0\]: point \[960, 0\] lies outside the frame of 640 x 480"
    ):
        Regions(camera(regions=[polygon]), SIZE)
    assert Regions(camera(), SIZE).contain(points).all()


def test_a_hollow_polygon_is_read_by_the_even_odd_rule() -> None:
    c_shape = [[0, 0], [300, 0], [300, 100], [100, 100], [100, 200], [300, 200], [300, 300], [0, 300]]
    regions = Regions(camera(regions=[c_shape]), SIZE)
    points = np.array([[50, 150], [200, 150], [200, 50], [200, 250]], np.float32)
    assert regions.contain(points).tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ("box", "elapsed_s", "suspect"),
    [
        ([110, 100, 170, 300], 0.1, False),
        ([300, 100, 360, 300], 0.1, True),
        ([300, 100, 360, 300], 0.5, False),
        ([100, 100, 200, 460], 0.1, True),
        ([100, 100, 160, 210], 0.1, True),
        ([500, 100, 560, 300], 2.0, False),
    ],
)
def test_a_box_that_jumps_is_suspect(box: list[float], elapsed_s: float, suspect: bool) -> None:
    assert jumped([100, 100, 160, 300], box, elapsed_s, QUALITY) is suspect


def test_a_jump_is_told_once_and_the_track_goes_on_from_there() -> None:
    judge = CameraJudge(QUALITY, SIZE)
    places = [100.0, 105, 400, 405, 410]
    reasons = [
        judge.judge([person([x, 100, x + 60, 300], time_s=i / 10)])[0].rejected for i, x in enumerate(places)
    ]
    assert reasons == [None, None, Reason.ID_SWITCH_SUSPECTED, None, None]


def walk(judge: CameraJudge, boxes: list[list[float]], strides: list[float] | None = None) -> list[bool]:
    """Whether each frame, ten per second, shows somebody who walks."""
    answers = []
    for index, box in enumerate(boxes):
        (judged,) = judge.judge([person(box, time_s=index / 10)])
        ankles = None
        if strides is not None:
            ankles = np.array([[100 + strides[index], 290], [100, 290]], np.float32)
        answers.append(judge.walks(judged, ankles))
    return answers


STILL = np.random.default_rng(1).normal(0, 1.0, (30, 4))
"""A detector's jitter in pixels."""


def test_somebody_who_stands_is_found_out_after_half_the_window() -> None:
    boxes = [[100 + dx, 100 + dy, 160 + dx, 300 + dy] for dx, dy, _, _ in STILL]
    answers = walk(CameraJudge(QUALITY, SIZE), boxes)
    assert all(answers[:5])
    assert not any(answers[10:])


@pytest.mark.parametrize("speed_px", [3.0, -3.0])
def test_somebody_who_crosses_the_picture_walks(speed_px: float) -> None:
    boxes = [[300 + speed_px * i, 100.0, 360 + speed_px * i, 300.0] for i in range(30)]
    assert all(walk(CameraJudge(QUALITY, SIZE), boxes))


def test_somebody_who_comes_nearer_walks() -> None:
    boxes = [[300 - i / 2, 100 - i, 360 + i / 2, 300 + i] for i in range(30)]
    assert all(walk(CameraJudge(QUALITY, SIZE), boxes))


def test_legs_that_move_acquit_a_box_that_does_not() -> None:
    boxes = [[100.0, 100, 160, 300]] * 30
    stepping = [30 * np.sin(2 * np.pi * index / 10) for index in range(30)]
    assert all(walk(CameraJudge(QUALITY, SIZE), boxes, stepping))
    assert not any(walk(CameraJudge(QUALITY, SIZE), boxes, list(STILL[:, 0]))[12:])


def test_a_batch_may_judge_frames_before_their_ankles_are_known() -> None:
    judge = CameraJudge(QUALITY, SIZE)
    judged = [judge.judge([person([100, 100, 160, 300], time_s=i / 10)])[0] for i in range(11)]
    for index, one in enumerate(judged):
        offset = 30 * np.sin(2 * np.pi * index / 10)
        answer = judge.walks(one, np.array([[100 + offset, 290], [100, 290]], np.float32))
    assert answer


def test_motion_is_not_judged_at_zero_and_forgotten_with_the_track() -> None:
    boxes = [[100.0, 100, 160, 300]] * 20
    assert all(walk(CameraJudge(QUALITY.model_copy(update={"min_motion": 0.0}), SIZE), boxes))
    judge = CameraJudge(QUALITY, SIZE)
    assert not walk(judge, boxes)[-1]
    judge.forget(1)
    judge.forget(99)
    assert judge.walks(person(boxes[0]))


def test_motion_is_measured_in_body_heights_per_second() -> None:
    boxes = [[10.0 * i, 100, 60 + 10 * i, 300] for i in range(1000)]
    for limit, passes in ((0.495, True), (0.505, False)):
        judge = CameraJudge(QUALITY.model_copy(update={"min_motion": limit}), SIZE)
        assert walk(judge, boxes)[50:] == [passes] * 950  # ten a second: 100 pixels, half of a height
    assert box_motion(boxes[0], boxes[10], 1.0) == pytest.approx(0.5)
    assert box_motion(boxes[0], boxes[0], 0.0) == 0.0
    times = [int(index * SECOND_NS / 10) for index in range(11)]
    assert leg_motion(times, [np.nan] * 11) == 0.0


def test_blur_lowers_sharpness() -> None:
    import cv2

    random = np.random.default_rng(2)
    noise = random.integers(0, 255, (60, 80, 3), np.uint8)
    image = np.asarray(cv2.resize(noise, (640, 480)), np.uint8)
    box = np.array([200, 100, 260, 300], np.float32)
    [sharp] = sharpness(image, box[None])
    blurry = [np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8) for sigma in (4, 12)]
    blurred = [sharpness(picture, box[None])[0] for picture in blurry]
    assert sharp > 5 * blurred[0] > 20 * blurred[1]
    assert blurred[1] < QUALITY.min_sharpness < sharp
    assert sharpness(image, np.array([[700, 100, 760, 300]], np.float32)) == [0.0]


def test_features_that_leave_their_tracks_course_are_told_once() -> None:
    random = np.random.default_rng(4)
    one, other = (np.abs(random.normal(size=(64, 4, 2))).astype(np.float32) for _ in range(2))

    def noisy(base: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return (base + random.normal(0, 0.05, (64, 4, 2))).astype(np.float32)  # type: ignore[operator,no-any-return]

    def feature(base: object, track: int = 1) -> Feature:
        return Feature("biggait", person([0, 0, 10, 30], track), noisy(base))

    course = FeatureCourse(0.05)
    assert not any(course.leaves(feature(one)) for _ in range(20))
    assert course.leaves(feature(other))
    assert not any(course.leaves(feature(other)) for _ in range(20))
    assert not course.leaves(feature(one, track=2))
    course.forget("a", 1)
    assert not course.leaves(feature(one))


@pytest.mark.parametrize(("side", "height", "found"), [(32, 8, False), (32, 12, True), (192, 12, False)])
def test_what_is_too_small_for_a_silhouette_is_no_evidence(side: int, height: int, found: bool) -> None:
    """2 % of a mask of 32 x 32 are too few pixels for the published alignment, which drops them."""
    judge = EvidenceJudge(Config.model_validate({"cameras": [{"id": "a", "url": "a.mp4"}]}))
    mask = np.zeros((1, side, side), np.uint8)
    mask[0, 4 : 4 + height, 14:18] = 255
    assert judge.judge_masks(mask) == [None if found else Reason.NO_SILHOUETTE]
    if found:
        assert silhouettes.draw(mask, (64, 44)).any()
    assert judge.judge_masks(mask[:0]) == []

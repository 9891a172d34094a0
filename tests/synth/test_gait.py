"""Kinematics: nobody slides, cadence and speed are as asked, bodies keep their proportions."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gaitstream.synth import sample_identity
from gaitstream.synth.gait import LEAD, Array, pose
from gaitstream.synth.identity import WalkerIdentity
from gaitstream.synth.paths import Line, Path, Route, Schedule, Stop
from gaitstream.synth.skeleton import INDEX, JOINTS, KEYPOINTS

FPS = 100.0


def walk(
    index: int, seconds: float = 6.0, pace: float = 1.0, path: Path | None = None
) -> tuple[WalkerIdentity, float, float, Array, Array]:
    """Who walks, their speed, stride, the times and the joints at those times."""
    identity = sample_identity(3, index)
    speed = identity.speed * pace
    stride = 2 * identity.step_length(speed)
    times = np.arange(0, seconds, 1 / FPS)
    joints = pose(identity, path or Line((0.0, 0.0), 0.6), speed * times, np.zeros_like(times), stride)
    return identity, speed, stride, times, joints


def stance_speed(joints: Array) -> Array:
    """Floor speed of each foot's slowest contact point, where either foot must stand."""
    speeds = []
    for side in ("left", "right"):
        toe = np.gradient(joints[:, INDEX[f"{side}_toe"], :2], 1 / FPS, axis=0)
        heel = np.gradient(joints[:, INDEX[f"{side}_heel"], :2], 1 / FPS, axis=0)
        speeds.append(np.minimum(np.linalg.norm(toe, axis=1), np.linalg.norm(heel, axis=1)))
    slowest: Array = np.min(speeds, axis=0)
    return slowest


def test_the_first_joints_are_the_coco_keypoints() -> None:
    assert JOINTS[:17] == KEYPOINTS
    assert KEYPOINTS[5:7] == ("left_shoulder", "right_shoulder")
    assert len(KEYPOINTS) == 17


@pytest.mark.parametrize("index", range(6))
def test_a_standing_foot_does_not_slide(index: int) -> None:
    _, _, _, _, joints = walk(index)
    speed = stance_speed(joints)
    assert np.percentile(speed, 95) < 1e-6
    assert speed.max() < 0.02


def test_feet_do_not_slide_in_turns() -> None:
    square = np.array([[0, 0], [6, 0], [6, 6], [0, 6]], dtype=float)
    _, _, _, _, joints = walk(1, 20.0, path=Route(square))
    assert np.percentile(stance_speed(joints), 70) < 1e-6


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("pace", [0.85, 1.0, 1.15])
def test_cadence_and_speed_are_as_asked(index: int, pace: float) -> None:
    identity, speed, stride, times, joints = walk(index, pace=pace)
    pelvis = joints[:, INDEX["pelvis"], :2]
    travelled = np.linalg.norm(pelvis[-1] - pelvis[0]) / (times[-1] - times[0])
    assert travelled == pytest.approx(speed, rel=0.01)
    heel = joints[:, INDEX["left_toe"], 2]
    lifts = np.count_nonzero((heel[1:] > 0.06) & (heel[:-1] <= 0.06))
    asked = identity.cadence(speed) / 2 * times[-1] / 60
    assert abs(lifts - asked) <= 1.0
    assert identity.cadence(speed) * stride / 2 / 60 == pytest.approx(speed)


def test_values_lie_in_the_published_range() -> None:
    people = [sample_identity(11, index) for index in range(400)]
    speeds = np.array([person.speed for person in people])
    cadences = np.array([person.cadence(person.speed) for person in people])
    statures = np.array([person.stature for person in people])
    # Bohannon and Andrews 2011; Oberg et al. 1993; see identity.py.
    assert 1.25 < speeds.mean() < 1.43
    assert 105 < cadences.mean() < 122
    assert 1.66 < statures.mean() < 1.72
    assert 1.2 < np.mean([2 * p.step_length(p.speed) for p in people]) < 1.55


@settings(max_examples=25, deadline=None)
@example(index=3333, heading=0.0, pace=1.2)
@given(index=st.integers(0, 5000), heading=st.floats(0, 6.28), pace=st.floats(0.8, 1.2))
def test_bones_keep_their_lengths_and_feet_stay_above_ground(index: int, heading: float, pace: float) -> None:
    identity, _, _, _, joints = walk(index, 2.0, pace, Line((1.0, 2.0), heading))

    def bone(a: str, b: str) -> Array:
        length: Array = np.linalg.norm(joints[:, INDEX[a]] - joints[:, INDEX[b]], axis=1)
        return length

    for side in ("left", "right"):
        assert bone(f"{side}_hip", f"{side}_knee") == pytest.approx(identity.thigh, rel=1e-6)
        assert bone(f"{side}_knee", f"{side}_ankle") == pytest.approx(identity.shank, rel=0.03)
        assert bone(f"{side}_elbow", f"{side}_wrist") == pytest.approx(identity.forearm, rel=1e-6)
        assert joints[:, INDEX[f"{side}_toe"], 2].min() > -1e-3
    assert np.isfinite(joints).all()
    assert 0.86 * identity.stature < joints[:, INDEX["vertex"], 2].max() < 1.10 * identity.stature


def test_knees_bend_as_in_walking() -> None:
    _, _, _, _, joints = walk(2)
    thigh = joints[:, INDEX["left_knee"]] - joints[:, INDEX["left_hip"]]
    shank = joints[:, INDEX["left_ankle"]] - joints[:, INDEX["left_knee"]]
    cosine = (thigh * shank).sum(1) / np.linalg.norm(thigh, axis=1) / np.linalg.norm(shank, axis=1)
    flexion = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    assert 45 < flexion.max() < 75
    assert flexion.min() < 25


def test_left_and_right_are_where_they_should_be() -> None:
    _, _, _, _, joints = walk(0, path=Line((0.0, 0.0), 0.0))
    assert (joints[:, INDEX["left_shoulder"], 1] > joints[:, INDEX["right_shoulder"], 1]).all()
    assert (joints[:, INDEX["nose"], 0] > joints[:, INDEX["head"], 0]).all()


def test_standing_people_stand_still() -> None:
    identity = sample_identity(3, 0)
    stride = 2 * identity.step_length(identity.speed)
    s = np.full(100, (4 + LEAD) * stride)
    joints = pose(identity, Line((0.0, 0.0), 0.0), s, np.ones(100), stride, np.arange(100) / 15)
    assert np.ptp(joints[:, INDEX["left_ankle"]], axis=0).max() < 1e-9
    assert np.ptp(joints[:, INDEX["nose"]], axis=0).max() < 0.03
    feet = joints[0, INDEX["left_ankle"]] - joints[0, INDEX["right_ankle"]]
    assert abs(feet[0]) < 0.02
    assert 0.1 < feet[1] < 0.3


def test_a_schedule_slows_down_stands_and_goes_on() -> None:
    schedule = Schedule(100.0, 1.25, (Stop(40.0, 3.0),))
    times = np.arange(0, schedule.period, 0.05)
    s, standing = schedule.at(times)
    assert (np.diff(s) >= -1e-9).all()
    assert np.diff(s).max() / 0.05 == pytest.approx(1.25, rel=0.02)
    still = standing == 1
    assert still.sum() * 0.05 == pytest.approx(3.0, abs=0.2)
    assert s[still] == pytest.approx(40.0)
    lap, _ = schedule.at(times + schedule.period)
    assert lap == pytest.approx(s + 100.0)


def test_a_route_is_closed_and_smooth() -> None:
    route = Route(np.array([[0, 0], [8, 1], [9, 7], [2, 6]], dtype=float), length=26.0)
    s = np.linspace(0, 26.0, 2000)
    xy, heading = route.at(s)
    assert xy[0] == pytest.approx(xy[-1], abs=1e-6)
    steps = np.linalg.norm(np.diff(xy, axis=0), axis=1)
    assert steps.max() < 1.02 * 26.0 / 1999
    turn = np.abs(np.diff(np.unwrap(heading)))
    assert turn.max() < 0.1
    assert abs(np.unwrap(heading)[-1] - heading[0]) == pytest.approx(2 * np.pi, abs=0.05)

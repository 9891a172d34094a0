"""Learned walks: bodies and styles spread as people's do, bones keep their lengths, feet keep their place."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitstream.errors import ConfigError
from gaitstream.synth import open_synthetic, sample_identity
from gaitstream.synth.gait import LEAD, Array, pose
from gaitstream.synth.identity import WalkerIdentity
from gaitstream.synth.motion import ROOT, ROWS, SEGMENTS, TERMS, basis, mirrored
from gaitstream.synth.paths import Line, Path, Route
from gaitstream.synth.skeleton import INDEX, SOLE_M
from gaitstream.synth.walk_space import space

FPS = 60.0


def walk(
    person: WalkerIdentity, seconds: float = 4.0, pace: float = 1.0, path: Path | None = None
) -> tuple[float, Array]:
    """Speed, and joints at `FPS`."""
    speed = person.speed * pace
    s = speed * np.arange(0, seconds, 1 / FPS)
    stride = 2 * person.step_length(speed)
    return speed, pose(person, path or Line((0.0, 0.0), 0.6), s, np.zeros_like(s), stride)


def learned(index: int, once: bool = True) -> WalkerIdentity:
    person = sample_identity(3, index, "learned")
    return person.once(np.random.default_rng(index), "none") if once else person


def stance_speed(joints: Array) -> Array:
    """Floor speed of the slowest end of either foot."""
    ends = [INDEX[f"{side}_{end}"] for side in ("left", "right") for end in ("heel", "toe")]
    speed = np.linalg.norm(np.gradient(joints[:, ends, :2], 1 / FPS, axis=0), axis=-1)
    slowest: Array = speed.min(1)
    return slowest


@settings(max_examples=25, deadline=None)
@given(index=st.integers(0, 5000), heading=st.floats(0, 6.28), pace=st.floats(0.85, 1.15))
def test_bones_keep_their_lengths_and_feet_stay_on_the_ground(
    index: int, heading: float, pace: float
) -> None:
    person = learned(index)
    _, joints = walk(person, 2.0, pace, Line((1.0, 2.0), heading))

    def bone(a: str, b: str) -> Array:
        length: Array = np.linalg.norm(joints[:, INDEX[a]] - joints[:, INDEX[b]], axis=1)
        return length

    for side in ("left", "right"):
        assert bone(f"{side}_hip", f"{side}_knee") == pytest.approx(person.thigh, rel=1e-6)
        assert bone(f"{side}_knee", f"{side}_ankle") == pytest.approx(person.shank, rel=0.01)
        assert bone(f"{side}_elbow", f"{side}_wrist") == pytest.approx(person.forearm, rel=1e-6)
    feet = [INDEX[f"{side}_{end}"] for side in ("left", "right") for end in ("heel", "toe")]
    lowest = joints[:, feet, 2].min(1) - SOLE_M
    assert lowest.min() > -0.03
    assert lowest.max() < 0.06
    assert np.isfinite(joints).all()


@pytest.mark.parametrize("index", range(6))
def test_feet_slide_no_more_than_those_of_recorded_people(index: int) -> None:
    speed, joints = walk(learned(index, once=False))
    assert np.median(stance_speed(joints)) < 0.15
    pelvis = joints[:, INDEX["pelvis"], :2]
    travelled = np.linalg.norm(pelvis[-1] - pelvis[0]) / (len(joints) - 1) * FPS
    assert travelled == pytest.approx(speed, rel=0.02)


def test_feet_slide_no_more_in_turns() -> None:
    square = np.array([[0, 0], [6, 0], [6, 6], [0, 6]], dtype=float)
    person = learned(1, once=False)
    straight, turning = (walk(person, 15.0, path=path)[1] for path in (None, Route(square)))
    assert np.median(stance_speed(turning)) < np.median(stance_speed(straight)) + 0.02


def test_statures_and_walk_ratios_are_those_of_people() -> None:
    people = [sample_identity(11, index, "learned") for index in range(300)]
    statures = np.array([person.stature for person in people])
    # ANSUR II: 1.628 m for women and 1.756 m for men, both with a standard deviation of 0.066 m.
    assert statures.mean() == pytest.approx(1.69, abs=0.015)
    assert statures.std() == pytest.approx(0.092, abs=0.012)
    assert 105 < np.mean([person.cadence(person.speed) for person in people]) < 125
    tall = [p.neck + p.trunk + p.head + p.leg + p.ankle_height for p in people]
    assert np.allclose(tall, statures, rtol=0.02)


def test_a_person_differs_less_from_walk_to_walk_than_people_do() -> None:
    def shape(person: WalkerIdentity) -> Array:
        assert person.style is not None
        return space().series(person.style, 1.6)

    people = [learned(index, once=False) for index in range(12)]
    rng = np.random.default_rng(5)
    usual = np.stack([shape(person) for person in people])
    today = np.stack([shape(person.once(rng, "none")) for person in people])
    within = np.square(today - usual).sum((1, 2, 3)).mean()
    between = np.square(usual - usual.mean(0)).sum((1, 2, 3)).mean()
    assert 0 < 3 * within < between


def test_strides_of_one_walk_differ_a_little() -> None:
    person = learned(4)
    assert person.style is not None
    speed = person.speed
    stride = 2 * person.step_length(speed)
    s = np.array([stride * (number + 0.4) for number in range(6)])
    joints = pose(person, Line((0.0, 0.0), 0.0), s, np.zeros(6), stride)
    joints[..., 0] -= s[:, None]
    moved = np.linalg.norm(joints - joints.mean(0), axis=-1)[:, INDEX["left_wrist"]]
    assert 0.002 < moved.max() < 0.12
    even = replace(person, style=replace(person.style, strides=0))
    joints = pose(even, Line((0.0, 0.0), 0.0), s, np.zeros(6), stride)
    joints[..., 0] -= s[:, None]
    assert np.ptp(joints, axis=0).max() < 1e-9


def test_a_bag_stills_the_arm_beside_it() -> None:
    person = learned(2, once=False)
    style = person.style
    assert style is not None
    arm = SEGMENTS.index("right_upper_arm")

    def swing(bag: str) -> float:
        series = space().series(replace(style, bag=bag), 1.6)
        return float(np.ptp(basis(np.arange(50) / 50) @ series[arm, 0]))

    assert swing("shoulder") < 0.7 * swing("none")
    assert swing("backpack") < swing("none")


def test_a_mirror_shows_the_other_side() -> None:
    rng = np.random.default_rng(1)
    series = rng.standard_normal((ROWS, 3, TERMS))
    twice = mirrored(mirrored(series))
    assert np.allclose(twice, series)
    cycle = np.array([0.3])
    left = np.einsum("ck,tk->tc", series[SEGMENTS.index("left_thigh")], basis(cycle))[0]
    right = np.einsum("ck,tk->tc", mirrored(series)[SEGMENTS.index("right_thigh")], basis(cycle + 0.5))[0]
    assert right == pytest.approx(left * (1, -1, 1))
    assert mirrored(series)[ROOT, 1, 0] == -series[ROOT, 1, 0]


def test_standing_people_stand_still_on_both_feet() -> None:
    person = learned(0)
    stride = 2 * person.step_length(person.speed)
    s = np.full(60, (4 + LEAD) * stride)
    joints = pose(person, Line((0.0, 0.0), 0.0), s, np.ones(60), stride, np.arange(60) / 15)
    assert np.ptp(joints[:, INDEX["nose"]], axis=0).max() < 0.03
    feet = joints[0, INDEX["left_ankle"]] - joints[0, INDEX["right_ankle"]]
    assert abs(feet[0]) < 0.05
    assert 0.05 < feet[1] < 0.35
    assert joints[0, INDEX["left_toe"], 2] == pytest.approx(SOLE_M, abs=0.02)


def test_an_address_chooses_the_walk() -> None:
    plain, other = (open_synthetic(f"synth://plaza?people=2&walk={kind}") for kind in ("formula", "learned"))
    assert [w.identity.name for w in plain.world.walkers] == [w.identity.name for w in other.world.walkers]
    assert plain.world.walkers[0].identity.style is None
    assert other.world.walkers[0].identity.style is not None


def test_an_unknown_walk_is_named() -> None:
    with pytest.raises(ConfigError, match="strut"):
        open_synthetic("synth://plaza?walk=strut")
    with pytest.raises(ConfigError, match="strut"):
        sample_identity(1, 1, "strut")  # type: ignore[arg-type]

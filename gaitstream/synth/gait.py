"""How a person walks: joint positions in the world from identity, path and progress.

The feet are placed first, on footsteps along the path, and do not move while they bear weight; the pelvis
travels over them at the height the legs allow; hips and knees follow by inverse kinematics. So stride,
cadence and speed agree by construction and no foot slides. Trunk, head and arms swing as short harmonic
series of the gait cycle. A cycle runs from one left heel strike to the next (Winter; Perry, *Gait Analysis*).
Identities with a style walk as `learned_walk` says instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gaitstream.synth.identity import WalkerIdentity
from gaitstream.synth.learned_walk import bend_knee, learned_pose
from gaitstream.synth.motion import unit
from gaitstream.synth.paths import Path
from gaitstream.synth.skeleton import BALL, HEEL, INDEX, JOINTS, SOLE_M, TOES

Array = NDArray[np.float64]

LEAD = 0.25
"""Share of a stride by which a foot is planted ahead of the pelvis."""
FLAT_AT, HEEL_OFF_AT = 0.11, 0.32
"""When, in the cycle of a foot, it lies flat and when its heel rises."""
STRIKE_PITCH = np.radians(19)


def pose(
    identity: WalkerIdentity,
    path: Path,
    s: Array,
    standing: Array,
    stride: float,
    sway_time: Array | None = None,
) -> Array:
    """Joint positions in the world.

    Args:
        identity: whose body and style.
        path: where they walk.
        s: metres walked, `[t]`; `s / stride` is the gait cycle, left heel strikes at whole numbers.
        standing: 0 walking .. 1 standing still, `[t]`. A pose stands well only where `s / stride` is `LEAD`
            past a whole number, when the left foot is under the body.
        stride: metres of two steps.
        sway_time: seconds, `[t]`, for the slow sway of standing; zeros when absent.

    Returns:
        Positions in metres, x and y on the floor and z up, `[t, joints, 3]`.
    """
    time = np.zeros_like(s) if sway_time is None else sway_time
    if identity.style is not None:
        return learned_pose(identity, identity.style, path, s, standing, stride, time)
    cycle = s / stride
    out = np.empty((len(s), len(JOINTS), 3))
    xy, heading = path.at(s)
    swing = 1 - standing
    angle = 2 * np.pi * cycle
    ankles = []
    for side, name in ((1, "left"), (-1, "right")):
        ankle, heel, toe, toe_dir = _foot(identity, path, cycle, stride, standing, xy, heading, side)
        out[:, INDEX[f"{name}_ankle"]], out[:, INDEX[f"{name}_heel"]] = ankle, heel
        out[:, INDEX[f"{name}_toe"]] = toe
        ankles.append((ankle, toe_dir))
    left = _left(heading)
    # Towards the standing foot; the left one bears the weight in the first half of the cycle.
    sideways = identity.sway * np.sin(angle - 0.3) * swing + 0.006 * np.sin(0.9 * time) * standing
    pelvis = np.concatenate([xy + sideways[:, None] * left, np.zeros((len(s), 1))], axis=1)
    _trunk_and_legs(identity, out, pelvis, heading, angle, swing, ankles)
    _arms(identity, out, angle, swing, heading)
    return out


def _foot(
    identity: WalkerIdentity, path: Path, cycle: Array, stride: float, standing: Array, xy: Array,
    heading: Array, side: int,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """Ankle, heel and toe `[t, 3]` of one foot, and the floor direction of its toes `[t, 2]`."""
    offset = 0.0 if side > 0 else 0.5 + identity.step_asymmetry
    own = cycle - offset
    count = np.floor(own)
    phase = own - count
    # A left foot turns to the left (counter-clockwise), a right foot to the right.
    toe_out = side * np.radians(identity.toe_out[0 if side > 0 else 1])

    def plant(k: Array) -> tuple[Array, Array]:
        at, direction = path.at(stride * (k + offset + LEAD))
        return at + side * identity.step_width / 2 * _left(direction), direction + toe_out

    here, here_yaw = plant(count)
    following, next_yaw = plant(count + 1)
    turn = np.arctan2(np.sin(next_yaw - here_yaw), np.cos(next_yaw - here_yaw))
    push = np.radians(identity.push_off)
    stance = identity.stance
    pitch = np.where(
        phase < FLAT_AT,
        STRIKE_PITCH * (1 - _smooth(phase / FLAT_AT)),
        -push * np.clip((phase - HEEL_OFF_AT) / (stance - HEEL_OFF_AT), 0, 1) ** 2,
    )
    forward, up = _pivot(identity, pitch)
    ankle = np.concatenate([here + forward[:, None] * _ahead(here_yaw), up[:, None]], axis=1)

    tau = np.clip((phase - stance) / (1 - stance), 0, 1)
    leave_f, leave_z = _pivot(identity, np.array([-push]))
    strike_f, strike_z = _pivot(identity, np.array([STRIKE_PITCH]))
    start, end = here + leave_f * _ahead(here_yaw), following + strike_f * _ahead(next_yaw)
    ease = _smooth(tau)
    # A cubic that leaves at 0.9 and lands at 0.25 of the mean swing speed, as the ankle does.
    travel = 0.9 * (tau**3 - 2 * tau**2 + tau) + (3 * tau**2 - 2 * tau**3) + 0.25 * (tau**3 - tau**2)
    lift = leave_z + (strike_z - leave_z) * ease + identity.foot_lift * np.sin(np.pi * tau) ** 2
    flying = np.concatenate([start + travel[:, None] * (end - start), lift[:, None]], axis=1)
    in_air = phase >= stance
    ankle = np.where(in_air[:, None], flying, ankle)
    pitch = np.where(in_air, -push + (push + STRIKE_PITCH) * _smooth(np.clip(tau * 1.15, 0, 1)), pitch)
    yaw = here_yaw + np.where(in_air, turn * ease, 0)

    spread = max(identity.step_width, 0.16) / 2
    still = np.concatenate(
        [xy + side * spread * _left(heading), np.full((len(cycle), 1), identity.ankle_height)], axis=1
    )
    keep = standing[:, None]
    ankle = ankle * (1 - keep) + still * keep
    pitch = pitch * (1 - standing)
    toe_dir = _ahead(yaw)
    # The toes bend: they lie flat while the heel rises and straighten during the swing.
    toe_pitch = np.where(pitch < 0, np.where(in_air, pitch * ease, 0) * (1 - standing), pitch)
    heel = _from_ankle(ankle, toe_dir, pitch, -HEEL * identity.foot, -identity.ankle_height)
    ball = _from_ankle(ankle, toe_dir, pitch, BALL * identity.foot, -identity.ankle_height)
    toe = _from_ankle(ball, toe_dir, toe_pitch, TOES * identity.foot, 0.0)
    thickness = np.array([0.0, 0.0, SOLE_M])
    heel, toe = heel + thickness, toe + thickness
    # A foot whose toes would scrape along the floor, as some would in early swing, is lifted by as much.
    clear = np.maximum(-toe, 0) * np.array([0.0, 0.0, 1.0])
    return ankle + clear, heel + clear, toe + clear, toe_dir


def _pivot(identity: WalkerIdentity, pitch: Array) -> tuple[Array, Array]:
    """Where the ankle is, ahead of its flat place and above the floor, with the foot rolled by `pitch`.

    Toes up the foot rolls on the heel, heel up on the ball.
    """
    height = identity.ankle_height
    heel, ball = HEEL * identity.foot, BALL * identity.foot
    up, down = np.maximum(pitch, 0), np.maximum(-pitch, 0)
    forward = np.where(
        pitch >= 0,
        -heel + heel * np.cos(up) - height * np.sin(up),
        ball - ball * np.cos(down) + height * np.sin(down),
    )
    lift = np.where(
        pitch >= 0, heel * np.sin(up) + height * np.cos(up), ball * np.sin(down) + height * np.cos(down)
    )
    return forward, lift


def _from_ankle(ankle: Array, toe_dir: Array, pitch: Array, forward: float, up: float) -> Array:
    along = forward * np.cos(pitch) - up * np.sin(pitch)
    height = forward * np.sin(pitch) + up * np.cos(pitch)
    offset: Array = np.concatenate([along[:, None] * toe_dir, height[:, None]], axis=1)
    return ankle + offset


def _trunk_and_legs(
    identity: WalkerIdentity, out: Array, pelvis: Array, heading: Array, angle: Array, swing: Array,
    ankles: list[tuple[Array, Array]],
) -> None:  # fmt: skip
    """Fill hips, knees, trunk and head; sets the height of `pelvis` in place."""
    yaw = heading - np.radians(identity.pelvis_yaw) * np.cos(angle) * swing
    roll = np.radians(identity.pelvis_list) * np.sin(angle + 0.4) * swing
    side = np.concatenate([_left(yaw) * np.cos(roll)[:, None], np.sin(roll)[:, None]], axis=1)
    half = identity.hip_width / 2
    reach = identity.leg * (1 - identity.crouch)
    limits = []
    for sign, (ankle, _) in zip((1, -1), ankles, strict=True):
        hip = pelvis + sign * half * side
        gap = np.linalg.norm((hip - ankle)[:, :2], axis=1)
        limits.append(ankle[:, 2] + np.sqrt(np.maximum(reach**2 - gap**2, 0.1)) - sign * half * side[:, 2])
    ceiling = _softmin(*limits)
    wanted = identity.ankle_height + reach - 2 * identity.bob * (0.5 + 0.5 * np.cos(2 * angle - 0.4)) * swing
    pelvis[:, 2] = _softmin(ceiling, wanted)
    out[:, INDEX["pelvis"]] = pelvis
    for sign, name, (ankle, toe_dir) in zip((1, -1), ("left", "right"), ankles, strict=True):
        hip = pelvis + sign * half * side
        out[:, INDEX[f"{name}_hip"]] = hip
        pole = unit(_ahead(yaw) + toe_dir)
        out[:, INDEX[f"{name}_knee"]] = bend_knee(hip, ankle, identity.thigh, identity.shank, _flat(pole))

    lean = np.radians(identity.trunk_lean + 1.2 * np.cos(2 * angle - 0.6) * swing)
    tilt = np.radians(identity.trunk_roll) * np.sin(angle - 0.3) * swing
    chest_yaw = heading + np.radians(identity.trunk_yaw) * np.cos(angle) * swing
    ahead, left = _ahead(heading), _left(heading)
    spine = np.concatenate(
        [
            (np.sin(lean) * np.cos(tilt))[:, None] * ahead + np.sin(tilt)[:, None] * left,
            (np.cos(lean) * np.cos(tilt))[:, None],
        ],
        axis=1,
    )
    neck = pelvis + identity.trunk * spine
    out[:, INDEX["neck"]] = neck
    out[:, INDEX["chest"]] = pelvis + 0.62 * identity.trunk * spine
    across = np.concatenate([_left(chest_yaw), np.sin(tilt)[:, None] * 0.8], axis=1)
    for sign, name in ((1, "left"), (-1, "right")):
        out[:, INDEX[f"{name}_shoulder"]] = neck + sign * identity.shoulder_width / 2 * across
    _head(identity, out, neck, spine, heading)


def _head(identity: WalkerIdentity, out: Array, neck: Array, spine: Array, heading: Array) -> None:
    ahead = np.concatenate([_ahead(heading), np.zeros((len(heading), 1))], axis=1)
    left = np.concatenate([_left(heading), np.zeros((len(heading), 1))], axis=1)
    vertical = np.array([0.0, 0.0, 1.0])
    chin = neck + identity.neck * (0.5 * spine + 0.5 * vertical) + identity.head_forward * ahead
    pitch = np.radians(identity.head_pitch)
    up = np.cos(pitch) * vertical + np.sin(pitch) * ahead
    face = np.cos(pitch) * ahead - np.sin(pitch) * vertical
    size = identity.head
    out[:, INDEX["chin"]] = chin + 0.22 * size * up
    out[:, INDEX["head"]] = chin + 0.5 * size * up
    out[:, INDEX["vertex"]] = chin + 0.78 * size * up
    out[:, INDEX["nose"]] = chin + 0.38 * size * up + 0.42 * size * face
    for sign, name in ((1, "left"), (-1, "right")):
        out[:, INDEX[f"{name}_eye"]] = (
            chin + 0.52 * size * up + 0.34 * size * face + sign * 0.14 * size * left
        )
        out[:, INDEX[f"{name}_ear"]] = (
            chin + 0.45 * size * up + 0.02 * size * face + sign * 0.33 * size * left
        )


def _arms(identity: WalkerIdentity, out: Array, angle: Array, swing: Array, heading: Array) -> None:
    """Each arm swings with the opposite leg."""
    for index, (sign, name) in enumerate(((1, "left"), (-1, "right"))):
        beat = angle + np.pi * (index == 0) - 2 * np.pi * identity.arm_lag
        forward = np.cos(beat) + 0.12 * np.cos(2 * beat)
        upper = np.radians(identity.arm_offset + identity.arm_swing[index] * forward * swing)
        bend = (
            identity.elbow[index] * (0.35 + 0.65 * swing) + identity.elbow_swing * np.cos(beat - 0.5) * swing
        )
        lower = upper + np.radians(np.maximum(bend, 3.0))
        spread = np.radians(identity.arm_abduction[index])
        elbow = out[:, INDEX[f"{name}_shoulder"]] + identity.upper_arm * _hanging(
            heading, upper, sign * spread
        )
        direction = _hanging(heading, lower, sign * spread * 0.35)
        out[:, INDEX[f"{name}_elbow"]] = elbow
        out[:, INDEX[f"{name}_wrist"]] = elbow + identity.forearm * direction
        out[:, INDEX[f"{name}_hand"]] = elbow + identity.forearm * 1.42 * direction


def _hanging(heading: Array, flexion: Array, spread: float) -> Array:
    """Unit vectors that hang down, raised forwards by `flexion` and to the left by `spread`, radians."""
    floor = (np.sin(flexion) * np.cos(spread))[:, None] * _ahead(heading) + np.sin(spread) * _left(heading)
    return np.concatenate([floor, (-np.cos(flexion) * np.cos(spread))[:, None]], axis=1)


def _flat(direction: Array) -> Array:
    """Directions on the floor `[t, 2]` as `[t, 3]`."""
    return np.concatenate([direction, np.zeros((len(direction), 1))], axis=1)


def _softmin(a: Array, b: Array) -> Array:
    """A minimum with a 1 cm round corner, never above either."""
    sharpness = 200.0
    low, gap = np.minimum(a, b), np.abs(a - b)
    soft: Array = low - np.log1p(np.exp(-sharpness * gap)) / sharpness
    return soft


def _smooth(x: Array) -> Array:
    return x * x * (3 - 2 * x)


def _ahead(heading: Array) -> Array:
    return np.stack([np.cos(heading), np.sin(heading)], axis=-1)


def _left(heading: Array) -> Array:
    return np.stack([-np.sin(heading), np.cos(heading)], axis=-1)

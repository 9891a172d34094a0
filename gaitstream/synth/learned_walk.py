"""Joint positions of a walker whose style was drawn from the space of human walks.

The segments of `motion` are put together on the walker's own bones. The stride that a style makes at a
given form follows from its legs: the space is entered where they reach as far as the walker wants to step,
so that feet stand still on the floor as well as those of the recorded people did. On a curve, feet stand
where they would on a straight path bent along it, and knees follow.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from gaitstream.synth.identity import WalkerIdentity
from gaitstream.synth.motion import ROOT, SEGMENTS, Array, basis, unit
from gaitstream.synth.paths import Path
from gaitstream.synth.skeleton import BALL, HEEL, INDEX, JOINTS, SOLE_M, TOES
from gaitstream.synth.walk_space import WalkStyle, space, stride_changes

UP = np.array([0.0, 0.0, 1.0])
FLAT = (0.1, 0.3)
"""Where in its own cycle a foot lies flat."""
SHORTEST, LONGEST = 0.6, 2.4
"""Strides in leg lengths that the space is asked for."""


def learned_pose(
    identity: WalkerIdentity, style: WalkStyle, path: Path, s: Array, standing: Array, stride: float,
    sway_time: Array,
) -> Array:  # fmt: skip
    """As `gait.pose`, for an identity's body and a style."""
    series, lift = _settled(identity, style, round(stride, 4))
    cycle = s / stride
    terms = basis(cycle)
    walking = (1 - standing)[:, None]
    channels = np.einsum("rck,tk->trc", series, terms, optimize=True)
    channels += stride_changes(style.strides, cycle, terms)
    root = channels[:, ROOT] * walking * identity.leg
    segments = unit(_standing(series) * standing[:, None, None] + channels[:, :ROOT] * walking[..., None])
    body = assemble(identity, segments)
    root[:, 1] += 0.006 * np.sin(0.9 * sway_time) * standing
    ground = _lowest(body)
    root[:, 2] = (root[:, 2] + lift) * walking[:, 0] - ground * standing
    return _along(identity, path, s, body + root[:, None])


def assemble(identity: WalkerIdentity, segments: Array) -> Array:
    """Joints `[t, joints, 3]` from segments `[t, 15, 3]`, in the walker's axes, between the hips."""
    out = np.zeros((len(segments), len(JOINTS), 3))

    def along(name: str) -> Array:
        direction: Array = segments[:, SEGMENTS.index(name)]
        return direction

    def put(name: str, value: Array) -> None:
        out[:, INDEX[name]] = value

    between_shoulders = identity.trunk * along("spine")
    put("neck", between_shoulders + 0.35 * identity.neck * along("spine"))
    put("chest", 0.62 * between_shoulders)
    for sign, side in ((1, "left"), (-1, "right")):
        hip = sign * identity.hip_width / 2 * along("hips")
        knee = hip + identity.thigh * along(f"{side}_thigh")
        ankle = knee + identity.shank * along(f"{side}_shank")
        shoulder = between_shoulders + sign * identity.shoulder_width / 2 * along("shoulders")
        elbow = shoulder + identity.upper_arm * along(f"{side}_upper_arm")
        for name, value in (("hip", hip), ("knee", knee), ("ankle", ankle)):
            put(f"{side}_{name}", value)
        for name, value in (("shoulder", shoulder), ("elbow", elbow)):
            put(f"{side}_{name}", value)
        for name, reach in (("wrist", 1.0), ("hand", 1.42)):
            put(f"{side}_{name}", elbow + reach * identity.forearm * along(f"{side}_forearm"))
        _foot(identity, out, side, ankle, along(f"{side}_foot"))
    _head(identity, out, between_shoulders, along("head"), along("face"))
    return out


def _foot(identity: WalkerIdentity, out: Array, side: str, ankle: Array, direction: Array) -> None:
    upward = unit(UP - direction[:, 2:] * direction)
    sole = ankle - (identity.ankle_height - SOLE_M) * upward
    ball = sole + BALL * identity.foot * direction
    # Toes bend where the heel rises: they lie flat as long as the ball does.
    bent = direction.copy()
    bent[:, 2] *= np.where(direction[:, 2] < 0, 0.0, 1.0)
    out[:, INDEX[f"{side}_heel"]] = sole - HEEL * identity.foot * direction
    out[:, INDEX[f"{side}_toe"]] = ball + TOES * identity.foot * unit(bent)


def _head(
    identity: WalkerIdentity, out: Array, between_shoulders: Array, towards: Array, face: Array
) -> None:
    size = identity.head
    ears = between_shoulders + (identity.neck + 0.45 * size) * towards
    left = unit(np.cross(UP, face))
    # Noses lie a little below the ears.
    ahead = unit(face + 0.17 * np.cross(face, left))
    upward = np.cross(ahead, left)
    chin = ears - 0.45 * size * upward - 0.02 * size * ahead
    for name, up, forward in (
        ("chin", 0.22, 0.0), ("head", 0.5, 0.0), ("vertex", 0.78, 0.0), ("nose", 0.38, 0.42),
    ):  # fmt: skip
        out[:, INDEX[name]] = chin + size * (up * upward + forward * ahead)
    for sign, side in ((1, "left"), (-1, "right")):
        for name, up, forward, aside in (("eye", 0.52, 0.34, 0.14), ("ear", 0.45, 0.02, 0.33)):
            out[:, INDEX[f"{side}_{name}"]] = chin + size * (
                up * upward + forward * ahead + sign * aside * left
            )


@lru_cache(maxsize=1024)
def _settled(identity: WalkerIdentity, style: WalkStyle, stride: float) -> tuple[Array, float]:
    """The series of a style that steps as far as asked, and what lifts its feet to the floor, in metres."""
    asked = stride / identity.leg
    at = float(np.clip(asked, SHORTEST, LONGEST))
    known = space()
    for _ in range(4):
        series = _with_flat_feet(known.series(style, at))
        at = float(np.clip(at + asked - _reach(identity, series), SHORTEST, LONGEST))
    series = _with_flat_feet(known.series(style, at))
    phases = np.arange(64) / 64
    channels = np.einsum("rck,tk->trc", series, basis(phases), optimize=True)
    low = _lowest(assemble(identity, unit(channels[:, :ROOT]))) + identity.leg * channels[:, ROOT, 2]
    return series, -float(np.quantile(low, 0.1))


def _with_flat_feet(series: Array) -> Array:
    """Feet turned about their own side so that they lie flat when they should: markers sit at any height."""
    level = series.copy()
    for side, offset in (("left", 0.0), ("right", 0.5)):
        row = SEGMENTS.index(f"{side}_foot")
        flat = (series[row] @ basis(np.linspace(*FLAT, 5) + offset).T).mean(1)
        tilt = np.arctan2(flat[2], np.hypot(flat[0], flat[1]))
        ahead, up = series[row, 0], series[row, 2]
        level[row, 0] = np.cos(tilt) * ahead + np.sin(tilt) * up
        level[row, 2] = np.cos(tilt) * up - np.sin(tilt) * ahead
    return level


def _reach(identity: WalkerIdentity, series: Array) -> float:
    """Stride in leg lengths at which feet that lie flat stand still."""
    travel = []
    for side, offset in (("left", 0.0), ("right", 0.5)):
        cycle = np.array(FLAT) + offset
        channels = np.einsum("rck,tk->trc", series, basis(cycle), optimize=True)
        body = assemble(identity, unit(channels[:, :ROOT]))
        ankle = body[:, INDEX[f"{side}_ankle"], 0] + identity.leg * channels[:, ROOT, 0]
        travel.append((ankle[0] - ankle[1]) / (FLAT[1] - FLAT[0]))
    return float(np.mean(travel)) / identity.leg


def _lowest(body: Array) -> Array:
    """Height of the lowest sole, less its thickness, `[t]`."""
    feet = [INDEX[f"{side}_{end}"] for side in ("left", "right") for end in ("heel", "toe")]
    low: Array = body[:, feet, 2].min(1) - SOLE_M
    return low


def _standing(series: Array) -> Array:
    """Segments of somebody with this walk who stands: straight legs, everything else as on average."""
    still: Array = unit(series[:ROOT, :, 0])
    for sign, side in ((1, "left"), (-1, "right")):
        for part in ("thigh", "shank"):
            still[SEGMENTS.index(f"{side}_{part}")] = unit(np.array([0.0, sign * 0.03, -1.0]))
        still[SEGMENTS.index(f"{side}_foot")] = unit(np.array([1.0, sign * 0.12, 0.0]))
    return still


def _along(identity: WalkerIdentity, path: Path, s: Array, body: Array) -> Array:
    """Place a body that walks straight ahead on its path: rigidly, but that feet follow the curve."""
    xy, heading = path.at(s)
    ahead = np.stack([np.cos(heading), np.sin(heading)], -1)
    left = np.stack([-ahead[:, 1], ahead[:, 0]], -1)
    out = body.copy()
    out[..., :2] = xy[:, None] + body[..., :1] * ahead[:, None] + body[..., 1:2] * left[:, None]
    for side in ("left", "right"):
        for name in ("ankle", "heel", "toe"):
            joint = body[:, INDEX[f"{side}_{name}"]]
            place, there = path.at(s + joint[:, 0])
            aside = np.stack([-np.sin(there), np.cos(there)], -1)
            out[:, INDEX[f"{side}_{name}"], :2] = place + joint[:, 1:2] * aside
        hip, knee, ankle = (out[:, INDEX[f"{side}_{name}"]] for name in ("hip", "knee", "ankle"))
        out[:, INDEX[f"{side}_knee"]] = bend_knee(hip, ankle, identity.thigh, identity.shank, knee - hip)
    return out


def bend_knee(hip: Array, ankle: Array, thigh: float, shank: float, towards: Array) -> Array:
    """Knees `[t, 3]` of two-bone inverse kinematics, bent in the directions `towards` `[t, 3]`."""
    line = ankle - hip
    length = np.linalg.norm(line, axis=1)
    reach = np.minimum(length, (thigh + shank) * 0.9999)
    line = line / length[:, None]
    along = (reach**2 + thigh**2 - shank**2) / (2 * reach)
    bulge = np.sqrt(np.maximum(thigh**2 - along**2, 0))
    aside = unit(towards - np.sum(towards * line, axis=1, keepdims=True) * line)
    knee: Array = hip + along[:, None] * line + bulge[:, None] * aside
    return knee

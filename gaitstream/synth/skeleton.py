"""The joints of a walker and the tapered limbs between them."""

from __future__ import annotations

from typing import NamedTuple

KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
"""The 17 COCO keypoints, in COCO order; they are the first 17 joints."""

JOINTS = (
    *KEYPOINTS,
    "pelvis", "chest", "neck", "head", "vertex", "left_heel", "right_heel", "left_toe", "right_toe",
    "left_hand", "right_hand", "chin",
)  # fmt: skip
INDEX = {name: index for index, name in enumerate(JOINTS)}

HEEL, BALL, TOES = 0.26, 0.52, 0.17
"""Ankle to heel, ankle to ball, ball to toe tip as shares of the foot's length."""
SOLE_M = 0.022
"""The joints of the foot lie this much above its sole."""


class Limb(NamedTuple):
    """A tapered capsule between two joints; radii as shares of stature, for average build."""

    start: int
    end: int
    start_radius: float
    end_radius: float
    part: str


def _limb(start: str, end: str, start_radius: float, end_radius: float, part: str) -> Limb:
    return Limb(INDEX[start], INDEX[end], start_radius, end_radius, part)


def _both(start: str, end: str, start_radius: float, end_radius: float, part: str) -> tuple[Limb, Limb]:
    left, right = (
        _limb(f"{side}_{start}", f"{side}_{end}", start_radius, end_radius, f"{side}_{part}")
        for side in ("left", "right")
    )
    return left, right


LIMBS = (
    *_both("hip", "knee", 0.050, 0.033, "thigh"),
    *_both("knee", "ankle", 0.032, 0.020, "shank"),
    *_both("heel", "toe", 0.020, 0.015, "foot"),
    _limb("pelvis", "chest", 0.070, 0.074, "torso"),
    _limb("chest", "neck", 0.074, 0.038, "torso"),
    *_both("hip", "shoulder", 0.047, 0.028, "flank"),
    *_both("shoulder", "elbow", 0.030, 0.024, "upper_arm"),
    *_both("elbow", "wrist", 0.023, 0.016, "forearm"),
    *_both("wrist", "hand", 0.016, 0.014, "hand"),
    _limb("neck", "chin", 0.028, 0.028, "neck"),
    _limb("chin", "vertex", 0.045, 0.053, "head"),
)

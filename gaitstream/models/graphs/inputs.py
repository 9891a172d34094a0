"""Inputs that several families share."""

from __future__ import annotations

from typing import Literal

from gaitstream.models.manifest import InputContract, InputKind


def silhouette(preparation: Literal["general", "ccpg"]) -> InputContract:
    """Silhouettes of 64 x 44, aligned by one of the published rules."""
    return InputContract(
        kind=InputKind.SILHOUETTE,
        height=64,
        width=44,
        channels=1,
        crop_rule="segment",
        preparation=preparation,
    )


SILHOUETTE = silhouette("general")
SKELETON_MAP = InputContract(kind=InputKind.SKELETON_MAP, height=64, width=44, channels=2, crop_rule="pose")
JOINTS = InputContract(kind=InputKind.JOINTS, height=17, width=3, channels=17, crop_rule="pose")
"""COCO joints: x and y in pixels, score."""
CROP = InputContract(kind=InputKind.CROP, height=256, width=128, channels=3, crop_rule="pad_to_aspect")


def representation(channels: int) -> InputContract:
    """Pictures that a data set stores, of this many channels."""
    return InputContract(
        kind=InputKind.REPRESENTATION, height=64, width=44, channels=channels, crop_rule="segment"
    )

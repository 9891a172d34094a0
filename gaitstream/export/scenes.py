"""Pictures with the people in them: what a detector or pose model is calibrated with and judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gaitstream.data import Floats, Image
from gaitstream.errors import ExportError
from gaitstream.export.drawn import SOURCE
from gaitstream.export.sources import FEWEST, works_of_video
from gaitstream.synth.address import parse_address
from gaitstream.synth.source import SyntheticCamera
from gaitstream.synth.truth import Truth

SITES = (("plaza", 1), ("lobby", 2), ("yard", 4), ("corridor", 1))
CALIBRATING_SEED, JUDGED_SEED = 730_000, 731_000
CALIBRATING, JUDGED = 10, 40
"""Pictures of each site."""
STEP = 11
"""Frames between them."""
VISIBLE, SMALLEST_PX = 0.25, 40
"""People of whom less can be seen are no part of the truth."""


@dataclass(frozen=True)
class Scene:
    """One picture.

    Attributes:
        image: BGR uint8 `[height, width, 3]`.
        boxes: of its people, xyxy pixels `[n, 4]`.
        joints: their true COCO joints in pixels `[n, 17, 2]`; None where nobody knows.
        ignored: boxes of people who are hardly seen: finding them is neither right nor wrong.
    """

    image: Image
    boxes: Floats
    joints: Floats | None = None
    ignored: Floats = field(default_factory=lambda: np.empty((0, 4), np.float32))


@dataclass(frozen=True)
class Scenes:
    """Pictures to calibrate with and others to judge by; `true` where boxes and joints are the truth."""

    calibrating: Sequence[Scene]
    judged: Sequence[Scene]
    true: bool


def read_scenes(source: str) -> Scenes:
    """The scenes of the synthetic world (`synth`), or the frames of a video or of a `cams.yaml`'s videos.

    A video's first half calibrates, its second half is judged.

    Raises:
        ExportError: it is not there, cannot be read, or shows too few people.
    """
    if source == SOURCE:
        return Scenes(_drawn(CALIBRATING_SEED, CALIBRATING), _drawn(JUDGED_SEED, JUDGED), true=True)
    works = works_of_video(source)
    scenes = [Scene(work.frame.image, np.stack([one.box for one in work.persons])) for work in works]
    half = len(scenes) // 2
    if sum(len(scene.boxes) for scene in scenes[:half]) < FEWEST // 2:
        raise ExportError(f"{source} shows too few people in its first half: give a longer video")
    return Scenes(scenes[:half], scenes[half:], true=False)


def _drawn(seed: int, count: int) -> list[Scene]:
    scenes = []
    for number, (site, camera) in enumerate(SITES):
        address = f"synth://{site}?camera={camera}&people=8&seed={seed + number}&day=30"
        source = SyntheticCamera(parse_address(address))
        frames = range(0, STEP * count, STEP)
        scenes += [_scene(source.image(index), source.truth(index)) for index in frames]
    return [scene for scene in scenes if len(scene.boxes)]


def _scene(image: Image, truth: Truth) -> Scene:
    boxes = np.clip(truth.boxes, 0, np.array(image.shape[1::-1] * 2, np.float32)).astype(np.float32)
    counts = (truth.visibility >= VISIBLE) & (boxes[:, 3] - boxes[:, 1] >= SMALLEST_PX)
    joints = truth.keypoints[counts][:, :, :2].astype(np.float32)
    return Scene(image, boxes[counts], joints, boxes[~counts])

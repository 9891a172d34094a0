"""Labelled sequences of the synthetic world, in whatever way a model looks at a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Frame, Image, Person
from gaitstream.errors import ExportError
from gaitstream.export.calibration import LabelledCalibration, frame_inputs, spread
from gaitstream.models.alignment import HeatmapAligner
from gaitstream.models.bundle import Bundle
from gaitstream.models.crops import crop_around
from gaitstream.models.inputs import Inputs, as_graph_input, pick
from gaitstream.models.manifest import ClipContract, InputKind, Manifest
from gaitstream.models.pose import PoseModel
from gaitstream.pipeline.gather import Gathering, Stopwatch, Work
from gaitstream.synth.appearance import sample_appearance
from gaitstream.synth.identity import sample_identity
from gaitstream.synth.render import Renderer
from gaitstream.synth.studio import SCENERIES, Pass, sample_camera, sample_pass

SOURCE = "synth"
CROWD = 20261
"""Seed of these people: none of them is in the demo's training, its cards or its tests."""
CAMERAS = 6
MASK_PX = (192, 192)


@dataclass(frozen=True)
class Cast:
    """Who is drawn.

    Attributes:
        first: number of the first person.
        people: how many.
        passes: sequences of each, in other clothes before other cameras.
        frames: of each sequence, where a window's are not needed at once.
    """

    first: int
    people: int
    passes: int
    frames: int


CALIBRATING = Cast(first=0, people=16, passes=1, frames=6)
JUDGED = Cast(first=1000, people=40, passes=3, frames=6)


def draw_walks(bundle: Bundle, cast: Cast, pose: str = "demo") -> LabelledCalibration:
    """Draw people walking past cameras and make of the pictures what a bundle's graph takes.

    Args:
        bundle: whose inputs are made.
        cast: who walks.
        pose: pose model for those that look at joints; the synthetic world's own by default.

    Raises:
        ExportError: the model looks at what no camera sees.
    """
    model = PoseModel.load(pose, precision="fp32") if bundle.manifest.needs_pose else None
    stage = _Stage(bundle.manifest, model)
    try:
        found = [stage.inputs(person, number, cast) for person, number in _passes(cast)]
    finally:
        if model is not None:
            model.close()
    lengths = [len(next(iter(one.values()))) for one in found]
    sequence = np.repeat(np.arange(len(found)), lengths)
    inputs = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    label = np.array([person for person, _ in _passes(cast)])
    return LabelledCalibration(SOURCE, graph_feeds(bundle, inputs, sequence), sequence, label)


def graph_feeds(bundle: Bundle, inputs: Inputs, sequence: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """What a bundle's frame or clip graph takes of what was gathered of persons.

    Args:
        bundle: the bundle.
        inputs: see `models.inputs`.
        sequence: of each row.
    """
    manifest = bundle.manifest
    feeds = {}
    for name, (dtype, _) in frame_inputs(bundle).items():
        if name == InputKind.POSE and manifest.alignment is not None:
            aligner = HeatmapAligner(manifest.alignment)
            heatmaps = pick(inputs, "heatmaps", manifest)
            feeds[name] = aligner.align(heatmaps, inputs.get("keypoints"), sequence)
        else:
            feeds[name] = as_graph_input(name, pick(inputs, name, manifest), dtype.name)
    return feeds


def gather(works: Sequence[Work], manifest: Manifest, pose: PoseModel | None) -> Gathering:
    """Everybody in some frames, with what the pose model finds.

    Raises:
        ExportError: the model looks at what no camera sees.
    """
    if InputKind.REPRESENTATION in manifest.needs:
        raise ExportError(
            f"{manifest.model} looks at pictures that only a data set has: give --calibration FILE.npz"
        )
    batch = Gathering(works, Stopwatch())
    if pose is not None:
        batch.find_poses(pose)
    return batch


class _Stage:
    """Draws passes before a few cameras that are the same in every export."""

    def __init__(self, manifest: Manifest, pose: PoseModel | None) -> None:
        self._manifest, self._pose = manifest, pose
        rng = np.random.default_rng([CROWD, 1])
        cameras = [sample_camera(rng) for _ in range(CAMERAS)]
        self._renderers = [
            Renderer(camera, SCENERIES[index % len(SCENERIES)], day=index % 3)
            for index, camera in enumerate(cameras)
        ]

    def inputs(self, person: int, number: int, cast: Cast) -> Inputs:
        """A row of every input per frame of one pass."""
        rng = np.random.default_rng([CROWD, person, number])
        renderer = self._renderers[int(rng.integers(CAMERAS))]
        look = sample_appearance(CROWD, person, number)
        walk = sample_pass(sample_identity(CROWD, person), look, rng, 30, renderer.camera, tries=6)
        moments = _moments(len(walk.boxes), cast.frames, self._manifest.clip)
        works = [_work(walk, int(index), walk.picture(int(index), renderer)) for index in moments]
        batch = gather(works, self._manifest, self._pose)
        if InputKind.SILHOUETTE in self._manifest.needs:
            batch.masks = np.stack([_mask(walk, int(index)) for index in moments])
        return batch.inputs(self._manifest)


def _moments(count: int, frames: int, clip: ClipContract | None) -> NDArray[np.int64]:
    """Which frames of a pass are drawn: some, evenly spread, or for a clip graph as many as it takes."""
    if clip is None:
        return spread(np.arange(count), frames)
    return clip_rows(count, clip)


def clip_rows(count: int, clip: ClipContract) -> NDArray[np.int64]:
    """Indices of a window's frames out of so many; a pass that is too short is walked again."""
    return np.arange(clip.fit(max(count, clip.min_frames, clip.grouping)) or count) % count


def _passes(cast: Cast) -> list[tuple[int, int]]:
    """Person and number of each pass."""
    people = range(cast.first, cast.first + cast.people)
    return [(person, number) for person in people for number in range(cast.passes)]


def _work(walk: Pass, index: int, image: Image) -> Work:
    """One moment of a pass as a frame with its only person."""
    time_ns = int(index / walk.camera.fps * 1e9)
    person = Person(SOURCE, 0, index, time_ns, walk.boxes[index].astype(np.float32), 1.0)
    return Work(Frame(SOURCE, index, time_ns, image), (person,))


def _mask(walk: Pass, index: int) -> NDArray[np.uint8]:
    """The person's mask in the crop that a segmentation model is given."""
    picture = np.repeat(walk.mask(index)[:, :, None], 3, axis=2)
    crop = crop_around(picture, walk.boxes[index][None].astype(np.float32), MASK_PX)[0, 0]
    return np.where(crop > 127, np.uint8(255), np.uint8(0))

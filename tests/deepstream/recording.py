"""The native front end on the synthetic world, and the metadata DeepStream would make of the same walk.

Nothing is faked on this side: drawn pictures, the demo detector, tracker, evidence, crops, the demo pose
model and the frame graphs of two recognizers, as `Pipeline` runs them. GaitHeat is the demo's, BigGait a
small random network, so that a person's tensors come from two encoders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.config.schema import Config
from gaitstream.data import Decision, Feature, Frame, Person
from gaitstream.deepstream.graph import encoder_name
from gaitstream.deepstream.plan import feature_layer, keypoints_layer
from gaitstream.models.pose import keypoints, to_image
from gaitstream.pipeline.encode import Encoded, Encoder
from gaitstream.pipeline.gather import Work
from gaitstream.pipeline.identify import TrackState
from gaitstream.pipeline.judge import EvidenceJudge
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.runner import Pipeline
from tests.deepstream.fake import pyservicemaker as fake

SIZE = (640, 360)
MUXED = (1280, 720)
CAMERAS = ("north", "south")
FPS = 10
SECONDS = 7
WORLD = f"synth://corridor?people=5&seed=5&start=3&fps={FPS}&seconds={SECONDS}"

FIRST_ID = 2**33
"""Object id of track 0, on either camera: DeepStream's ids are 64 bits wide."""

Tensors = dict[str, dict[str, NDArray[Any]]]
"""Layers by the element that makes them."""


@dataclass
class Step:
    """One frame of one camera, as the native front end hands it to the pipeline behind."""

    frame: Frame
    persons: tuple[Person, ...]
    features: list[Feature]
    tensors: dict[int, Tensors]
    """What nvinfer would attach, by track: it encodes everybody, also those who are no evidence."""
    ended: list[int] = field(default_factory=list)
    """Tracks that ended with this frame."""


@dataclass
class Recording:
    """A run of the native front end."""

    steps: list[Step]
    batches: list[fake.Batch]
    """The same frames as muxed buffers, one frame of every camera in each."""
    encoder: Encoder
    """Open: its recognizers serve the pipeline behind."""


class Recorder(Encoder):
    """The native encoder, which remembers what went through it."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder.recognizers, encoder.pose)
        self.steps: list[Step] = []

    def encode(self, works: Sequence[Work], judge: EvidenceJudge) -> Encoded:
        """Encode; frames come one at a time, because a batch holds one."""
        encoded = super().encode(works, judge)
        (work,), (persons,) = works, encoded.persons
        features = list(encoded.features)
        self.steps.append(Step(work.frame, persons, features, self._tensors(work, features)))
        return encoded

    def _tensors(self, work: Work, features: list[Feature]) -> dict[int, Tensors]:
        """Everybody's outputs in nvinfer's types; of accepted persons the native features themselves."""
        assert self.pose is not None
        if not work.persons:
            return {}
        image, boxes = work.frame.image, np.stack([person.box for person in work.persons])
        heatmaps = self.pose.heatmaps(self.pose.crop(image, boxes))
        points = keypoints(heatmaps)
        joints = in_muxed_frame(to_image(points, boxes))
        maps = {
            "biggait": self.recognizers["biggait"].encode(*self.recognizers["biggait"].crop(image, boxes)),
            "gaitheat": self.recognizers["gaitheat"].encode(heatmaps, points),
        }
        own = {(feature.model, feature.person.track): feature.map for feature in features}
        tensors: dict[int, Tensors] = {}
        for row, person in enumerate(work.persons):
            layers: Tensors = {}
            for kind in ("biggait", "gaitheat"):
                feature = own.get((kind, person.track), maps[kind][row])
                layers[encoder_name(kind)] = {feature_layer(kind): feature.astype(np.float16)}
            layers[encoder_name("gaitheat")][keypoints_layer("gaitheat")] = joints[row]
            tensors[person.track] = layers
        return tensors


class Ends(Observer):
    """Notes with which frame tracks ended."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps

    def on_track_ended(self, state: TrackState, decision: Decision, cause: str) -> None:
        """The pipeline says so right after the frame."""
        if cause == "lost":
            self.steps[-1].ended.append(state.track)


def record(biggait: Path) -> Recording:
    """Run the native front end over the world's seconds.

    Args:
        biggait: a small bundle; GaitHeat is the demo's.
    """
    config = Config.model_validate(
        {
            "cameras": [
                {"id": name, "url": f"{WORLD}&camera={number}", "fps": FPS}
                for number, name in enumerate(CAMERAS, 1)
            ],
            "models": {"biggait": str(biggait), "gaitheat": "demo"},
            # One frame in a batch: nothing depends on which camera's thread is ahead.
            "runtime": {"precision": "fp32", "threads": 1, "batch": 1},
            **judgement(),
        }
    )
    recorder = Recorder(Encoder.load(config))
    with Pipeline(config, encoder=recorder, observers=[Ends(recorder.steps)]) as pipeline:
        pipeline.run()
    return Recording(recorder.steps, to_batches(recorder.steps), recorder)


def judgement() -> dict[str, Any]:
    """Sections that both front ends have to share."""
    return {
        # DeepStream's trackers go by boxes, and wait for nobody longer than for others.
        "tracking": {"algorithm": "bytetrack"},
        "tracklets": {"length": 20, "stride": 10, "provisional_from": 5},
        # Blur is judged on pixels, and none leave the GPU. A strict pose score, so that some fall short.
        "quality": {"min_sharpness": 0, "min_pose_score": 0.7},
    }


def to_batches(steps: Sequence[Step]) -> list[fake.Batch]:
    """Steps as DeepStream's metadata: boxes in the muxed frame, half-precision tensors, large ids."""
    by_camera = [[step for step in steps if step.frame.camera == camera] for camera in CAMERAS]
    return [
        fake.Batch([_frame(number, step, line[0]) for number, (step, line) in enumerate(pairs)])
        for pairs in (list(zip(moment, by_camera, strict=True)) for moment in zip(*by_camera, strict=True))
    ]


def in_muxed_frame(joints: NDArray[np.float32]) -> NDArray[np.float32]:
    """Joints from pixels of the camera's frame to those of the muxed one, where the fake takes them."""
    moved = joints.copy()
    moved[..., :2] = (joints[..., :2] + 0.5) * (np.array(MUXED) / np.array(SIZE)) - 0.5
    return moved


def _smoothed(rect: list[float]) -> list[float]:
    """A box as a tracker would have it: not the detector's, and inside the frame."""
    left, top, width, height = rect
    left, top = max(left + 5, 0), max(top - 7, 0)
    return [left, top, min(width * 1.08, MUXED[0] - left), min(height * 0.95, MUXED[1] - top)]


def _frame(number: int, step: Step, first: Step) -> fake.Frame:
    frame = step.frame
    elapsed_ns = frame.time_ns - first.frame.time_ns
    persons = [_person(person, step.tensors[person.track]) for person in step.persons]
    return fake.Frame(number, frame.index, elapsed_ns, frame.time_ns, SIZE, MUXED, persons)


def _person(person: Person, tensors: Tensors) -> fake.Person:
    scale = np.array([MUXED[0] / SIZE[0], MUXED[1] / SIZE[1]] * 2)
    left, top, right, bottom = (person.box.astype(np.float64) * scale).tolist()
    rect = [left, top, right - left, bottom - top]
    return fake.Person(FIRST_ID + person.track, person.score, rect, tensors, tracked=_smoothed(rect))

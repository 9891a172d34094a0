"""Fills the demo's gallery: each enrolled person walks alone before the first camera, in other clothes.

As with a recorded walk of a real person, every window of every tracklet becomes a template: a person comes,
turns and goes, and the nearest template decides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gaitstream.config.schema import Config
from gaitstream.data import Decision, Embedding, Floats, Frame, Person
from gaitstream.demo.ground_truth import CropSampler, picture
from gaitstream.demo.plan import FPS, DemoPlan
from gaitstream.errors import ConfigError, GalleryError
from gaitstream.gallery import Enrolment, Gallery
from gaitstream.gallery.keys import make_key_file
from gaitstream.models.pose import PoseModel
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.runner import Pipeline
from gaitstream.runners.launch import signals
from gaitstream.synth.address import to_url

if TYPE_CHECKING:
    from gaitstream.models.detector import DetectorModel
    from gaitstream.pipeline.encode import Encoder

ATTEMPTS = 3
MIN_TEMPLATES = 8
"""Fewer windows do not show a person from enough sides."""
MOST_PICTURES = 12
"""Of each person in the report."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What the enrolment of one person left.

    Attributes:
        name: of the person.
        templates: how many windows were stored.
        tracklets: tracks they come from.
        pictures: JPEG crops in the order of time.
    """

    name: str
    templates: int
    tracklets: int
    pictures: list[bytes]


class _Collector(Observer):
    """Windows by camera and recognizer, and pictures; each camera sees one person."""

    def __init__(self, pose: PoseModel, advance: Callable[[], None]) -> None:
        self._advance = advance
        self.windows: dict[tuple[str, str], list[Floats]] = defaultdict(list)
        self.tracks: dict[str, set[int]] = defaultdict(set)
        self.samples = CropSampler(pose, MOST_PICTURES)

    def on_frame(self, frame: Frame, persons: Sequence[Person], labels: Mapping[int, Decision]) -> None:  # noqa: ARG002
        """Keep pictures of the one who is evidence."""
        self._advance()
        for person in persons:
            if person.rejected is None:
                self.samples.offer((frame.camera, 0), frame.image, person.box)

    def on_embedding(self, embedding: Embedding) -> None:
        """Keep a full window."""
        tracklet = embedding.tracklet
        if not tracklet.provisional:
            self.windows[tracklet.camera, tracklet.model].append(embedding.parts)
            self.tracks[tracklet.camera].add(tracklet.track)


def enrol(
    plan: DemoPlan, path: Path, detector: DetectorModel, encoder: Encoder, advance: Callable[[], None]
) -> list[Enrolled]:
    """Run the pipeline on the enrolment walks and store every window as a template.

    Whoever was not seen well enough walks on and is looked at again, up to `ATTEMPTS` times.

    Args:
        plan: who is enrolled, from which camera.
        path: the gallery to make.
        detector: open; stays open.
        encoder: open; stays open.
        advance: told of every frame; there are `enrolment_frames(plan)`, and more when somebody walks on.

    Raises:
        GalleryError: somebody was never seen well enough for `MIN_TEMPLATES` windows.
        KeyboardInterrupt: the user has asked to stop.
    """
    names = {f"enrol-{index}": plan.names[index] for index in range(plan.enrolled)}
    seen = _Collector(pose_of(encoder), advance)

    def too_few(camera: str) -> bool:
        return any(len(seen.windows[camera, model]) < MIN_TEMPLATES for model in plan.gait)

    for attempt in range(ATTEMPTS):
        missing = [camera for camera in names if too_few(camera)]
        if missing:
            _walk(plan, missing, attempt, seen, detector, encoder)
    for camera, name in names.items():
        if too_few(camera):
            raise GalleryError(f"{name} was never seen well enough to be enrolled; try another --seed")
    pictures = {camera: [picture(crop) for crop in seen.samples.crops((camera, 0))] for camera in names}
    make_key_file(Path(f"{path}.key"))  # a key of its own, gone with the demo: nobody needs to keep it
    with Gallery(path, create=True) as gallery:
        gallery.enroll_many(
            Enrolment(
                name,
                model,
                encoder.recognizers[model].fingerprint,
                np.stack(seen.windows[camera, model]),
                "demo enrolment",
                pictures[camera] if model == plan.gait[0] else (),
            )
            for camera, name in names.items()
            for model in plan.gait
        )
    return [
        Enrolled(
            name,
            templates=sum(len(seen.windows[camera, model]) for model in plan.gait),
            tracklets=len(seen.tracks[camera]),
            pictures=pictures[camera],
        )
        for camera, name in names.items()
    ]


def pose_of(encoder: Encoder) -> PoseModel:
    """The pose model beside the recognizer.

    Raises:
        ConfigError: there is none, so that this is not the demo's encoder.
    """
    if encoder.pose is None:
        raise ConfigError("the demo needs a recognizer with a pose model; install gaitstream again")
    return encoder.pose


def enrolment_frames(plan: DemoPlan) -> int:
    """Frames of one stretch of walking by everybody who is enrolled."""
    return plan.enrolled * round(plan.enrol_seconds * FPS)


def _walk(
    plan: DemoPlan,
    cameras: list[str],
    attempt: int,
    collector: _Collector,
    detector: DetectorModel,
    encoder: Encoder,
) -> None:
    """One stretch of walking for everybody named by a camera id."""
    entries = [
        {"id": camera, "url": to_url(plan.enrolment(int(camera.split("-")[1]), attempt)), "fps": None}
        for camera in cameras
    ]
    config = Config.model_validate({"cameras": entries, "models": plan.models()})
    with (
        Pipeline(config, observers=[collector], detector=detector, encoder=encoder) as pipeline,
        signals(pipeline.stop),
    ):
        if pipeline.run().cause != "end_of_stream":
            raise KeyboardInterrupt

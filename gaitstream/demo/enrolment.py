"""Fills the demo's gallery: each enrolled person walks alone before the first camera, in other clothes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gaitstream.demo.plan import Plan
from gaitstream.demo.referee import Album, picture
from gaitstream.errors import GalleryError
from gaitstream.gallery import Gallery
from gaitstream.pipeline.config import Config
from gaitstream.pipeline.data import Decision, Embedding, Floats, Frame, Person
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.runner import Pipeline
from gaitstream.pose import PoseModel
from gaitstream.synth import sample_identity
from gaitstream.synth.address import to_url

if TYPE_CHECKING:
    from gaitstream.pipeline.detect import DetectorModel
    from gaitstream.pipeline.encode import Encoder

MODEL = "gaitheat"
ATTEMPTS = 4
MIN_TEMPLATES = 4
"""Fewer windows do not show a person from enough sides."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What the enrolment of one person left.

    Attributes:
        name: of the person.
        templates: how many windows were stored.
        pictures: JPEG crops in the order of time.
    """

    name: str
    templates: int
    pictures: list[bytes]


class _Collector(Observer):
    """Windows and pictures by camera; each camera sees one person."""

    def __init__(self, pose: PoseModel) -> None:
        self.windows: dict[str, list[Floats]] = defaultdict(list)
        self.album = Album(pose)

    def on_frame(self, frame: Frame, persons: Sequence[Person], labels: Mapping[int, Decision]) -> None:  # noqa: ARG002
        """Keep pictures of the one who is evidence."""
        for person in persons:
            if person.rejected is None:
                self.album.offer((frame.camera, 0), frame.image, person.box)

    def on_embedding(self, embedding: Embedding) -> None:
        """Keep a full window."""
        if not embedding.tracklet.provisional:
            self.windows[embedding.tracklet.camera].append(embedding.parts)


def enrol(plan: Plan, path: Path, detector: DetectorModel, encoder: Encoder) -> list[Enrolled]:
    """Run the pipeline on the enrolment walks and store every window as a template.

    Whoever was not seen well enough walks on and is looked at again, up to `ATTEMPTS` times.

    Args:
        plan: who is enrolled, from which camera.
        path: the gallery to make.
        detector: open; stays open.
        encoder: open; stays open.

    Raises:
        GalleryError: somebody was never seen well enough for `MIN_TEMPLATES` windows.
    """
    names = {f"enrol-{index}": sample_identity(plan.seed, index).name for index in range(plan.enrolled)}
    pose = encoder.pose
    if pose is None:
        raise GalleryError("the demo's recognizer needs a pose model")
    collector = _Collector(pose)
    for attempt in range(ATTEMPTS):
        missing = [camera for camera in names if len(collector.windows[camera]) < MIN_TEMPLATES]
        if missing:
            _walk(plan, missing, attempt, collector, detector, encoder)
    fingerprint = encoder.recognizers[MODEL].fingerprint
    out = []
    with Gallery(path, create=True) as gallery:
        for camera, name in names.items():
            windows = collector.windows[camera]
            if len(windows) < MIN_TEMPLATES:
                raise GalleryError(f"{name} was never seen well enough to be enrolled; try another --seed")
            gallery.enroll(name, MODEL, fingerprint, np.stack(windows), source="demo enrolment")
            crops = collector.album.crops((camera, 0))
            out.append(Enrolled(name, len(windows), [picture(crop) for crop in crops]))
    return out


def _walk(
    plan: Plan,
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
    config = Config.model_validate({"cameras": entries, "models": {MODEL: "demo"}})
    # Closing this pipeline would close the models, which the live run uses next.
    Pipeline(config, observers=[collector], detector=detector, encoder=encoder).run()

"""Cutting people out and running the frame graphs, in batches across cameras."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gaitstream.config.schema import Config
from gaitstream.data import Feature, Floats, Frame, Image, Person, Reason
from gaitstream.errors import ConfigError
from gaitstream.models.resolve import resolve
from gaitstream.pipeline.judge import EvidenceJudge

if TYPE_CHECKING:
    from gaitstream.models.pose import PoseModel
    from gaitstream.models.recognizer import Recognizer


@dataclass(frozen=True, slots=True)
class Work:
    """One frame's persons, judged by their boxes, waiting for the networks."""

    frame: Frame
    persons: tuple[Person, ...]


@dataclass(slots=True)
class Encoded:
    """What came of a batch of works."""

    persons: list[tuple[Person, ...]]
    """Everybody, per work, with the final reason of those rejected."""
    features: list[Feature]
    """One per accepted person and recognizer, in the order of the works."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time by step: `crop`, `pose`, `keypoints`, and one per recognizer."""


@dataclass(slots=True)
class _Candidate:
    """An accepted person on the way through the steps."""

    work: int
    index: int
    person: Person
    reason: Reason | None = None


class Encoder:
    """Pixels, pose and frame graphs for the accepted persons of many cameras; one thread at a time.

    A GaitHeat bundle normalised over the tracklet cannot be encoded frame by frame: its features hold the
    heatmaps `[17, 64, 48]`, for `Recognizer.encode` at the window's end.

    Attributes:
        recognizers: by kind.
        pose: the pose model, or None.
    """

    def __init__(self, recognizers: Mapping[str, Recognizer], pose: PoseModel | None = None) -> None:
        needs_pose = [kind for kind, model in recognizers.items() if model.manifest.input.crop_rule == "pose"]
        if needs_pose and pose is None:
            raise ConfigError(f"{needs_pose[0]} works on heatmaps: set models.pose to a pose model")
        self.recognizers = dict(recognizers)
        self.pose = pose

    @classmethod
    def load(cls, config: Config) -> Encoder:
        """Open the recognizers and the pose model of a configuration.

        Raises:
            ConfigError: a model is not there, or a bundle is of another kind than its key says.
            BundleError: a bundle is damaged.
            EngineError: a graph does not compile.
        """
        from gaitstream.models.pose import PoseModel
        from gaitstream.models.recognizer import Recognizer

        runtime = config.runtime
        options = (runtime.name, runtime.precision, runtime.threads)
        recognizers: dict[str, Recognizer] = {}
        for kind, model in config.models.recognizers.items():
            recognizer = Recognizer.load(resolve(model.model, "recognizer", family=kind), *options)
            if recognizer.manifest.model != kind:
                found = recognizer.manifest.model
                raise ConfigError(
                    f"models.{kind}: {model.model} is a bundle of {found}; give it as models.{found}, or a "
                    f"bundle of {kind} here"
                )
            recognizers[kind] = recognizer
        pose = config.models.pose
        name = pose.model if pose else "demo" if "gaitheat" in recognizers else None
        loaded = None
        if name is not None:
            # A bundle's half graphs say nothing of the pose model: its own graph and manifest decide.
            precision = "auto" if runtime.precision == "fp16" else runtime.precision
            loaded = PoseModel.load(name, runtime.name, precision, runtime.threads)
        return cls(recognizers, loaded)

    def encode(self, works: Sequence[Work], judge: EvidenceJudge) -> Encoded:
        """Run the networks on everybody who is still accepted.

        Args:
            works: frames of any cameras; those of one camera in the order of their times.
            judge: has judged their boxes, and judges them on by what the networks find.
        """
        encoded = Encoded([work.persons for work in works], [])
        candidates = [
            _Candidate(w, i, person)
            for w, work in enumerate(works)
            for i, person in enumerate(work.persons)
            if person.rejected is None
        ]
        with _timed(encoded, "crop"):
            for one in candidates:
                one.reason = judge.judge_pixels(one.person, works[one.work].frame.image)
        walking, heatmaps, points = self._keep_walking(works, _accepted(candidates), judge, encoded)
        made: list[list[Feature]] = [[] for _ in walking]
        for kind, recognizer in self.recognizers.items():
            maps = self._maps(recognizer, works, walking, heatmaps, points, encoded)
            joints = points if is_tracklet_normalised(recognizer) else [None] * len(walking)
            for own, candidate, feature, pose in zip(made, walking, maps, joints, strict=True):
                own.append(Feature(kind, candidate.person, feature, pose))
        for own, candidate in zip(made, walking, strict=True):
            candidate.reason = judge.judge_features(own)
        kept = [own for own, candidate in zip(made, walking, strict=True) if candidate.reason is None]
        encoded.features = [own[number] for number in range(len(self.recognizers)) for own in kept]
        self._write_back(candidates, encoded)
        return encoded

    def close(self) -> None:
        """Free the engines."""
        for recognizer in self.recognizers.values():
            recognizer.close()
        if self.pose is not None:
            self.pose.close()

    def _keep_walking(
        self, works: Sequence[Work], candidates: list[_Candidate], judge: EvidenceJudge, encoded: Encoded
    ) -> tuple[list[_Candidate], Floats, Floats]:
        """Reject by pose and motion; heatmaps and keypoints of those who stay, empty without a pose model."""
        from gaitstream.models.pose import keypoints, to_image

        heatmaps, points = np.empty((0, 17, 64, 48), np.float32), np.empty((0, 17, 3), np.float32)
        persons = [candidate.person for candidate in candidates]
        if self.pose is None or not candidates:
            for candidate, reason in zip(candidates, judge.judge_pose(persons, None), strict=True):
                candidate.reason = reason
            return _accepted(candidates), heatmaps, points
        with _timed(encoded, "crop"):
            crops = _crop_all(works, candidates, self.pose.crop)
        with _timed(encoded, "pose"):
            heatmaps = self.pose.heatmaps(crops)
        with _timed(encoded, "keypoints"):
            points = keypoints(heatmaps)
            joints = to_image(points, np.stack([person.box for person in persons]))
            for candidate, reason in zip(candidates, judge.judge_pose(persons, joints), strict=True):
                candidate.reason = reason
        stay = [index for index, candidate in enumerate(candidates) if candidate.reason is None]
        if len(stay) < len(candidates):
            heatmaps, points = heatmaps[stay], points[stay]
        return [candidates[index] for index in stay], heatmaps, points

    def _maps(
        self,
        recognizer: Recognizer,
        works: Sequence[Work],
        candidates: list[_Candidate],
        heatmaps: Floats,
        points: Floats,
        encoded: Encoded,
    ) -> Floats:
        """Feature maps of one recognizer, a row per candidate."""
        manifest = recognizer.manifest
        if not candidates:
            return np.empty((0, 1, 1, 1), np.float32)
        if manifest.input.crop_rule == "pose":
            if is_tracklet_normalised(recognizer):
                return heatmaps
            with _timed(encoded, manifest.model):
                return recognizer.encode(heatmaps, points)
        with _timed(encoded, "crop"):
            crops, ratios = _crop_people(works, candidates, recognizer)
        with _timed(encoded, manifest.model):
            return recognizer.encode(crops, ratios)

    def _write_back(self, candidates: list[_Candidate], encoded: Encoded) -> None:
        """Put the reasons found on the way into the persons."""
        for candidate in candidates:
            if candidate.reason is not None:
                persons = list(encoded.persons[candidate.work])
                persons[candidate.index] = replace(candidate.person, rejected=candidate.reason)
                encoded.persons[candidate.work] = tuple(persons)


def is_tracklet_normalised(recognizer: Recognizer) -> bool:
    """Whether a bundle is encoded a window at a time, because its heatmaps are normalised over it."""
    alignment = recognizer.manifest.alignment
    return alignment is not None and alignment.normalization == "tracklet"


def _accepted(candidates: list[_Candidate]) -> list[_Candidate]:
    return [candidate for candidate in candidates if candidate.reason is None]


def _by_work(candidates: list[_Candidate]) -> Iterator[tuple[int, Floats]]:
    """Boxes `[n, 4]` frame by frame; candidates come in the order of their works."""
    for work, group in groupby(candidates, key=lambda candidate: candidate.work):
        yield work, np.stack([candidate.person.box for candidate in group])


def _crop_all(
    works: Sequence[Work], candidates: list[_Candidate], crop: Callable[[Image, Floats], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    crops = [crop(works[work].frame.image, boxes) for work, boxes in _by_work(candidates)]
    return crops[0] if len(crops) == 1 else np.concatenate(crops)


def _crop_people(
    works: Sequence[Work], candidates: list[_Candidate], recognizer: Recognizer
) -> tuple[NDArray[np.uint8], Floats]:
    parts = [recognizer.crop(works[work].frame.image, boxes) for work, boxes in _by_work(candidates)]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([crops for crops, _ in parts]), np.concatenate([ratios for _, ratios in parts])


@contextmanager
def _timed(encoded: Encoded, step: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        encoded.seconds[step] = encoded.seconds.get(step, 0.0) + time.perf_counter() - started

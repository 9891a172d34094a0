"""What recognizers need of persons, made once for all: crops, heatmaps, silhouettes, skeleton maps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats, Frame, Image, Person, Reason, boxes_of
from gaitstream.models import silhouettes, skeleton_maps
from gaitstream.models.crops import crop_padded
from gaitstream.models.device_path import DeviceRows
from gaitstream.models.inputs import NAMES, Inputs
from gaitstream.models.manifest import (
    AlignmentContract,
    InputContract,
    InputKind,
    Manifest,
    SkeletonContract,
)
from gaitstream.models.on_device import DeviceEncoder
from gaitstream.models.pose import PoseModel, keypoints, to_image
from gaitstream.models.segmenter import Segmenter

Bytes = NDArray[np.uint8]
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Work:
    """One frame's persons, judged by their boxes, waiting for the networks."""

    frame: Frame
    persons: tuple[Person, ...]


@dataclass(slots=True)
class Candidate:
    """A person on the way through the steps."""

    work: int
    """Which of the works it belongs to, and where in it."""
    index: int
    person: Person
    reason: Reason | None = None
    """Why it is no evidence."""


@dataclass(slots=True)
class Stopwatch:
    """Time spent by step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def time(self, step: str) -> Iterator[None]:
        """Count what happens inside under this step."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - started


@dataclass(frozen=True, slots=True)
class Looks:
    """What recognizers looked at beside the pixels; nobody writes into it.

    Attributes:
        persons: who was looked at.
        inputs: `heatmaps` with `keypoints`, `silhouettes`, `skeleton_maps`, as far as they were made and are
            on the host: a row for each person; see `models.inputs`.
        alignment: how a recognizer turns the heatmaps upright; None where none does.
    """

    persons: Sequence[Person]
    inputs: Inputs
    alignment: AlignmentContract | None = None


class Gathering:
    """The persons of a batch who are still accepted, and what is known of them, in the same order.

    Args:
        works: frames of any cameras; those of one camera in the order of their times.
        watch: counts the time of each step.

    Attributes:
        accepted: who is left.
        heatmaps: of the pose model, float32 `[n, 17, 64, 48]`, or where they are on a device; None without
            one.
        keypoints: peaks of the heatmaps, float32 `[n, 17, 3]`.
        masks: of the segmentation model, uint8 `[n, height, width]`; None without one.
    """

    def __init__(self, works: Sequence[Work], watch: Stopwatch) -> None:
        self.everybody = [
            Candidate(w, i, person)
            for w, work in enumerate(works)
            for i, person in enumerate(work.persons)
            if person.rejected is None
        ]
        self.accepted = list(self.everybody)
        self.heatmaps: Floats | DeviceRows | None = None
        self.keypoints: Floats | None = None
        self.masks: Bytes | None = None
        self._works = works
        self._watch = watch
        self._crops: dict[tuple[int, int], tuple[Bytes, Floats]] = {}
        self._drawn: dict[tuple[InputContract, SkeletonContract], Bytes] = {}

    @property
    def persons(self) -> list[Person]:
        """Who is left."""
        return [candidate.person for candidate in self.accepted]

    def by_picture(self) -> Iterator[tuple[Image, list[Person]]]:
        """Those who are left, picture by picture: the whole frame, and who is in it."""
        for work, group in groupby(self.accepted, key=lambda candidate: candidate.work):
            yield self._works[work].frame.image, [candidate.person for candidate in group]

    def reject(self, reasons: Sequence[Reason | None]) -> None:
        """Take out those who have a reason."""
        for candidate, reason in zip(self.accepted, reasons, strict=True):
            candidate.reason = reason
        stay = [index for index, reason in enumerate(reasons) if reason is None]
        if len(stay) == len(reasons):
            return
        self.accepted = [self.accepted[index] for index in stay]
        for name in ("heatmaps", "keypoints", "masks"):
            rows = getattr(self, name)
            if rows is not None:
                setattr(self, name, rows[stay])

    def find_poses(self, pose: PoseModel) -> Floats:
        """Heatmaps and keypoints of everybody who is left; joints `[n, 17, 3]` in pixels of the frames."""
        with self._watch.time("crop"):
            crops = pose.crop_frames(list(self._by_frame()))
        with self._watch.time("pose"):
            self.heatmaps = pose.heatmaps(crops)
        with self._watch.time("keypoints"):
            self.keypoints = keypoints(self.heatmaps)
            return to_image(self.keypoints, boxes_of(self.persons))

    def find_poses_on(self, device: DeviceEncoder) -> Floats:
        """The same on a device, where the heatmaps stay."""
        with self._watch.time("pose"):  # the cutting of crops is in it: both go on side by side
            self.heatmaps, self.keypoints = device.find_poses(self._by_frame())
        with self._watch.time("keypoints"):
            return to_image(self.keypoints, boxes_of(self.persons))

    def find_masks(self, segmenter: Segmenter) -> Bytes:
        """Masks of everybody who is left, uint8 `[n, height, width]`."""
        with self._watch.time("crop"):
            crops = segmenter.crop_frames(list(self._by_frame()))
        with self._watch.time("segment"):
            self.masks = segmenter.masks(crops, boxes_of(self.persons))
        return self.masks

    def inputs(self, manifest: Manifest) -> Inputs:
        """What a recognizer needs of everybody who is left; call it when nobody is rejected any more."""
        found: dict[str, NDArray[Any]] = {}
        for contract in manifest.inputs:
            name = NAMES[contract.kind]
            if contract.kind is InputKind.CROP:
                found[name], found["ratios"] = self._crop(contract)
            elif contract.kind is InputKind.POSE:
                found[name], found["keypoints"] = _on_host(self.heatmaps), _known(self.keypoints)
            elif contract.kind is InputKind.JOINTS:
                found[name] = self._joints()
            else:
                found[name] = self._draw(contract, manifest.skeleton)
        return found

    def looks(self, alignment: AlignmentContract | None) -> Looks:
        """What was made for the recognizers; call it when their inputs are there and nobody left since."""
        made: dict[str, NDArray[Any]] = {
            NAMES[contract.kind]: rows for (contract, _), rows in self._drawn.items()
        }
        if isinstance(self.heatmaps, np.ndarray) and self.keypoints is not None:
            made |= {"heatmaps": self.heatmaps, "keypoints": self.keypoints}
        return Looks(self.persons, made, alignment)

    def _crop(self, contract: InputContract) -> tuple[Bytes, Floats]:
        size = contract.height, contract.width
        if size not in self._crops:
            with self._watch.time("crop"):
                parts = [crop_padded(image, boxes, *size) for image, boxes in self._by_frame()]
                crops, ratios = zip(*parts, strict=True)
                self._crops[size] = _joined(crops), _joined(ratios)
        return self._crops[size]

    def _draw(self, contract: InputContract, skeleton: SkeletonContract) -> Bytes:
        key = contract, skeleton
        if key not in self._drawn:
            size = contract.height, contract.width
            with self._watch.time(contract.kind.value):
                self._drawn[key] = (
                    silhouettes.draw(_known(self.masks), size, contract.preparation)
                    if contract.kind is InputKind.SILHOUETTE
                    else skeleton_maps.draw(self._joints(), size, skeleton)
                )
        return self._drawn[key]

    def _joints(self) -> Floats:
        """Joints of everybody who is left `[n, 17, 3]`, x and y in pixels of the frames."""
        return to_image(_known(self.keypoints), boxes_of(self.persons))

    def _by_frame(self) -> Iterator[tuple[Image, Floats]]:
        """Image and boxes `[n, 4]` frame by frame; candidates come in the order of their works."""
        return ((image, boxes_of(persons)) for image, persons in self.by_picture())


def _joined(parts: Sequence[NDArray[T]]) -> NDArray[T]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _on_host(heatmaps: Floats | DeviceRows | None) -> Floats:
    """Heatmaps for a recognizer that is not on the device: then none is."""
    if isinstance(heatmaps, DeviceRows):
        raise RuntimeError("heatmaps stayed on the device and are needed on the host")
    return _known(heatmaps)


def _known(rows: NDArray[T] | None) -> NDArray[T]:
    """Rows that the encoder has made sure of when it was opened."""
    if rows is None:
        raise RuntimeError("a recognizer's input was not made")
    return rows

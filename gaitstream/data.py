"""What travels between the stages, each defined once.

Times are UTC nanoseconds of capture. Boxes are xyxy pixels in float32. Images are BGR uint8
`[height, width, 3]`. Track ids are unique per camera and run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Reason(StrEnum):
    """Why a frame was not used or a track has no identity."""

    TOO_SHORT = "too_short"
    TOO_SMALL = "too_small"
    LOW_POSE_SCORE = "low_pose_score"
    STANDING = "standing"
    TRUNCATED = "truncated"
    OCCLUDED = "occluded"
    BLURRED = "blurred"
    NO_SILHOUETTE = "no_silhouette"
    LEGS_HIDDEN = "legs_hidden"
    TOO_DARK = "too_dark"
    OUTSIDE_REGION = "outside_region"
    ID_SWITCH_SUSPECTED = "id_switch_suspected"
    SPACED = "spaced"
    SETTLED = "settled"
    OVERLOAD = "overload"
    NO_RECOGNIZER = "no_recognizer"
    NO_GALLERY = "no_gallery"
    BELOW_THRESHOLD = "below_threshold"
    AMBIGUOUS = "ambiguous"
    REJECTED = "rejected"


class Status(StrEnum):
    """What is said of who a track is."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"
    INSUFFICIENT = "insufficient_evidence"


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of one camera."""

    camera: str
    index: int
    """Counts decoded frames of this camera and run, from 0."""
    time_ns: int
    image: Image
    """BGR uint8 `[height, width, 3]`; nobody writes into it."""


@dataclass(frozen=True, slots=True)
class Detections:
    """Persons found in one frame."""

    boxes: Floats
    """xyxy pixels, float32 `[n, 4]`."""
    scores: Floats
    """Confidence in 0..1, float32 `[n]`."""


@dataclass(frozen=True, slots=True)
class Person:
    """One tracked person in one frame."""

    camera: str
    track: int
    frame_index: int
    time_ns: int
    box: Floats
    """xyxy pixels, float32 `[4]`; may reach over the border."""
    score: float
    rejected: Reason | None = None
    """Why this frame is no evidence of gait; None when it is."""


def boxes_of(persons: Sequence[Person]) -> Floats:
    """Boxes of some persons, one at least, xyxy pixels, float32 `[n, 4]`."""
    return np.concatenate([person.box for person in persons]).reshape(-1, 4)


def areas(boxes: Floats) -> Floats:
    """Areas of xyxy boxes `[n, 4]`, `[n]`."""
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def shared_areas(boxes: Floats, others: Floats) -> Floats:
    """Area that each of some xyxy boxes `[n, 4]` shares with each of others `[m, 4]`, `[n, m]`."""
    left, top, right, bottom = boxes.T[:, :, None]
    other_left, other_top, other_right, other_bottom = others.T
    across = np.minimum(right, other_right) - np.maximum(left, other_left)
    down = np.minimum(bottom, other_bottom) - np.maximum(top, other_top)
    return np.asarray(np.maximum(across, 0) * np.maximum(down, 0))


def overlaps(boxes: Floats, others: Floats) -> Floats:
    """Intersection over union of xyxy boxes `[n, 4]` and others `[m, 4]`, `[n, m]`; 0 of empty ones."""
    shared = shared_areas(boxes, others)
    union = areas(boxes)[:, None] + areas(others) - shared
    return np.asarray(shared / np.maximum(union, 1e-6))


@dataclass(frozen=True, slots=True)
class Feature:
    """What one person-frame leaves behind for a recognizer."""

    model: str
    person: Person
    map: NDArray[Any]
    """Feature map, float32 `[channels, height, width]`, or a flat row of several; for a model that needs the
    whole window its input, to be encoded when the window closes."""
    is_input: bool = False
    """Whether `map` is such an input."""


@dataclass(frozen=True, slots=True)
class Tracklet:
    """A window over accepted frames of one track, pooled."""

    model: str
    camera: str
    track: int
    first_ns: int
    last_ns: int
    frames: int
    pooled: NDArray[Any]
    """Element-wise maximum of the frames' feature maps, float32 `[channels, height, width]`; for a model that
    needs the whole window what was kept of its frames, `[frames, ...]`."""
    provisional: bool
    """True before the window is full."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """A tracklet through the head graph."""

    tracklet: Tracklet
    parts: Floats
    """float32 `[parts, dim]`."""
    fingerprint: str
    """Of the bundle it came from."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Who a track is, as far as is known now."""

    camera: str
    track: int
    time_ns: int
    """Capture time of the last frame used."""
    first_ns: int
    status: Status
    person: str | None
    distance: float | None
    """Fused distance to the best candidate; smaller is nearer."""
    margin: float | None
    """Distance of the second person minus that of the best."""
    threshold: float | None
    frames: int
    """Accepted frames behind the decision."""
    windows: int
    provisional: bool
    final: bool
    """True once, when the track has ended."""
    reason: Reason | None
    """Why there is no identity; None when known."""
    box: Floats
    """Last box, xyxy pixels float32 `[4]`."""
    rejections: dict[str, int] = field(default_factory=dict)
    """Frames not used, by reason."""
    candidates: tuple[tuple[str, float], ...] = ()
    """Nearest persons with their distances, best first."""
    details: dict[str, Any] = field(default_factory=dict)
    person_id: str | None = None
    """Id of `person` in the gallery; stays when the name is changed."""
    candidate_ids: tuple[str, ...] = ()
    """Those of the candidates."""

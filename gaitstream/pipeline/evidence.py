"""Which person-frames are evidence of gait: arrays and times in, reasons out.

Three steps, cheapest first: `CameraEvidence.judge` looks at boxes alone, `sharpness` at pixels,
`CameraEvidence.walks` at motion, with the ankles when a pose model ran.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gaitstream.config.schema import Quality
from gaitstream.data import Floats, Image, Person, Reason
from gaitstream.pipeline.regions import Regions
from gaitstream.pipeline.source.clock import SECOND_NS

JUMP_S = 0.1
"""Time for which `max_jump` is given; a longer gap allows more."""
MAX_COMPARED_S = 1.0
"""After a longer gap a box is not compared with the last one."""
LEFT_ANKLE, RIGHT_ANKLE = 15, 16


Box = Sequence[float]
"""xyxy pixels. A handful of numbers per person: plain floats are several times faster than arrays here."""


@dataclass(slots=True)
class _History:
    """One track's sightings within the motion window."""

    times_ns: deque[int] = field(default_factory=deque)
    boxes: deque[Box] = field(default_factory=deque)
    spread: deque[float] = field(default_factory=deque)
    """Distance of the ankles in body heights; NaN where unknown."""

    def add(self, time_ns: int, box: Box, window_ns: int) -> None:
        self.times_ns.append(time_ns)
        self.boxes.append(box)
        self.spread.append(math.nan)
        while self.times_ns[0] < time_ns - window_ns:
            self.times_ns.popleft()
            self.boxes.popleft()
            self.spread.popleft()


class CameraEvidence:
    """Judges the persons of one camera; one thread at a time.

    Args:
        quality: limits of this camera.
        size: width and height of its frames.
        regions: where persons count.
    """

    def __init__(self, quality: Quality, size: tuple[int, int], regions: Regions | None = None) -> None:
        self.quality = quality
        self.size = size
        self.regions = regions
        self._histories: dict[int, _History] = {}

    def judge(self, persons: Sequence[Person]) -> tuple[Person, ...]:
        """Judge the persons of one frame by their boxes.

        Args:
            persons: everybody in the frame: who is behind whom matters.

        Returns:
            The same persons with the first reason that speaks against them, if any: outside the region, id
            switch suspected, too small, truncated, occluded.
        """
        if not persons:
            return ()
        boxes = np.stack([person.box for person in persons])
        checks: list[tuple[Reason, NDArray[np.bool_]]] = [
            (Reason.OUTSIDE_REGION, self._outside(boxes)),
            (Reason.ID_SWITCH_SUSPECTED, np.array([self._remember(person) for person in persons])),
            (Reason.TOO_SMALL, boxes[:, 3] - boxes[:, 1] < self.quality.min_height_px),
            (Reason.TRUNCATED, truncated(boxes, self.size, self.quality)),
            (Reason.OCCLUDED, covered(boxes) > self.quality.max_overlap),
        ]
        reasons: list[Reason | None] = [None] * len(persons)
        for reason, hits in reversed(checks):
            for index in np.flatnonzero(hits):
                reasons[index] = reason
        return tuple(
            person if person.rejected is reason else replace(person, rejected=reason)
            for person, reason in zip(persons, reasons, strict=True)
        )

    def walks(self, person: Person, ankles: Floats | None = None) -> bool:
        """Whether a person moves, by the box or, when it stands still, by the legs.

        Call it after `judge`; later frames of the camera may have been judged already, as in a batch. Yes,
        while too little was seen to tell.

        Args:
            person: judged in this frame.
            ankles: left and right ankle, `[2, 2]` in image pixels, from the pose model.
        """
        history = self._histories.get(person.track)
        if history is None or not self.quality.min_motion:
            return True
        if ankles is not None and person.time_ns in history.times_ns:
            at = history.times_ns.index(person.time_ns)
            height = max(history.boxes[at][3] - history.boxes[at][1], 1.0)
            history.spread[at] = float(ankles[0, 0] - ankles[1, 0]) / height
        if history.times_ns[-1] - history.times_ns[0] < self.quality.motion_window_s * SECOND_NS / 2:
            return True
        motion = max(
            box_motion(history.times_ns, history.boxes), leg_motion(history.times_ns, history.spread)
        )
        return motion >= self.quality.min_motion

    def forget(self, tracks: Sequence[int]) -> None:
        """Tracks that ended."""
        for track in tracks:
            self._histories.pop(track, None)

    def _outside(self, boxes: Floats) -> NDArray[np.bool_]:
        if self.regions is None:
            return np.zeros(len(boxes), bool)
        feet = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]], axis=1)
        # Feet on the frame's lower edge belong to a polygon drawn down to it.
        return ~self.regions.contain(np.minimum(feet, np.array(self.size) - 0.5).astype(np.float32))

    def _remember(self, person: Person) -> bool:
        """Add a sighting to its track's history; whether it jumped, which starts the history afresh."""
        box = person.box.tolist()
        history = self._histories.get(person.track)
        jump = history is not None and jumped(
            history.boxes[-1], box, (person.time_ns - history.times_ns[-1]) / SECOND_NS, self.quality
        )
        if history is None or jump:
            history = self._histories[person.track] = _History()
        history.add(person.time_ns, box, int(self.quality.motion_window_s * SECOND_NS))
        return jump


def truncated(boxes: Floats, size: tuple[int, int], quality: Quality) -> NDArray[np.bool_]:
    """Which boxes `[n, 4]` touch the border of a frame (width, height), or show no whole body."""
    border = quality.border_px
    near = (boxes[:, :2] < border).any(axis=1) | (boxes[:, 2:] > np.array(size) - border).any(axis=1)
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    return np.asarray(near | (width > quality.max_aspect * height))


def covered(boxes: Floats) -> Floats:
    """Largest share of each box `[n, 4]` that a single nearer person's box covers, float32 `[n]`.

    Of two people on one floor, the one whose feet are lower in the picture is nearer.
    """
    area = np.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 1e-6)
    corner = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    extent = np.clip(np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - corner, 0, None)
    share = extent[..., 0] * extent[..., 1] / area[:, None]
    nearer = boxes[None, :, 3] > boxes[:, None, 3]
    return np.asarray(np.where(nearer, share, 0.0).max(axis=1, initial=0.0), np.float32)


def jumped(last: Box, box: Box, elapsed_s: float, quality: Quality) -> bool:
    """Whether a track's box moved or grew faster than a person does: it may be on somebody else now."""
    if elapsed_s > MAX_COMPARED_S:
        return False
    taller, smaller = sorted((max(last[3] - last[1], 1.0), max(box[3] - box[1], 1.0)), reverse=True)
    slack = max(1.0, elapsed_s / JUMP_S)
    moved = math.hypot(*_shift(last, box)) / taller
    return moved > quality.max_jump * slack or taller / smaller > quality.max_scale_jump ** min(slack, 3.0)


def box_motion(times_ns: Sequence[int], boxes: Sequence[Box]) -> float:
    """Speed of a box in body heights per second: of its centre, or of its growth when somebody comes nearer.

    Means over the first and the last third of the window are compared, so that a detector's jitter cancels.
    """
    count = len(boxes)
    if count < 2:
        return 0.0
    third = max(1, count // 3)
    seen, times = list(boxes), list(times_ns)
    first, last = _mean(seen[:third]), _mean(seen[-third:])
    elapsed_s = (sum(times[-third:]) - sum(times[:third])) / third / SECOND_NS
    heights = first[3] - first[1], last[3] - last[1]
    speed_px = max(math.hypot(*_shift(first, last)), abs(heights[1] - heights[0])) / max(elapsed_s, 1e-3)
    return speed_px / max(sum(heights) / 2, 1.0)


def leg_motion(times_ns: Sequence[int], spread: Sequence[float]) -> float:
    """Range of the ankles against each other in body heights per second; 0 when unknown.

    It tells somebody who walks on the spot, or towards the camera far away, from somebody who stands.
    """
    known = [(time_ns, value) for time_ns, value in zip(times_ns, spread, strict=True) if value == value]
    if len(known) < 4:
        return 0.0
    values = [value for _, value in known]
    # Three frames together: the jitter of keypoints from frame to frame is no step.
    smooth = [sum(values[index : index + 3]) for index in range(len(values) - 2)]
    elapsed_s = (known[-1][0] - known[0][0]) / SECOND_NS
    return (max(smooth) - min(smooth)) / 3 / max(elapsed_s, 0.5)


def _mean(boxes: Sequence[Box]) -> Box:
    return [sum(values) / len(boxes) for values in zip(*boxes, strict=True)]


def _shift(last: Box, box: Box) -> tuple[float, float]:
    """Way of a box's centre."""
    return (box[0] + box[2] - last[0] - last[2]) / 2, (box[1] + box[3] - last[1] - last[3]) / 2


def sharpness(image: Image, box: Floats) -> float:
    """Variance of the Laplacian of a person at 64 pixels height: detail that blur takes away.

    Args:
        image: BGR uint8 `[height, width, 3]`.
        box: xyxy pixels `[4]`; the part inside the image counts.
    """
    import cv2

    height, width = image.shape[:2]
    x1, y1 = max(int(box[0]), 0), max(int(box[1]), 0)
    x2, y2 = min(int(box[2]), width), min(int(box[3]), height)
    if x2 - x1 < 2 or y2 - y1 < 2:
        return 0.0
    size = (max(8, round(64 * (x2 - x1) / (y2 - y1))), 64)
    grey = cv2.cvtColor(image[y1:y2, x1:x2], cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(small, cv2.CV_32F))
    return float(deviation[0, 0]) ** 2


class FeatureJump:
    """Finds frames whose features leave their track's course: the track may be on somebody else now.

    Args:
        limit: cosine distance from the running mean of the track's features.
    """

    WARM_UP = 5
    """Frames a mean needs before anything is held against it."""
    WEIGHT = 0.1
    """Share of the newest frame in the mean."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._means: dict[tuple[str, int], tuple[Floats, int]] = {}

    def check(self, camera: str, track: int, feature: Floats) -> bool:
        """Whether a feature map `[channels, height, width]` breaks with its track, which then starts anew."""
        vector = feature.mean(axis=(1, 2))
        vector = vector / max(float(np.linalg.norm(vector)), 1e-12)
        mean, count = self._means.get((camera, track), (vector, 0))
        broken = (
            count >= self.WARM_UP and 1.0 - float(vector @ mean) / float(np.linalg.norm(mean)) > self.limit
        )
        if broken:
            mean, count = vector, 0
        self._means[camera, track] = (mean + self.WEIGHT * (vector - mean), count + 1)
        return broken

    def forget(self, camera: str, tracks: Sequence[int]) -> None:
        """Tracks that ended."""
        for track in tracks:
            self._means.pop((camera, track), None)

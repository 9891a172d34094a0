"""Which person-frames are evidence of gait: the one judge of every front end, native or DeepStream.

A front end asks as soon as it has what a step needs, cheapest first, and asks on only about those who are
still accepted:

    boxes      everybody in a frame: region, jump, height, truncation, occlusion
    pixels     a person's picture: blur; only where pixels are at hand
    pose       a person's joints, or none: pose score, then motion of box and ankles
    masks      a person's mask, where a recognizer works on silhouettes: whether there is one
    features   what the recognizers made of a person: a break with the track's course

Arrays and capture times go in, reasons come out; no clock and no I/O.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gaitstream.config.schema import Config
from gaitstream.config.track_sections import Quality
from gaitstream.data import Feature, Floats, Image, Person, Reason, boxes_of
from gaitstream.models.silhouettes import INSIDE, LEAST_SUM
from gaitstream.pipeline.quality import (
    BoxPx,
    Regions,
    box_motion,
    brightness,
    covered,
    jumped,
    leg_motion,
    legs_hidden,
    sharpness,
    truncated,
)
from gaitstream.pipeline.source.clock import SECOND_NS

if TYPE_CHECKING:
    from gaitstream.models.recognizer import Recognizer

LEFT_ANKLE, RIGHT_ANKLE = 15, 16
DARK = 40.0
"""Grey level under which a person who is not sharp lacks light, not focus."""
LEAST_MASK = 0.02
"""Share of a crop that a person's mask covers at least; a whole person covers about a quarter."""
BATCH_NS = 4 * SECOND_NS
"""Sightings outlive the motion window by this: a batch's frames are judged after later ones were seen."""


class EvidenceJudge:
    """Judges the person-frames of all cameras of a run; one thread at a time.

    Args:
        config: limits and regions by camera.
        recognizers: their manifests may ask for a higher pose score than the configuration.
    """

    def __init__(self, config: Config, recognizers: Iterable[Recognizer] = ()) -> None:
        self._config = config
        self._least_pose_score = max((model.manifest.min_pose_score for model in recognizers), default=0.0)
        self._cameras: dict[str, CameraJudge] = {}
        self._quality: dict[str, Quality] = {}
        limit = config.quality.max_feature_jump
        self._features = None if limit is None else FeatureCourse(limit)

    def judge_boxes(
        self, camera: str, size: tuple[int, int], persons: Sequence[Person]
    ) -> tuple[Person, ...]:
        """Judge everybody in a frame by their boxes; frames of a camera come in the order of their times.

        Args:
            camera: where.
            size: width and height of the frame; what was seen in another size counts no more.
            persons: everybody: who is behind whom matters.

        Returns:
            The same persons with the first reason that speaks against them, if any.

        Raises:
            ConfigError: a region reaches outside a frame of this size.
        """
        judge = self._cameras.get(camera)
        if judge is None or judge.size != size:
            judge = self._cameras[camera] = CameraJudge(
                self._quality_of(camera), size, self._regions(camera, size)
            )
        return judge.judge(persons)

    def judge_pixels(self, persons: Sequence[Person], image: Image) -> list[Reason | None]:
        """`blurred` or `too_dark`, or None, of people in one frame, BGR uint8 `[height, width, 3]`."""
        least = self._quality_of(persons[0].camera).min_sharpness if persons else 0.0
        if not least:
            return [None] * len(persons)
        reasons: list[Reason | None] = [None] * len(persons)
        for index, found in enumerate(sharpness(image, boxes_of(persons))):
            if found < least:
                is_dark = brightness(image, persons[index].box) < DARK
                reasons[index] = Reason.TOO_DARK if is_dark else Reason.BLURRED
        return reasons

    def judge_pose(self, persons: Sequence[Person], joints: Floats | None) -> list[Reason | None]:
        """`low_pose_score`, `legs_hidden` or `standing`, or None; after `judge_boxes` of the same frames.

        Args:
            persons: of any cameras.
            joints: x and y in pixels of the frame and a score of each joint, float32 `[n, 17, 3]`; None
                where there is no pose: then boxes alone tell who stands.
        """
        if joints is None or not persons:
            return [self._standing(person, None) for person in persons]
        ankles = joints[:, [LEFT_ANKLE, RIGHT_ANKLE], :2]
        scores = joints[:, :, 2].mean(axis=1)
        hidden = legs_hidden(joints)
        reasons: list[Reason | None] = []
        for person, score, no_legs, pair in zip(persons, scores, hidden, ankles, strict=True):
            if score < self._pose_score(person.camera):
                reasons.append(Reason.LOW_POSE_SCORE)
            else:
                reasons.append(Reason.LEGS_HIDDEN if no_legs else self._standing(person, pair))
        return reasons

    def judge_masks(self, masks: NDArray[np.uint8]) -> list[Reason | None]:
        """`no_silhouette`, or None; masks uint8 `[n, height, width]`, not 0 inside the person.

        A mask that is too small for a silhouette is none, whatever its share of a small picture.
        """
        least = max(LEAST_MASK * masks[0].size if len(masks) else 0, LEAST_SUM // INSIDE + 1)
        return [
            Reason.NO_SILHOUETTE if pixels < least else None
            for pixels in np.count_nonzero(masks, axis=(1, 2))
        ]

    def judge_features(self, features: Sequence[Feature]) -> Reason | None:
        """`id_switch_suspected`, or None, by all the features of one person in one frame."""
        if self._features is None:
            return None
        broken = [
            self._features.leaves(feature)
            for feature in features
            if not feature.is_input  # what waits for its window is no feature yet
        ]
        return Reason.ID_SWITCH_SUSPECTED if any(broken) else None

    def forget(self, camera: str, tracks: Iterable[int]) -> None:
        """Tracks that ended, once nothing of them is left to be judged."""
        judge = self._cameras.get(camera)
        for track in tracks:
            if judge is not None:
                judge.forget(track)
            if self._features is not None:
                self._features.forget(camera, track)

    def adjust(self, config: Config, *, leaving: Collection[str] = ()) -> None:
        """Take over new limits and regions; they apply from each camera's next frame.

        Args:
            config: what is taken over.
            leaving: cameras whose pictures of now say nothing of the new regions: they are removed, or read
                from elsewhere.

        Raises:
            ConfigError: a region reaches outside its camera's frame; then nothing changes.
        """
        here = {camera.id: camera for camera in config.cameras}
        regions = {
            name: Regions(here[name], judge.size) if here[name].regions else None
            for name, judge in self._cameras.items()
            if name in here and name not in leaving
        }
        self._config = config
        self._quality.clear()
        limit = config.quality.max_feature_jump
        if limit is None or self._features is None:
            self._features = None if limit is None else FeatureCourse(limit)
        else:
            self._features.limit = limit
        for name, polygons in regions.items():
            judge = self._cameras[name]
            judge.quality, judge.regions = self._quality_of(name), polygons

    def remove(self, camera: str) -> None:
        """A camera left, and with it all its tracks."""
        self._cameras.pop(camera, None)
        if self._features is not None:
            self._features.remove(camera)

    @property
    def remembered(self) -> set[tuple[str, int]]:
        """Camera and id of every track of which something is remembered."""
        tracks = {(name, track) for name, judge in self._cameras.items() for track in judge.tracks}
        return tracks | (self._features.tracks if self._features is not None else set())

    def _standing(self, person: Person, ankles: Floats | None) -> Reason | None:
        judge = self._cameras.get(person.camera)
        return None if judge is None or judge.walks(person, ankles) else Reason.STANDING

    def _pose_score(self, camera: str) -> float:
        return max(self._quality_of(camera).min_pose_score, self._least_pose_score)

    def _quality_of(self, camera: str) -> Quality:
        quality = self._quality.get(camera)
        if quality is None:
            quality = self._quality[camera] = self._config.quality_for(self._config.camera(camera))
        return quality

    def _regions(self, camera: str, size: tuple[int, int]) -> Regions | None:
        entry = self._config.camera(camera)
        return Regions(entry, size) if entry.regions else None


@dataclass(slots=True)
class _Sightings:
    """One track's sightings within the motion window and somewhat before, oldest first."""

    began_ns: int
    times_ns: list[int] = field(default_factory=list)
    boxes: list[BoxPx] = field(default_factory=list)
    sums: list[tuple[float, float, float, float, int]] = field(
        default_factory=lambda: [(0.0, 0.0, 0.0, 0.0, 0)]
    )
    """Sums of all boxes, and of all times since the track began, before each sighting, and after the last."""
    strides: list[float] = field(default_factory=list)
    """Signed distance of the ankles in body heights; NaN where unknown."""
    since_ns: list[int] = field(default_factory=list)
    """From when on it is surely one person."""

    def add(self, time_ns: int, box: BoxPx, since_ns: int, window_ns: int) -> None:
        self.times_ns.append(time_ns)
        self.boxes.append(box)
        x1, y1, x2, y2, ago_ns = self.sums[-1]
        ago_ns += time_ns - self.began_ns
        self.sums.append((x1 + box[0], y1 + box[1], x2 + box[2], y2 + box[3], ago_ns))
        self.strides.append(math.nan)
        self.since_ns.append(since_ns)
        kept_ns = window_ns + BATCH_NS
        if self.times_ns[0] < time_ns - 2 * kept_ns:  # half of them at a time, not one with every frame
            old = bisect.bisect_left(self.times_ns, time_ns - kept_ns)
            for column in (self.times_ns, self.boxes, self.sums, self.strides, self.since_ns):
                del column[:old]

    def motion(self, first: int, last: int) -> float:
        """`box_motion` from one sighting to another, both included.

        Means over the first and the last third are compared, so that a detector's jitter cancels.
        """
        count = last + 1 - first
        if count < 2:
            return 0.0
        third = max(1, count // 3)
        before, before_ns = self._mean(first, third)
        after, after_ns = self._mean(last + 1 - third, third)
        return box_motion(before, after, (after_ns - before_ns) / SECOND_NS)

    def _mean(self, first: int, count: int) -> tuple[BoxPx, float]:
        """Mean box and time of some sightings; the same time for a few and for many."""
        x1, y1, x2, y2, ago_ns = self.sums[first]
        sums = self.sums[first + count]
        box = [(sums[0] - x1) / count, (sums[1] - y1) / count, (sums[2] - x2) / count, (sums[3] - y2) / count]
        return box, (sums[4] - ago_ns) / count


class CameraJudge:
    """Judges the persons of one camera by boxes and motion; one thread at a time.

    Args:
        quality: limits of this camera.
        size: width and height of its frames.
        regions: where persons count.
    """

    def __init__(self, quality: Quality, size: tuple[int, int], regions: Regions | None = None) -> None:
        self.quality = quality
        self.size = size
        self.regions = regions
        self._tracks: dict[int, _Sightings] = {}

    def judge(self, persons: Sequence[Person]) -> tuple[Person, ...]:
        """Judge the persons of one frame by their boxes; see `EvidenceJudge.judge_boxes`."""
        if not persons:
            return ()
        boxes = boxes_of(persons)
        checks: list[tuple[Reason, NDArray[np.bool_]]] = [
            (Reason.OUTSIDE_REGION, self._outside(boxes)),
            (Reason.ID_SWITCH_SUSPECTED, np.array([self._remember(person) for person in persons])),
            (Reason.TOO_SMALL, boxes[:, 3] - boxes[:, 1] < self.quality.min_height_px),
            (Reason.TRUNCATED, truncated(boxes, self.size, self.quality)),
            (Reason.OCCLUDED, covered(boxes) > self.quality.max_overlap),
        ]
        reasons: list[Reason | None] = [None] * len(persons)
        for reason, hits in reversed(checks):
            for index in hits.nonzero()[0].tolist():
                reasons[index] = reason
        return tuple(
            person if person.rejected is reason else replace(person, rejected=reason)
            for person, reason in zip(persons, reasons, strict=True)
        )

    def walks(self, person: Person, ankles: Floats | None = None) -> bool:
        """Whether a person moves, by the box or, when it stands still, by the legs.

        Call it after `judge`; that later frames were judged already, as in a batch, changes nothing. Yes,
        while too little was seen to tell.

        Args:
            person: judged in this frame.
            ankles: left and right ankle, `[2, 2]` in image pixels, from the pose model.
        """
        seen = self._tracks.get(person.track)
        if seen is None or not self.quality.min_motion:
            return True
        at = bisect.bisect_left(seen.times_ns, person.time_ns)
        if at == len(seen.times_ns) or seen.times_ns[at] != person.time_ns:
            return True
        if ankles is not None:
            height = max(seen.boxes[at][3] - seen.boxes[at][1], 1.0)
            seen.strides[at] = float(ankles[0, 0] - ankles[1, 0]) / height
        window_ns = int(self.quality.motion_window_s * SECOND_NS)
        first = bisect.bisect_left(seen.times_ns, max(person.time_ns - window_ns, seen.since_ns[at]))
        if seen.times_ns[at] - seen.times_ns[first] < window_ns / 2:
            return True
        motion = seen.motion(first, at)
        if motion < self.quality.min_motion:
            motion = leg_motion(seen.times_ns[first : at + 1], seen.strides[first : at + 1])
        return motion >= self.quality.min_motion

    @property
    def tracks(self) -> tuple[int, ...]:
        """Ids of the tracks remembered."""
        return tuple(self._tracks)

    def forget(self, track: int) -> None:
        """A track ended."""
        self._tracks.pop(track, None)

    def _outside(self, boxes: Floats) -> NDArray[np.bool_]:
        if self.regions is None:
            return np.zeros(len(boxes), bool)
        feet = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]], axis=1)
        # Feet on the frame's lower edge belong to a polygon drawn down to it.
        return ~self.regions.contain(np.minimum(feet, np.array(self.size) - 0.5).astype(np.float32))

    def _remember(self, person: Person) -> bool:
        """Add a sighting to its track's; whether it jumped, and may show somebody else from now on."""
        box = person.box.tolist()
        seen = self._tracks.get(person.track)
        if seen is None:
            seen = self._tracks[person.track] = _Sightings(person.time_ns)
            jump, since_ns = False, person.time_ns
        else:
            elapsed_s = (person.time_ns - seen.times_ns[-1]) / SECOND_NS
            jump = jumped(seen.boxes[-1], box, elapsed_s, self.quality)
            since_ns = person.time_ns if jump else seen.since_ns[-1]
        seen.add(person.time_ns, box, since_ns, int(self.quality.motion_window_s * SECOND_NS))
        return jump


class FeatureCourse:
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
        self._means: dict[str, dict[int, dict[str, tuple[Floats, int]]]] = {}

    def leaves(self, feature: Feature) -> bool:
        """Whether a feature map breaks with its track and model, whose course then starts anew."""
        person = feature.person
        vector = feature.map.mean(axis=(1, 2)) if feature.map.ndim == 3 else feature.map
        vector = vector / max(float(np.linalg.norm(vector)), 1e-12)
        models = self._means.setdefault(person.camera, {}).setdefault(person.track, {})
        mean, count = models.get(feature.model, (vector, 0))
        broken = (
            count >= self.WARM_UP and 1.0 - float(vector @ mean) / float(np.linalg.norm(mean)) > self.limit
        )
        if broken:
            mean, count = vector, 0
        models[feature.model] = (mean + self.WEIGHT * (vector - mean), count + 1)
        return broken

    @property
    def tracks(self) -> set[tuple[str, int]]:
        """Camera and id of the tracks remembered."""
        return {(camera, track) for camera, tracks in self._means.items() for track in tracks}

    def forget(self, camera: str, track: int) -> None:
        """A track ended."""
        self._means.get(camera, {}).pop(track, None)

    def remove(self, camera: str) -> None:
        """A camera left."""
        self._means.pop(camera, None)

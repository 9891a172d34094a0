"""From what the DeepStream process sends to what the pipeline works on: persons, features, ended tracks.

The same judgement of frames as in the native front end, except for blur: it needs pixels, and none leave
the GPU. Touches no clock and no socket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.config.schema import Camera, Config
from gaitstream.data import Feature, Floats, Person, Reason
from gaitstream.deepstream.plan import EncoderKind
from gaitstream.deepstream.records import NOTHING, Batch, FrameRecord, PersonRecord
from gaitstream.models.pose import to_image
from gaitstream.pipeline.evidence import LEFT_ANKLE, RIGHT_ANKLE, CameraEvidence, FeatureJump
from gaitstream.pipeline.regions import Regions
from gaitstream.pipeline.source.clock import SECOND_NS


@dataclass(frozen=True, slots=True)
class Seen:
    """One analysed frame of one camera, ready for pooling."""

    camera: str
    frame_index: int
    time_ns: int
    size: tuple[int, int]
    """Width and height of the camera's frames."""
    persons: tuple[Person, ...]
    """Everybody, with the reason of those rejected."""
    features: tuple[Feature, ...]
    """One per accepted person and recognizer that gave one."""
    ended: tuple[int, ...]
    """Tracks that ended before this frame."""


@dataclass(slots=True)
class _CameraState:
    """What is remembered of one camera."""

    evidence: CameraEvidence
    last_seen_ns: dict[int, int]


class Translator:
    """Keeps what each camera's frames are judged by.

    Args:
        config: the site.
        encoders: kinds in the order in which records hold their rows.
        min_pose_score: GaitHeat's own limit, from its manifest; the configuration's may be higher.
    """

    def __init__(self, config: Config, encoders: Sequence[EncoderKind], min_pose_score: float = 0.0) -> None:
        self._config = config
        self._encoders = tuple(encoders)
        self._min_pose_score = min_pose_score
        self._cameras: dict[str, _CameraState] = {}
        jump = config.quality.max_feature_jump
        self._jump = None if jump is None else FeatureJump(jump)

    def translate(self, batch: Batch, arrays: Sequence[NDArray[Any]]) -> list[Seen]:
        """One message.

        Args:
            batch: its header.
            arrays: feature maps `[k, c, h, w]` and keypoints `[k, 17, 3]` of each encoder.

        Returns:
            Cameras that left first, as frames without anybody; then the frames.
        """
        seen = [self._leave(gone.camera) for gone in batch.gone if gone.camera in self._cameras]
        known = {camera.id: camera for camera in self._config.cameras if camera.enabled}
        frames = [frame for frame in batch.frames if frame.camera in known]
        seen += [self._frame(frame, known[frame.camera], arrays) for frame in frames]
        return seen

    def adjust(self, config: Config) -> None:
        """Take new thresholds and regions; they apply from each camera's next frame."""
        self._config = config
        for camera in config.cameras:
            state = self._cameras.get(camera.id)
            if state is not None:
                state.evidence.quality = config.quality_for(camera)
                state.evidence.regions = Regions(camera, state.evidence.size) if camera.regions else None

    def end_all(self) -> list[Seen]:
        """The process is gone: every track has ended."""
        return [self._leave(camera) for camera in list(self._cameras)]

    def _leave(self, camera: str) -> Seen:
        state = self._cameras.pop(camera)
        ended = tuple(sorted(state.last_seen_ns))
        self._forget(camera, ended)
        last_ns = max(state.last_seen_ns.values(), default=0)
        return Seen(camera, -1, last_ns, state.evidence.size, (), (), ended)

    def _frame(self, frame: FrameRecord, camera: Camera, arrays: Sequence[NDArray[Any]]) -> Seen:
        state = self._state(frame, camera)
        ended = self._ended(state, frame.time_ns)
        state.evidence.forget(ended)
        self._forget(frame.camera, ended)
        least = self._config.detection_score(camera)
        records = [record for record in frame.persons if record.score >= least]
        persons = state.evidence.judge([_person(frame, record) for record in records])
        judged, features = [], []
        for record, person in zip(records, persons, strict=True):
            if not record.predicted:
                state.last_seen_ns[record.track] = frame.time_ns
            person = self._judge(person, record, state.evidence, arrays)
            person, maps = self._features(person, record, arrays)
            judged.append(person)
            features += maps
        size = (frame.width, frame.height)
        return Seen(frame.camera, frame.index, frame.time_ns, size, tuple(judged), tuple(features), ended)

    def _state(self, frame: FrameRecord, camera: Camera) -> _CameraState:
        size = (frame.width, frame.height)
        state = self._cameras.get(frame.camera)
        if state is None or state.evidence.size != size:
            regions = Regions(camera, size) if camera.regions else None
            evidence = CameraEvidence(self._config.quality_for(camera), size, regions)
            state = _CameraState(evidence, {} if state is None else state.last_seen_ns)
            self._cameras[frame.camera] = state
        return state

    def _ended(self, state: _CameraState, time_ns: int) -> tuple[int, ...]:
        lost_ns = int(self._config.tracking.lost_s * SECOND_NS)
        ended = sorted(track for track, last in state.last_seen_ns.items() if time_ns - last > lost_ns)
        for track in ended:
            del state.last_seen_ns[track]
        return tuple(ended)

    def _judge(
        self, person: Person, record: PersonRecord, evidence: CameraEvidence, arrays: Sequence[NDArray[Any]]
    ) -> Person:
        """By pose and motion, as far as there is a pose."""
        if person.rejected is not None:
            return person
        points = self._keypoints(record, arrays)
        if points is None:
            return person if evidence.walks(person) else replace(person, rejected=Reason.STANDING)
        least = max(evidence.quality.min_pose_score, self._min_pose_score)
        if float(points[:, 2].mean()) < least:
            return replace(person, rejected=Reason.LOW_POSE_SCORE)
        ankles = to_image(points[None], person.box[None])[0, [LEFT_ANKLE, RIGHT_ANKLE], :2]
        return person if evidence.walks(person, ankles) else replace(person, rejected=Reason.STANDING)

    def _keypoints(self, record: PersonRecord, arrays: Sequence[NDArray[Any]]) -> Floats | None:
        for number, row in enumerate(record.rows):
            points = arrays[2 * number + 1]
            if row != NOTHING and points.size:
                return np.asarray(points[row], np.float32)
        return None

    def _features(
        self, person: Person, record: PersonRecord, arrays: Sequence[NDArray[Any]]
    ) -> tuple[Person, list[Feature]]:
        """The person's features by model; none for somebody rejected."""
        features = []
        for number, (kind, row) in enumerate(zip(self._encoders, record.rows, strict=True)):
            if person.rejected is not None or row == NOTHING:
                continue
            feature = arrays[2 * number][row].astype(np.float32)
            if self._jump is not None and self._jump.check(f"{kind}/{person.camera}", person.track, feature):
                person = replace(person, rejected=Reason.ID_SWITCH_SUSPECTED)
                break
            features.append(Feature(kind, person, feature))
        return person, features if person.rejected is None else []

    def _forget(self, camera: str, tracks: Sequence[int]) -> None:
        if self._jump is not None and tracks:
            self._jump.forget(camera, tracks)


def _person(frame: FrameRecord, record: PersonRecord) -> Person:
    box = np.array(record.box, np.float32)
    return Person(frame.camera, record.track, frame.index, frame.time_ns, box, record.score)

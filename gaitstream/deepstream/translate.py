"""From what the DeepStream process sends to what the pipeline works on: persons, features, ends, counts.

Who is evidence is decided by the same judge as in the native front end, except for blur: it needs pixels, and
none leave the GPU. Touches no clock and no socket.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.config.camera_sections import Camera
from gaitstream.config.schema import Config
from gaitstream.data import Feature, Person
from gaitstream.deepstream.records import NOTHING, BufferRecord, FrameRecord, TrackedBox
from gaitstream.errors import ConfigError
from gaitstream.pipeline.judge import EvidenceJudge
from gaitstream.pipeline.source.clock import SECOND_NS
from gaitstream.telemetry.stats import Stats

log = logging.getLogger(__name__)

Arrays = Sequence[NDArray[Any]]
"""Of each encoder in turn: feature maps `[k, c, h, w]`, joints `[k, 17, 3]` in pixels of the frame."""


@dataclass(frozen=True, slots=True)
class JudgedFrame:
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
class _CameraTracks:
    """The tracks of one camera."""

    size: tuple[int, int]
    last_seen_ns: dict[int, int]


class Translator:
    """Keeps which tracks each camera has.

    Args:
        config: the site.
        encoders: names of the recognizers in the order in which records hold their rows.
        judge: decides who is evidence.
        waiting: those of them whose rows are inputs for the window's end.
    """

    def __init__(
        self, config: Config, encoders: Sequence[str], judge: EvidenceJudge, waiting: Collection[str] = ()
    ) -> None:
        self._config = config
        self._encoders = tuple(encoders)
        self._judge = judge
        self._waiting = frozenset(waiting)
        self._cameras: dict[str, _CameraTracks] = {}
        self._misfits: set[str] = set()
        """Cameras whose regions do not fit; each is told of once."""

    def translate(self, batch: BufferRecord, arrays: Arrays) -> list[JudgedFrame]:
        """One message.

        Args:
            batch: its header.
            arrays: of all its persons.

        Returns:
            Cameras that left first, as frames without anybody; then the frames.
        """
        frames = [self._leave(gone.camera) for gone in batch.gone if gone.camera in self._cameras]
        known = {camera.id: camera for camera in self._config.cameras if camera.enabled}
        analysed = [frame for frame in batch.frames if frame.camera in known]
        frames += [self._frame(frame, known[frame.camera], arrays) for frame in analysed]
        return frames

    def adjust(self, config: Config) -> None:
        """Take over which cameras there are and from which score on a detection counts."""
        self._config = config
        self._misfits.clear()

    def end_all(self) -> list[JudgedFrame]:
        """The process is gone: every track has ended."""
        return [self._leave(camera) for camera in list(self._cameras)]

    def _leave(self, camera: str) -> JudgedFrame:
        tracks = self._cameras.pop(camera)
        self._judge.remove(camera)
        last_ns = max(tracks.last_seen_ns.values(), default=0)
        return JudgedFrame(camera, -1, last_ns, tracks.size, (), (), tuple(sorted(tracks.last_seen_ns)))

    def _frame(self, frame: FrameRecord, camera: Camera, arrays: Arrays) -> JudgedFrame:
        size = (frame.width, frame.height)
        tracks = self._cameras.setdefault(frame.camera, _CameraTracks(size, {}))
        tracks.size = size
        ended = self._ended(tracks, frame.time_ns)
        self._judge.forget(frame.camera, ended)
        least = self._config.detection_score(camera)
        records = [record for record in frame.persons if record.score >= least]
        for record in records:
            if not record.predicted:
                tracks.last_seen_ns[record.track] = frame.time_ns
        persons, features = self._judged(frame, size, records, arrays)
        return JudgedFrame(frame.camera, frame.index, frame.time_ns, size, persons, features, ended)

    def _ended(self, tracks: _CameraTracks, time_ns: int) -> tuple[int, ...]:
        lost_ns = int(self._config.tracking.lost_s * SECOND_NS)
        ended = sorted(  # those of a later time are from before the clock was set back
            track for track, last in tracks.last_seen_ns.items() if not 0 <= time_ns - last <= lost_ns
        )
        for track in ended:
            del tracks.last_seen_ns[track]
        return tuple(ended)

    def _judged(
        self, frame: FrameRecord, size: tuple[int, int], records: Sequence[TrackedBox], arrays: Arrays
    ) -> tuple[tuple[Person, ...], tuple[Feature, ...]]:
        """Everybody by boxes, pose and motion, then by features; the features of those who are evidence."""
        tracked = [_person(frame, record) for record in records]
        try:
            persons = list(self._judge.judge_boxes(frame.camera, size, tracked))
        except ConfigError as error:  # its regions do not fit its frames: nobody is seen there
            if frame.camera not in self._misfits:
                self._misfits.add(frame.camera)
                log.error("%s", error)
            return (), ()
        features: list[Feature] = []
        for index, record in enumerate(records):
            if persons[index].rejected is not None:
                continue
            joints = _joints(record, arrays)
            [reason] = self._judge.judge_pose([persons[index]], joints)
            made = self._features(persons[index], record, arrays) if reason is None else []
            reason = reason or self._judge.judge_features(made)
            if reason is None:
                features += made
            else:
                persons[index] = replace(persons[index], rejected=reason)
        return tuple(persons), tuple(features)

    def _features(self, person: Person, record: TrackedBox, arrays: Arrays) -> list[Feature]:
        """What each encoder made of a person, where it made something."""
        return [
            Feature(name, person, arrays[2 * number][row].astype(np.float32), name in self._waiting)
            for number, (name, row) in enumerate(zip(self._encoders, record.rows, strict=True))
            if row != NOTHING
        ]


def _joints(record: TrackedBox, arrays: Arrays) -> NDArray[np.float32] | None:
    """Joints of a person `[1, 17, 3]`, of the first encoder that found any."""
    for number, row in enumerate(record.rows):
        points = arrays[2 * number + 1]
        if row != NOTHING and points.size:
            return np.asarray(points[row][None], np.float32)
    return None


def _person(frame: FrameRecord, record: TrackedBox) -> Person:
    box = np.array(record.box, np.float32)
    return Person(frame.camera, record.track, frame.index, frame.time_ns, box, record.score)


def count_handled(stats: Stats, counters: Mapping[str, Mapping[str, int]]) -> None:
    """What the process had to handle, by camera (empty name: none) and kind."""
    for name, counts in counters.items():
        camera = stats.camera(name) if name else None
        for what, number in counts.items():
            if camera is None:
                stats.now.front[what] += number
            elif what == "frames_skipped":
                camera.skipped += number
                camera.decoded += number
            elif what == "frames_dropped":
                camera.dropped += number
                camera.decoded += number
            else:
                camera.front[what] += number


def count_frames(stats: Stats, seen: Iterable[JudgedFrame], now_ns: int, files: Collection[str]) -> None:
    """Analysed frames and how long ago they were captured.

    Args:
        stats: what is counted in.
        seen: frames; those that only say that a camera left are no frames.
        now_ns: the clock.
        files: cameras that are files, whose capture lies in the past.
    """
    for one in seen:
        if one.frame_index < 0:
            continue
        camera = stats.camera(one.camera)
        camera.decoded += 1
        camera.analysed += 1
        if one.camera not in files:
            camera.latency.observe(max(0.0, (now_ns - one.time_ns) / 1e6))

"""From boxes to tracks: our own tracker or those of the `trackers` library, behind ids of our own."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gaitstream.config.track_sections import Tracking
from gaitstream.data import Detections, Floats, Image, Person
from gaitstream.pipeline.associate import AppearanceTracker, Followed
from gaitstream.pipeline.source.clock import SECOND_NS

MOST_FORMER = 1000
"""Ended tracks of a camera that a new one may be found to go on with."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """One frame's persons, and what became of their tracks.

    Attributes:
        persons: everybody seen.
        ended: tracks that ended with this frame.
        joined: tracks that go on with one that ended before, by what the person wears, and that track.
    """

    persons: tuple[Person, ...]
    ended: tuple[int, ...] = ()
    joined: tuple[tuple[int, int], ...] = ()


@dataclass(slots=True)
class _Path:
    """A track's last sightings, for the frames between detections."""

    seen: deque[tuple[int, Floats]] = field(default_factory=lambda: deque(maxlen=3))
    score: float = 0.0

    def at(self, time_ns: int) -> Floats:
        """The box at a time, moved on at the speed of the last sightings."""
        last_ns, last = self.seen[-1]
        first_ns, first = self.seen[0]
        if last_ns == first_ns:
            return last
        moved: Floats = last + (last - first) * np.float32((time_ns - last_ns) / (last_ns - first_ns))
        return moved


class CameraTracker:
    """Follows the people of one camera. Touches no clock; one thread at a time.

    Ids count up and are never given twice in a run. The library's own are not: its instances may share
    one counter, or start again after a reset.

    Args:
        camera: id of the camera.
        tracking: algorithm and limits.
        fps: frames per second that `update` will see; the motion model's unit of time.
        first: the first id; more than 1 where the camera was followed before in this run.

    Attributes:
        next_id: of the next track.
    """

    def __init__(self, camera: str, tracking: Tracking, fps: float | None, first: int = 1) -> None:
        self.camera = camera
        self._tracking = tracking
        self._fps = fps or 25.0
        self._tracker = create_tracker(tracking, self._fps)
        self.next_id = first
        self._ids: dict[int, int] = {}
        self._former: dict[int, int] = {}
        """Ids of ended tracks by the tracker's numbers, the latest ones."""
        self._paths: dict[int, _Path] = {}
        self._size: tuple[int, int] | None = None
        self._origin_ns: int | None = None
        self._detected_ns = 0
        """Time of the frame that `update` saw last."""

    def update(
        self,
        frame_index: int,
        time_ns: int,
        size: tuple[int, int],
        found: Detections,
        image: Image | None = None,
    ) -> Tracked:
        """Take in the detections of a frame.

        Args:
            frame_index: of the frame.
            time_ns: its capture time, UTC; later than the last.
            size: its width and height. A change of resolution ends all tracks.
            found: boxes and scores.
            image: the frame, BGR uint8 `[height, width, 3]`, for `appearance`; None leaves motion alone.

        Returns:
            The persons seen in this frame, and the tracks that ended or were joined.
        """
        ended = self.reset() if self._size not in (None, size) else ()
        self._size, self._detected_ns = size, time_ns
        if self._origin_ns is None:
            self._origin_ns = time_ns
        result = self._tracker.follow(found, image, (time_ns - self._origin_ns) / SECOND_NS)
        persons = []
        boxes = np.asarray(result.boxes, np.float32)
        for box, score, foreign in zip(boxes, result.scores.tolist(), result.ids.tolist(), strict=True):
            if foreign < 0:
                continue
            track = self._own_id(foreign)
            path = self._paths.get(track)
            if path is None:
                path = self._paths[track] = _Path()
            path.seen.append((time_ns, box))
            path.score = score
            persons.append(Person(self.camera, track, frame_index, time_ns, box, score))
        persons.sort(key=lambda person: person.track)
        ended += self._forget_lost()
        joined = tuple((self._ids[one], self._former[earlier]) for one, earlier in result.joined.items())
        return Tracked(tuple(persons), ended, joined)

    def predict(self, frame_index: int, time_ns: int, size: tuple[int, int]) -> Tracked:
        """Where everybody is in a frame without detection, from the motion up to now.

        Only tracks seen at the last detection are continued, for as long as somebody may be out of sight and
        for two detections at least; a change of resolution ends all tracks.
        """
        if self._size not in (None, size):
            self._size = size
            return Tracked((), self.reset())
        if time_ns - self._detected_ns > max(self._tracking.lost_s, 2 / self._fps) * SECOND_NS:
            return Tracked(())  # no picture came meanwhile: whoever stands there now may be another
        persons = tuple(
            Person(self.camera, track, frame_index, time_ns, path.at(time_ns), path.score)
            for track, path in sorted(self._paths.items())
            if path.seen[-1][0] == self._detected_ns
        )
        return Tracked(persons)

    @property
    def follows(self) -> bool:
        """Whether there is anybody to follow, lost ones among them."""
        return bool(self._tracker.tracks)

    def adjust(self, fps: float | None) -> None:
        """Another rate, for the trackers to come: the one of now goes by times, in units of the old rate."""
        self._fps = fps or 25.0

    def reset(self) -> tuple[int, ...]:
        """End every track: the stream is another one. Returns the ids that ended."""
        ended = tuple(sorted(self._paths))
        self._tracker = create_tracker(self._tracking, self._fps)
        self._ids.clear()
        self._paths.clear()
        self._origin_ns = None
        return ended

    def _own_id(self, foreign: int) -> int:
        if foreign not in self._ids:
            self._ids[foreign] = self.next_id
            self.next_id += 1
        return self._ids[foreign]

    def _forget_lost(self) -> tuple[int, ...]:
        """Ids of tracks the library gave up."""
        alive = {track.tracker_id for track in self._tracker.tracks}
        gone = {foreign: track for foreign, track in self._ids.items() if foreign not in alive}
        for foreign, track in gone.items():
            del self._ids[foreign], self._paths[track]
            self._former[foreign] = track
        while len(self._former) > MOST_FORMER:
            del self._former[next(iter(self._former))]
        return tuple(sorted(gone.values()))


class BoxTracker(Protocol):
    """Follows the boxes of one camera, under numbers of its own."""

    def follow(self, found: Detections, image: Image | None, time_s: float) -> Followed:
        """Take in the detections of a frame; times rise."""

    @property
    def tracks(self) -> Sequence[Any]:
        """Everybody followed, lost ones among them, each with its number as `tracker_id`."""


class LibraryTracker:
    """A tracker of the `trackers` library; its modules load here, half a second once."""

    def __init__(self, tracking: Tracking, fps: float) -> None:
        self._tracker = create_library_tracker(tracking, fps)

    def follow(self, found: Detections, image: Image | None, time_s: float) -> Followed:  # noqa: ARG002
        """By boxes and scores alone."""
        boxes = TrackerBoxes(found.boxes.reshape(-1, 4), found.scores)
        result = self._tracker.update(boxes, timestamp=time_s)
        return Followed(result.xyxy, result.confidence, result.tracker_id)

    @property
    def tracks(self) -> Sequence[Any]:
        """See `BoxTracker`."""
        tracks: Sequence[Any] = self._tracker.tracks
        return tracks


def create_tracker(tracking: Tracking, fps: float) -> BoxTracker:
    """The tracker of a configuration, for a camera of so many frames per second."""
    if tracking.algorithm == "appearance":
        return AppearanceTracker(tracking, fps)
    return LibraryTracker(tracking, fps)


def create_library_tracker(tracking: Tracking, fps: float) -> Any:
    """A tracker of the library."""
    # The library counts its buffer in frames of 30 per second and turns it into seconds by that rate.
    common: dict[str, Any] = {
        "lost_track_buffer": max(1, round(tracking.lost_s * 30)),
        "frame_rate": fps,
        "minimum_consecutive_frames": tracking.min_hits,
        "minimum_iou_threshold": tracking.iou,
    }
    if tracking.algorithm == "bytetrack":
        from trackers import ByteTrackTracker

        return ByteTrackTracker(
            track_activation_threshold=tracking.new_track_score,
            high_conf_det_threshold=tracking.new_track_score,
            **common,
        )
    if tracking.algorithm == "ocsort":
        from trackers import OCSORTTracker

        return OCSORTTracker(high_conf_det_threshold=tracking.new_track_score, **common)
    from trackers import SORTTracker

    return SORTTracker(track_activation_threshold=tracking.new_track_score, **common)


class TrackerBoxes:
    """What the library asks of `supervision.Detections`, which validates all it holds at every step.

    Attributes:
        xyxy: pixels `[n, 4]`.
        confidence: scores `[n]`.
        tracker_id: set by the library.
    """

    __slots__ = ("confidence", "tracker_id", "xyxy")

    def __init__(self, xyxy: Floats, confidence: Floats) -> None:
        self.xyxy = xyxy
        self.confidence = confidence
        self.tracker_id: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.xyxy)

    def __getitem__(self, index: Any) -> TrackerBoxes:
        return TrackerBoxes(self.xyxy[index], self.confidence[index])

"""What was seen of a site: figures about its people, and a few pictures, in memory alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gaitstream.config.camera_sections import Camera
from gaitstream.config.schema import Config
from gaitstream.data import Decision, Embedding, Floats, Frame, Image, Person, Reason
from gaitstream.evidence.tracks import Strip
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.source.clock import SECOND_NS
from gaitstream.telemetry.stats import CameraCounters, Snapshot

PICTURES = 8
"""Kept of each camera, spread over the time, to try detectors on."""
PERSON_S = 0.5
"""A track that lasts as long is somebody; what is shorter may be a detector's mistake."""
SHOWS_HEIGHT = (None, Reason.TOO_SMALL, Reason.BLURRED, Reason.TOO_DARK, Reason.LOW_POSE_SCORE)
"""What may speak against a person-frame whose box shows a whole body all the same."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Somebody in one frame: box height and feet in pixels, and what speaks against the frame as evidence."""

    time_ns: int
    height_px: float
    feet: tuple[float, float]
    reason: Reason | None


@dataclass(slots=True)
class TrackSeen:
    """One track, its frames in order."""

    sights: list[Sight] = field(default_factory=list)

    @property
    def is_person(self) -> bool:
        """Whether it lasted long enough to be somebody."""
        return self.sights[-1].time_ns - self.sights[0].time_ns >= PERSON_S * SECOND_NS

    @property
    def evidence(self) -> list[Sight]:
        """The frames that are evidence of gait."""
        return [sight for sight in self.sights if sight.reason is None]


@dataclass(frozen=True, slots=True)
class SampledPicture:
    """One picture of a camera, BGR uint8, and the boxes of those tracked in it who are evidence, `[n, 4]`."""

    image: Image
    boxes: Floats


@dataclass
class CameraSeen:
    """One camera while it was watched.

    Attributes:
        camera: its entry.
        size: width and height of its pictures; None while none came.
        counters: as a run counts them, taken at the end.
        people: how many were tracked in each analysed frame.
        tracks: by id.
        shots: a few pictures.
        first: index and capture time of the first analysed frame.
        last: of the last one.
        steps_s: seconds from frame to frame of the camera's own, between analysed ones.
    """

    camera: Camera
    size: tuple[int, int] | None = None
    counters: CameraCounters = field(default_factory=CameraCounters)
    people: list[int] = field(default_factory=list)
    tracks: dict[int, TrackSeen] = field(default_factory=dict)
    shots: list[SampledPicture] = field(default_factory=list)
    first: tuple[int, int] = (0, 0)
    last: tuple[int, int] = (0, 0)
    steps_s: list[float] = field(default_factory=list)
    strip: Strip = field(default_factory=lambda: Strip(PICTURES))

    @property
    def persons(self) -> list[TrackSeen]:
        """The tracks that are somebody."""
        return [track for track in self.tracks.values() if track.is_person]

    @property
    def seconds(self) -> float:
        """From the first to the last picture, by capture times."""
        return (self.last[1] - self.first[1]) / SECOND_NS

    @property
    def sent_fps(self) -> float | None:
        """Frames a second that the camera sends while it is there; None when it was seen for under 2 s."""
        step_s = float(np.median(self.steps_s)) if self.seconds >= 2.0 and self.steps_s else 0.0
        return 1 / step_s if step_s > 0 else None

    @property
    def analysed_fps(self) -> float | None:
        """Frames a second that are asked for, or all there are."""
        sent = self.sent_fps
        if sent is None or self.camera.fps is None:
            return sent
        return min(sent, self.camera.fps)

    def heights(self) -> Floats:
        """Box heights in pixels of all persons in all frames that show them whole, float32 `[n]`."""
        sights = (sight for track in self.persons for sight in track.sights)
        return np.array([one.height_px for one in sights if one.reason in SHOWS_HEIGHT], np.float32)

    def add(self, frame: Frame, persons: Sequence[Person]) -> None:
        """Take one analysed frame in."""
        self.size = (frame.image.shape[1], frame.image.shape[0])
        self.people.append(len(persons))
        self._note_time(frame.index, frame.time_ns)
        for person in persons:
            x1, y1, x2, y2 = map(float, person.box)
            sight = Sight(person.time_ns, y2 - y1, ((x1 + x2) / 2, y2), person.rejected)
            self.tracks.setdefault(person.track, TrackSeen()).sights.append(sight)
        if self.strip.is_due():
            whole = [person.box for person in persons if person.rejected is None]
            self.shots.append(SampledPicture(frame.image.copy(), np.array(whole, np.float32).reshape(-1, 4)))
            if len(self.shots) > PICTURES:
                self.shots = self.shots[::2]

    def _note_time(self, number: int, time_ns: int) -> None:
        if self.first == (0, 0):
            self.first = self.last = (number, time_ns)
        frames = number - self.last[0]
        if frames > 0:
            self.steps_s.append((time_ns - self.last[1]) / SECOND_NS / frames)
        self.last = (number, time_ns)


@dataclass(frozen=True, slots=True)
class WindowSeen:
    """One full window of a track, embedded: `parts` float32 `[parts, dim]`."""

    camera: str
    track: int
    first_ns: int
    last_ns: int
    parts: Floats


@dataclass
class SiteSeen:
    """A site while it was watched.

    Attributes:
        config: what it was watched with.
        cameras: the enabled ones, by id.
        windows: full ones, by recognizer.
        fingerprints: of the bundles, by recognizer.
        counters: of the whole run, taken at the end.
        others: share of this machine's cores that other programs took meanwhile.
    """

    config: Config
    cameras: dict[str, CameraSeen]
    windows: dict[str, list[WindowSeen]] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    counters: Snapshot = field(default_factory=Snapshot)
    others: float = 0.0

    @property
    def watched(self) -> Iterator[tuple[int, CameraSeen]]:
        """The cameras that gave pictures, each with its place in the file's list."""
        for index, camera in enumerate(self.config.cameras):
            seen = self.cameras.get(camera.id)
            if seen is not None and seen.size is not None:
                yield index, seen


class SightingCollector(Observer):
    """Takes in what a run sees of a site."""

    def __init__(self, site: SiteSeen) -> None:
        self._site = site

    def on_frame(self, frame: Frame, persons: Sequence[Person], _: Mapping[int, Decision]) -> None:
        """Note who is where, and how good they are as evidence."""
        self._site.cameras[frame.camera].add(frame, persons)

    def on_embedding(self, embedding: Embedding) -> None:
        """Note full windows."""
        one = embedding.tracklet
        self._site.fingerprints[one.model] = embedding.fingerprint
        if not one.provisional:
            window = WindowSeen(one.camera, one.track, one.first_ns, one.last_ns, embedding.parts)
            self._site.windows.setdefault(one.model, []).append(window)

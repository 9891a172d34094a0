"""Which camera a frame belongs to, and our track numbers for the tracker's object ids.

DeepStream numbers the pads of its muxer and gives the number of a camera that left to the next one. Frames of
the old camera may still lie in the queues then, and the message that it left overtakes them. So buffers are
counted where they leave the muxer and where their features are copied out, and a camera owns its pad up to
the last buffer that can hold a frame of it.

Object ids are unique within one stream and may start anew, and two cameras can have the same id at the same
time: tracks are kept per camera on its pad, and a track number of a camera is never given twice in a run.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from gaitstream.pipeline.source.clock import SECOND_NS, CaptureClock, RateGate

MUXER_BUFFERS = 8
"""Buffers after a camera's removal that may still hold a frame of it: the muxer keeps a few per pad."""


@dataclass
class ObjectTrack:
    """One object id of one camera."""

    number: int
    seen_ns: int
    """Capture time of the last frame with a detection."""
    since_detection: int
    """Frames since then."""
    score: float
    """Of the last detection."""


@dataclass
class PadSource:
    """A camera on a pad of the muxer."""

    camera: str
    gate: RateGate
    clock: CaptureClock = field(default_factory=CaptureClock)
    tracks: dict[int, ObjectTrack] = field(default_factory=dict)
    last_pts_ns: int = -1
    last_number: int = -1
    last_buffer: int | None = None
    """Number of the last buffer that can hold a frame of it; None while it stays."""


class PadSources:
    """All cameras of one pipeline, by pad.

    Safe to use from several threads: messages come from DeepStream's main loop, buffers are counted in the
    muxer's thread, frames are looked up where features are copied out, and changes wait in a thread of ours.

    Args:
        lost_s: time after which a track without detection has ended.
        probation: frames at the start of a track that the tracker shows nobody.
        first_tracks: next track number by camera.
        aspects: width of a pixel in heights, by camera; square where nothing is said.

    Attributes:
        aspects: kept up to date by whoever adds cameras.
    """

    def __init__(
        self,
        lost_s: float,
        probation: int,
        first_tracks: dict[str, int] | None = None,
        aspects: Mapping[str, float] | None = None,
    ) -> None:
        self.aspects = dict(aspects or {})
        self._lost_ns = int(lost_s * SECOND_NS)
        self._probation = probation
        self._pads: dict[int, list[PadSource]] = {}
        self._entered = 0
        self._passed = 0
        self._next_track: dict[str, int] = dict(first_tracks or {})
        self._next_index: dict[str, int] = {}
        self._counters: dict[str, Counter[str]] = {}
        self._gone: list[str] = []
        self._changed = threading.Condition()

    # Cameras come and go.

    def attach(self, pad: int, camera: str, fps: float | None) -> None:
        """A camera takes a pad; hearing of it again where it is already changes nothing."""
        with self._changed:
            there = self._pads.setdefault(pad, [])
            if there and there[-1].camera == camera and there[-1].last_buffer is None:
                return
            # What entered belongs to the camera before; so does the buffer that the muxer is filling, as a
            # new camera has to connect first.
            self._end(there, self._entered + 1)
            self._end([s for s in self._all() if s.camera == camera], self._entered + 1)
            there.append(PadSource(camera, RateGate(fps)))
            self._changed.notify_all()

    def leave(self, camera: str) -> None:
        """A camera was removed; its frames on their way are still its own."""
        with self._changed:
            self._end([s for s in self._all() if s.camera == camera], self._entered + MUXER_BUFFERS)

    def leave_pad(self, pad: int, camera: str) -> None:
        """As `leave`, by DeepStream's message, which does not always know the camera's id."""
        with self._changed:
            there = self._pads.get(pad, [])
            self._end([s for s in there if s.camera == camera] or there[-1:], self._entered + MUXER_BUFFERS)

    def is_attached(self, camera: str) -> bool:
        """Whether a camera has a pad and was not removed from it."""
        with self._changed:
            return self._is_attached(camera)

    def wait_attached(self, camera: str, timeout_s: float) -> bool:
        """Wait until a camera has a pad."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_attached(camera), timeout_s)

    def wait_gone(self, camera: str, timeout_s: float) -> None:
        """Wait until the last frame of a removed camera has come out, or give it up: nothing may flow."""
        with self._changed:
            self._changed.wait_for(lambda: not self._leaving(camera), timeout_s)
            self._drop(self._leaving(camera))

    def retune(self, camera: str, fps: float | None) -> None:
        """Change the rate at which a camera is analysed."""
        with self._changed:
            for source in self._all():
                if source.camera == camera:
                    source.gate = RateGate(fps)

    # Buffers.

    def leave_muxer(self) -> None:
        """A buffer left the muxer."""
        with self._changed:
            self._entered += 1

    def come_out(self) -> None:
        """The next buffer came out of the last encoder; `source` speaks of it from now on."""
        with self._changed:
            self._drop(
                [s for s in self._all() if s.last_buffer is not None and s.last_buffer <= self._passed]
            )
            self._passed += 1

    def take_gone(self) -> list[str]:
        """Cameras whose last frame came out before the buffer at hand, since the last call."""
        with self._changed:
            gone, self._gone = self._gone, []
        return gone

    def source(self, pad: int, number: int) -> PadSource | None:
        """Whose frame this is, in the buffer that came out last.

        Args:
            pad: of the muxer.
            number: of the frame in its stream.

        Returns:
            The camera's, or None and a count when nobody is known to be there.
        """
        with self._changed:
            owners = list(self._pads.get(pad, []))
            # A stream that starts over is the next camera's, however few buffers have passed.
            if len(owners) > 1 and number <= owners[0].last_number:
                self._drop([owners.pop(0)])
            if owners:
                source = owners[0]
                if source.last_number < 0:  # where else it was is told before its first frame here
                    self._drop([s for s in self._all() if s.camera == source.camera and s is not source])
                return source
        self.count("", "unknown_source")
        return None

    def next_index(self, camera: str) -> int:
        """Count a frame of a camera."""
        index = self._next_index.get(camera, 0)
        self._next_index[camera] = index + 1
        return index

    def restarted(self, source: PadSource, number: int, pts_ns: int) -> bool:
        """Whether the stream started over before this frame: then its object ids mean other people."""
        over = number < source.last_number or pts_ns < source.last_pts_ns
        if over:
            self.count(source.camera, "id_resets")
            source.tracks.clear()
            source.clock = CaptureClock()
        source.last_number, source.last_pts_ns = number, pts_ns
        return over

    def set_back(self, source: PadSource) -> None:
        """The clock went back before this frame: whoever is seen from here on is a new one, as natively."""
        self.count(source.camera, "clock_set_back")
        source.tracks.clear()

    # Tracks.

    def track(
        self, source: PadSource, object_id: int, time_ns: int, score: float | None
    ) -> ObjectTrack | None:
        """The track of an object id in this frame.

        Args:
            source: its camera.
            object_id: the tracker's.
            time_ns: capture time of the frame.
            score: of the detection; None when the tracker predicted the box.

        Returns:
            The track, or None for a prediction of nobody who was detected before.
        """
        track = source.tracks.get(object_id)
        if track is not None and time_ns - track.seen_ns > self._lost_ns:
            # The pipeline has ended it: what comes back under the id is somebody new to it.
            self.count(source.camera, "ids_reused")
            track = None
        if score is None:
            if track is not None:
                track.since_detection += 1
            return track
        if track is None:
            track = ObjectTrack(self._new_number(source.camera), time_ns, 0, score)
            source.tracks[object_id] = track
            self.count(source.camera, "probation_frames", self._probation)
            self._forget(source, time_ns)
        track.seen_ns, track.since_detection, track.score = time_ns, 0, score
        return track

    # Counters.

    def count(self, camera: str, what: str, number: int = 1) -> None:
        """Count something that had to be handled; an empty name is no camera's."""
        if number:
            with self._changed:
                self._counters.setdefault(camera, Counter())[what] += number

    def take_counters(self) -> dict[str, dict[str, int]]:
        """The counts since the last call, by camera and kind."""
        with self._changed:
            taken, self._counters = self._counters, {}
        return {camera: dict(counts) for camera, counts in taken.items()}

    def _all(self) -> list[PadSource]:
        return [source for there in self._pads.values() for source in there]

    def _is_attached(self, camera: str) -> bool:
        return any(s.camera == camera and s.last_buffer is None for s in self._all())

    def _leaving(self, camera: str) -> list[PadSource]:
        return [s for s in self._all() if s.camera == camera and s.last_buffer is not None]

    def _drop(self, sources: list[PadSource]) -> None:
        for there in self._pads.values():
            there[:] = [s for s in there if not any(s is one for one in sources)]
        if sources:
            self._gone += [source.camera for source in sources]
            self._changed.notify_all()

    @staticmethod
    def _end(sources: list[PadSource], buffer: int) -> None:
        for source in sources:
            source.last_buffer = buffer if source.last_buffer is None else min(source.last_buffer, buffer)

    def _new_number(self, camera: str) -> int:
        number = self._next_track.get(camera, 1)
        self._next_track[camera] = number + 1
        return number

    def _forget(self, source: PadSource, time_ns: int) -> None:
        """Drop ids that have been away for long; ten times the lost time, so that reuse is still noticed."""
        old = [i for i, track in source.tracks.items() if time_ns - track.seen_ns > 10 * self._lost_ns]
        for object_id in old:
            del source.tracks[object_id]

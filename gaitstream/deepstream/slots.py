"""Who sits where: cameras in the muxer's slots, and our track numbers for the tracker's object ids.

A slot is used again after its camera left, object ids are unique within one stream and may start anew, and
two cameras can have the same id at the same time. So everything is kept per slot, a slot is emptied when its
camera leaves or its stream starts over, and a track number of a camera is never given twice in a run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from gaitstream.pipeline.source.clock import SECOND_NS, CaptureClock, RateGate


@dataclass
class Track:
    """One object id of one slot."""

    number: int
    seen_ns: int
    """Capture time of the last frame with a detection."""
    since_detection: int
    """Frames since then."""
    score: float
    """Of the last detection."""


@dataclass
class Slot:
    """A camera in the muxer."""

    camera: str
    gate: RateGate
    clock: CaptureClock = field(default_factory=CaptureClock)
    tracks: dict[int, Track] = field(default_factory=dict)
    last_pts_ns: int = -1
    last_number: int = -1


class Slots:
    """All slots of one pipeline. Used by the probe's thread, except `occupy` and `vacate`.

    Attributes:
        counters: by camera, what had to be handled.
    """

    def __init__(self, lost_s: float, probation: int, first_tracks: dict[str, int] | None = None) -> None:
        self.counters: dict[str, Counter[str]] = {}
        self._lost_ns = int(lost_s * SECOND_NS)
        self._probation = probation
        self._slots: dict[int, Slot] = {}
        self._next_track: dict[str, int] = dict(first_tracks or {})
        self._next_index: dict[str, int] = {}

    def occupy(self, number: int, camera: str, fps: float | None) -> list[str]:
        """A camera takes a slot. Returns the cameras that are gone by that.

        Hearing of a camera again where it sits already changes nothing.
        """
        known = self._slots.get(number)
        if known is not None and known.camera == camera:
            return []
        gone = self.vacate(number)
        # A camera that comes back before its old slot was given up leaves that one.
        gone += [
            c
            for other, slot in list(self._slots.items())
            if slot.camera == camera
            for c in self.vacate(other)
        ]
        self._slots[number] = Slot(camera, RateGate(fps))
        return gone

    def vacate(self, number: int) -> list[str]:
        """A slot's camera leaves, and with it all it was known by. Returns its name, or nothing."""
        slot = self._slots.pop(number, None)
        return [] if slot is None else [slot.camera]

    def slot(self, number: int) -> Slot | None:
        """Who sits there; None and a count when nobody is known to."""
        slot = self._slots.get(number)
        if slot is None:
            self.count("", "unknown_slot")
        return slot

    def numbers_of(self, camera: str) -> list[int]:
        """The slots a camera sits in: none or one."""
        return [number for number, slot in list(self._slots.items()) if slot.camera == camera]

    def retune(self, camera: str, fps: float | None) -> None:
        """Change the rate at which a camera is analysed."""
        for slot in list(self._slots.values()):
            if slot.camera == camera:
                slot.gate = RateGate(fps)

    def next_index(self, camera: str) -> int:
        """Count a frame of a camera."""
        index = self._next_index.get(camera, 0)
        self._next_index[camera] = index + 1
        return index

    def restarted(self, slot: Slot, number: int, pts_ns: int) -> bool:
        """Whether the stream started over before this frame: then its object ids mean other people."""
        over = number < slot.last_number or pts_ns < slot.last_pts_ns
        if over:
            self.count(slot.camera, "id_resets")
            slot.tracks.clear()
            slot.clock = CaptureClock()
        slot.last_number, slot.last_pts_ns = number, pts_ns
        return over

    def track(self, slot: Slot, object_id: int, time_ns: int, score: float | None) -> Track | None:
        """The track of an object id in this frame.

        Args:
            slot: its camera.
            object_id: the tracker's.
            time_ns: capture time of the frame.
            score: of the detection; None when the tracker predicted the box.

        Returns:
            The track, or None for a prediction of nobody who was detected before.
        """
        track = slot.tracks.get(object_id)
        if track is not None and time_ns - track.seen_ns > self._lost_ns:
            # The pipeline has ended it: what comes back under the id is somebody new to it.
            self.count(slot.camera, "ids_reused")
            track = None
        if score is None:
            if track is not None:
                track.since_detection += 1
            return track
        if track is None:
            track = Track(self._new_number(slot.camera), time_ns, 0, score)
            slot.tracks[object_id] = track
            self.count(slot.camera, "probation_frames", self._probation)
            self._forget(slot, time_ns)
        track.seen_ns, track.since_detection, track.score = time_ns, 0, score
        return track

    def count(self, camera: str, what: str, number: int = 1) -> None:
        """Count something that had to be handled."""
        if number:
            self.counters.setdefault(camera, Counter())[what] += number

    def take_counters(self) -> dict[str, dict[str, int]]:
        """The counts since the last call."""
        taken = {camera: dict(counts) for camera, counts in self.counters.items()}
        self.counters = {}
        return taken

    def _new_number(self, camera: str) -> int:
        number = self._next_track.get(camera, 1)
        self._next_track[camera] = number + 1
        return number

    def _forget(self, slot: Slot, time_ns: int) -> None:
        """Drop ids that have been away for long; ten times the lost time, so that reuse is still noticed."""
        old = [i for i, track in slot.tracks.items() if time_ns - track.seen_ns > 10 * self._lost_ns]
        for object_id in old:
            del slot.tracks[object_id]

"""The cameras of one process: each one's source and tracker, and a batch of frames taken from all of them.

Detection and judgement are shared by all cameras, so they are not here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from gaitstream.config.camera_sections import Camera
from gaitstream.config.schema import Config
from gaitstream.data import Detections, Frame
from gaitstream.pipeline.base import IDLE_S
from gaitstream.pipeline.cuts import CutDetector
from gaitstream.pipeline.shedding import Share
from gaitstream.pipeline.source import CameraReader
from gaitstream.pipeline.source.reader import State, StateChange
from gaitstream.pipeline.source.select import may_be_live
from gaitstream.pipeline.stillness import StillnessGate
from gaitstream.pipeline.track import CameraTracker, Tracked
from gaitstream.telemetry.stats import CameraCounters, Stats

PATIENCE_S = 2.0
"""How long a batch of files waits for a frame that is slow to come."""
RATE_FPS = 25.0
"""Supposed of a camera all of whose frames are analysed, however many come."""
POLL_S = 0.01
JOIN_S = 0.2
"""How long all decode threads together are waited for at the end."""


@dataclass
class CameraStream:
    """One camera's reader and tracker; used by the pipeline's thread alone.

    Attributes:
        camera: its entry in the configuration.
        reader: its decode thread.
        realtime: files are paced by their timestamps.
        waits: it is a file that is read as fast as its frames are taken.
        skew_ns: delay between a file frame's capture time, which lies in the past, and the clock: the
            smallest seen when the file is paced, else that of the last frame taken.
    """

    camera: Camera
    reader: CameraReader
    tracker: CameraTracker
    stats: CameraCounters
    realtime: bool = False
    waits: bool = False
    skew_ns: int | None = None
    _analysed: int = field(default=0, init=False)
    _last_ns: int = field(default=0, init=False)
    _cuts: CutDetector = field(default_factory=CutDetector, init=False)
    _gate: StillnessGate = field(default_factory=StillnessGate, init=False)
    _looks: Share = field(default_factory=Share, init=False)
    _detections: Share = field(default_factory=Share, init=False)
    _still: int = field(default=0, init=False)
    _over: bool = field(default=False, init=False)
    _earlier: tuple[int, ...] = field(init=False)
    """What earlier readers of the camera counted in this run."""

    def __post_init__(self) -> None:
        stats = self.stats
        self._earlier = (stats.decoded, stats.skipped, stats.corrupt, stats.reconnects, stats.dropped)

    @classmethod
    def start(
        cls,
        camera: Camera,
        config: Config,
        stats: CameraCounters,
        on_state: Callable[[CameraReader, StateChange], None],
        notify: Callable[[], None],
        *,
        realtime: bool,
        first_track: int = 1,
    ) -> CameraStream:
        """Start reading a camera."""
        reader = CameraReader(
            camera,
            config.sources,
            realtime=realtime,
            on_state=lambda change: on_state(reader, change),
            notify=notify,
        )
        tracker = CameraTracker(camera.id, config.tracking, detections_per_s(camera), first_track)
        waits = not realtime and not may_be_live(camera)
        stream = cls(camera, reader, tracker, stats, realtime, waits)
        reader.start()
        return stream

    @property
    def is_live(self) -> bool:
        """Whether its frames come at their time, taken or not; a file's wait, and none is left out."""
        return self.realtime or self.reader.live

    def may_look(self, share: float) -> bool:
        """Whether a frame is looked at when no more than this share can be; else it counts as dropped."""
        if not self.is_live or self._looks.take(share, 1):
            return True
        self.reader.queue.pass_over()
        return False

    def is_due(self, frame: Frame) -> bool:
        """Whether the next frame is to be detected on: at the camera's rate, and not where nothing moves."""
        if self._analysed % self.camera.detect_every:
            return False
        if self._is_still(frame):
            self.stats.undetected["still"] += 1
            return False
        return True

    def may_detect(self, share: float) -> bool:
        """Whether a frame that is due is detected on when no more than this share can be."""
        if not self.is_live or self._detections.take(share, 1):
            return True
        self.stats.undetected["overload"] += 1
        return False

    def _is_still(self, frame: Frame) -> bool:
        """Whether detection can wait because nothing has come in."""
        every = self.camera.still_every
        still = every > 1 and not self.tracker.follows and self._gate.is_still(frame.image)
        self._still = (self._still + 1) % every if still else 0
        return self._still != 0

    def note_taken(self, frame: Frame) -> None:
        """A frame left the queue: learn the clock's distance to capture times."""
        self._analysed += 1
        self.count()
        delay_ns = time.time_ns() - frame.time_ns
        if self.reader.live:
            self.skew_ns = 0
        elif not self.realtime or self.skew_ns is None or delay_ns < self.skew_ns:
            self.skew_ns = delay_ns  # unpaced, a file's frame is due when it is taken

    def track(self, frame: Frame, found: Detections | None) -> Tracked:
        """Give ids to one frame's persons; `found` is None on frames between detections."""
        size = (frame.image.shape[1], frame.image.shape[0])
        # Clocks were set back, or another scene is shown: whoever is seen now is a new one.
        is_cut = self._cuts.is_cut(frame.image)
        lost = self.end_tracks() if is_cut or frame.time_ns <= self._last_ns else ()
        self._last_ns = frame.time_ns
        if found is None:
            tracked = self.tracker.predict(frame.index, frame.time_ns, size)
        else:
            tracked = self.tracker.update(frame.index, frame.time_ns, size, found, frame.image)
            self._gate.note_detection(len(found.boxes))
        return replace(tracked, ended=lost + tracked.ended) if lost else tracked

    def end_tracks(self) -> tuple[int, ...]:
        """The camera went away: end its tracks, since whoever is seen next may be somebody else."""
        return self.tracker.reset()

    def abandon(self) -> None:
        """Let go of the frames that wait, and count them."""
        while self.reader.get() is not None:
            self.stats.abandoned += 1

    def has_come_to_its_end(self) -> bool:
        """Whether the last frame was taken of a camera that ended or failed; said once."""
        over = self.reader.finished and self.reader.state in (State.ENDED, State.FAILED)
        told, self._over = self._over, over
        return over and not told

    def adjust(self, camera: Camera) -> None:
        """Take over rates while running."""
        self.camera = camera
        self.reader.adjust(camera)
        self.tracker.adjust(detections_per_s(camera))

    def count(self) -> None:
        """Copy the reader's counters into the statistics."""
        counters, queue, stats = self.reader.counters, self.reader.queue, self.stats
        decoded, skipped, corrupt, reconnects, dropped = self._earlier
        stats.state, stats.reason = self.reader.state.value, self.reader.reason
        stats.decoded, stats.skipped = decoded + counters.decoded, skipped + counters.skipped
        stats.corrupt, stats.reconnects = corrupt + counters.corrupt, reconnects + counters.reconnects
        stats.dropped, stats.queued = dropped + queue.dropped, len(queue)

    @property
    def failed(self) -> bool:
        """The camera could not be read and will not be tried again."""
        return self.reader.state is State.FAILED


def detections_per_s(camera: Camera) -> float:
    """How often a camera's people are looked for."""
    return (camera.fps or RATE_FPS) / camera.detect_every


FrameBatch = list[tuple[CameraStream, Frame]]
"""Frames with the cameras they came from, in the order in which they were taken."""


class Cameras:
    """Used by the pipeline's thread, except `wake`.

    Args:
        stats: each camera's counters are in it.
        on_state: told by which reader a camera comes or goes, from its decode thread.
        realtime: pace files by their timestamps.

    Attributes:
        held: frames of files that waited when the last batch was taken, and that it had room for.
    """

    def __init__(
        self, stats: Stats, on_state: Callable[[CameraReader, StateChange], None], *, realtime: bool
    ) -> None:
        self._stats = stats
        self._on_state = on_state
        self._realtime = realtime
        self._streams: dict[str, CameraStream] = {}
        self._next_tracks: dict[str, int] = {}
        """Of cameras that were removed, which may come back in this run."""
        self._next = 0
        self._next_file = 0
        self.held = 0
        self._files = Share()
        self._waiting = threading.Event()
        self._closed = False

    def __iter__(self) -> Iterator[CameraStream]:
        return iter(self._streams.values())

    def get(self, camera: str) -> CameraStream | None:
        """A camera that is open, or None."""
        return self._streams.get(camera)

    def __getitem__(self, camera: str) -> CameraStream:
        return self._streams[camera]

    def open(self, camera: str, config: Config) -> None:
        """Start reading a camera."""
        self._stats.camera(camera).removed = False
        self._streams[camera] = CameraStream.start(
            config.camera(camera),
            config,
            self._stats.camera(camera),
            self._on_state,
            self._waiting.set,
            realtime=self._realtime,
            first_track=self._next_tracks.get(camera, 1),
        )

    def remove(self, camera: str) -> CameraStream:
        """Stop a camera and forget it; what it read so far is abandoned."""
        stream = self._streams.pop(camera)
        self._next_tracks[camera] = stream.tracker.next_id
        stream.reader.stop()
        stream.abandon()
        return stream

    @property
    def finished(self) -> bool:
        """Nothing more will come from any of them; True without cameras."""
        return all(stream.reader.finished for stream in self._streams.values())

    def gather(self, limit: int, wait_s: float, files: float = 1.0) -> FrameBatch:
        """A full batch, or what came within `wait_s` of the first frame; empty when nothing comes for long.

        Where all cameras are files that wait, so many frames as their queues hold, in a fixed order: what is
        decided batch by batch is then the same in every run.

        Args:
            limit: most frames.
            wait_s: longest time the first one waits for others.
            files: of the room that live cameras leave, the share that files may take; theirs wait meanwhile.
        """
        self.held = 0
        if all(stream.waits for stream in self._streams.values()) and not self.finished:
            return self._take_in_order(limit)
        frames: FrameBatch = []
        deadline_s: float | None = None
        slowed = files < 1.0
        live = True if slowed else None
        if slowed and limit == 1:  # no place can be kept beside live cameras: some batches are theirs
            self._take_from_files(frames, limit, files)
            if frames:
                return frames
        while not self._closed:
            self._waiting.clear()
            kept = int(slowed and limit > 1 and self._waiting_in_files() > 0)  # one place, whatever comes
            self._take_round(frames, limit - kept, live)
            now = time.monotonic()
            if deadline_s is None and (frames or kept or self.held):
                deadline_s = now + wait_s
            if len(frames) >= limit - kept or (deadline_s is not None and now >= deadline_s):
                break
            self._waiting.wait(IDLE_S if deadline_s is None else deadline_s - now)
            if deadline_s is None and not self._waiting.is_set():
                break
            if deadline_s is None and self._has_ended():
                break
        if slowed and limit > 1:
            self._take_from_files(frames, limit, files)
        return frames

    def wake(self) -> None:
        """End a `gather` that waits, and all later ones; from any thread."""
        self._closed = True
        self._waiting.set()

    def watch(self) -> None:
        """Look for cameras that stall, and count what the readers did."""
        for stream in self._streams.values():
            stream.reader.watch()
            stream.count()

    def stop(self) -> None:
        """Tell every reader to stop; from any thread."""
        for stream in list(self._streams.values()):
            stream.reader.stop()

    def drain(self) -> None:
        """Wait for the readers and count what nobody will look at any more."""
        for stream in self._streams.values():
            stream.reader.join(JOIN_S / len(self._streams))
            stream.abandon()
            stream.count()

    def _has_ended(self) -> bool:
        """Whether a camera has ended, and no frame waits of any: then there may be nothing to wait for."""
        readers = [stream.reader for stream in self._streams.values()]
        return any(reader.finished for reader in readers) and not any(len(reader.queue) for reader in readers)

    def _waiting_in_files(self) -> int:
        return sum(len(stream.reader.queue) for stream in self._streams.values() if not stream.is_live)

    def _take_from_files(self, frames: FrameBatch, limit: int, share: float) -> None:
        """Let files fill a share of the room that is left."""
        room = min(limit - len(frames), self._waiting_in_files())
        taken = self._files.take(share, room)
        self._take_round(frames, len(frames) + taken, live=False)
        self.held = room - taken

    def _take_round(self, frames: FrameBatch, limit: int, live: bool | None = None) -> None:
        """One frame of each camera in turn until nothing waits; the next round begins behind the last one.

        Args:
            frames: what is taken is added to them.
            limit: most frames.
            live: take from live cameras, or from files, alone.
        """
        streams = list(self._streams.values())
        turn = self._next_file if live is False else self._next
        first = turn % len(streams) if streams else 0
        waiting = [(number, one) for number, one in enumerate(streams) if live in (None, one.is_live)]
        waiting = [one for one in waiting if one[0] >= first] + [one for one in waiting if one[0] < first]
        while waiting and len(frames) < limit:
            still = []
            for number, stream in waiting:
                frame = stream.reader.get() if len(frames) < limit else None
                if frame is not None:
                    frames.append((stream, frame))
                    still.append((number, stream))
                    turn = number + 1
            waiting = still
        if live is False:
            self._next_file = turn
        else:
            self._next = turn

    def _take_in_order(self, limit: int) -> FrameBatch:
        """One frame of each file in turn that has not ended, however long it takes to come."""
        streams = list(self._streams.values())
        most = min(limit, sum(stream.reader.queue.limit for stream in streams))
        deadline_s = time.monotonic() + PATIENCE_S
        frames: FrameBatch = []
        passed = 0
        while len(frames) < most and passed < len(streams):
            stream = streams[self._next % len(streams)]
            frame = self._wait_for(stream, deadline_s)
            if frame is not None:
                frames.append((stream, frame))
                passed = 0
            elif stream.reader.finished:
                passed += 1
            else:
                break  # the next batch begins with it
            self._next += 1
        return frames

    def _wait_for(self, stream: CameraStream, deadline_s: float) -> Frame | None:
        """A file's next frame; None when it has ended, when it takes too long, and once all was ended."""
        while not self._closed:
            self._waiting.clear()
            frame = stream.reader.get()
            if frame is not None or stream.reader.finished or time.monotonic() >= deadline_s:
                return frame
            self._waiting.wait(POLL_S)
        return None

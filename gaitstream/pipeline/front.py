"""The first half of the pipeline, per camera: source, track, evidence. Detection is shared by all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gaitstream.config.schema import Camera, Config
from gaitstream.data import Detections, Frame, Person
from gaitstream.pipeline.encode import Work
from gaitstream.pipeline.evidence import CameraEvidence
from gaitstream.pipeline.regions import Regions
from gaitstream.pipeline.source import CameraReader
from gaitstream.pipeline.source.reader import State, StateChange
from gaitstream.pipeline.track import CameraTracker
from gaitstream.telemetry.stats import CameraStats


@dataclass(slots=True)
class Looked:
    """One frame after tracking."""

    work: Work
    ended: tuple[int, ...]


@dataclass
class CameraLine:
    """One camera's reader, tracker and evidence; used by the pipeline's thread alone.

    Attributes:
        camera: its entry in the configuration.
        reader: its decode thread.
        realtime: files are paced by their timestamps.
        skew_ns: delay between a file frame's capture time, which lies in the past, and the clock: the
            smallest seen when the file is paced, else that of the last frame taken.
    """

    camera: Camera
    config: Config
    reader: CameraReader
    tracker: CameraTracker
    stats: CameraStats
    realtime: bool = False
    evidence: CameraEvidence | None = None
    skew_ns: int | None = None
    _analysed: int = field(default=0, init=False)

    @classmethod
    def start(
        cls,
        camera: Camera,
        config: Config,
        stats: CameraStats,
        on_state: Callable[[StateChange], None],
        notify: Callable[[], None],
        *,
        realtime: bool,
    ) -> CameraLine:
        """Start reading a camera."""
        reader = CameraReader(camera, config.sources, realtime=realtime, on_state=on_state, notify=notify)
        line = cls(
            camera, config, reader, CameraTracker(camera.id, config.tracking, camera.fps), stats, realtime
        )
        reader.start()
        return line

    def needs_detection(self) -> bool:
        """Whether the next frame is one of those that are detected on."""
        return self._analysed % self.camera.detect_every == 0

    def took(self, frame: Frame) -> None:
        """A frame left the queue: learn the clock's distance to capture times."""
        self._analysed += 1
        delay_ns = time.time_ns() - frame.time_ns
        if self.reader.live:
            self.skew_ns = 0
        elif not self.realtime or self.skew_ns is None or delay_ns < self.skew_ns:
            self.skew_ns = delay_ns  # unpaced, a file's frame is due when it is taken

    def look(self, frame: Frame, found: Detections | None) -> Looked:
        """Track and judge one frame; `found` is None on frames between detections."""
        size = (frame.image.shape[1], frame.image.shape[0])
        if self.evidence is None or self.evidence.size != size:
            self.evidence = self._make_evidence(size)
        if found is None:
            tracked = self.tracker.predict(frame.index, frame.time_ns)
        else:
            tracked = self.tracker.update(frame.index, frame.time_ns, size, found)
        self.evidence.forget(tracked.ended)
        persons: tuple[Person, ...] = self.evidence.judge(tracked.persons)
        return Looked(Work(frame, persons, self.evidence), tracked.ended)

    def lose_sight(self) -> tuple[int, ...]:
        """The camera went away: end its tracks, since whoever is seen next may be somebody else."""
        ended = self.tracker.reset()
        if self.evidence is not None:
            self.evidence.forget(ended)
        return ended

    def adjust(self, camera: Camera, config: Config) -> None:
        """Take over rates, regions and thresholds while running."""
        self.camera, self.config = camera, config
        self.reader.adjust(camera)
        if self.evidence is not None:
            self.evidence.quality = config.quality_for(camera)
            self.evidence.regions = Regions(camera, self.evidence.size) if camera.regions else None

    def count(self) -> None:
        """Copy the reader's counters into the statistics."""
        counters, stats = self.reader.counters, self.stats
        stats.state, stats.reason = self.reader.state.value, self.reader.reason
        stats.decoded, stats.skipped = counters.decoded, counters.skipped
        stats.corrupt, stats.reconnects = counters.corrupt, counters.reconnects
        stats.dropped, stats.queued = self.reader.queue.dropped, len(self.reader.queue)

    @property
    def failed(self) -> bool:
        """The camera could not be read and will not be tried again."""
        return self.reader.state is State.FAILED

    def _make_evidence(self, size: tuple[int, int]) -> CameraEvidence:
        regions = Regions(self.camera, size) if self.camera.regions else None
        return CameraEvidence(self.config.quality_for(self.camera), size, regions)

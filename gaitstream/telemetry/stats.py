"""What is counted while the pipeline runs; plain snapshots for the table, the metrics and the workers."""

from __future__ import annotations

import bisect
import resource
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

MS_BOUNDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000)
"""Upper bounds of the latency buckets, in milliseconds."""
SIZE_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Upper bounds of the batch size buckets."""

Counts = dict[str, int]
"""A `Counter` while counting, a plain dictionary once decoded."""


class Histogram(msgspec.Struct):
    """Counts by bucket; quantiles are interpolated inside a bucket.

    Attributes:
        bounds: upper bounds, increasing; one more bucket holds what lies above.
    """

    bounds: tuple[float, ...] = MS_BOUNDS
    counts: list[int] = []
    total: float = 0.0

    def __post_init__(self) -> None:
        if not self.counts:
            self.counts = [0] * (len(self.bounds) + 1)

    @property
    def count(self) -> int:
        """Observations."""
        return sum(self.counts)

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value

    def quantile(self, q: float) -> float | None:
        """The value below which a share `q` lies; None without observations."""
        count = self.count
        if not count:
            return None
        rank, below = q * count, 0
        for index, inside in enumerate(self.counts):
            if inside and below + inside >= rank:
                low = self.bounds[index - 1] if index else 0.0
                high = self.bounds[min(index, len(self.bounds) - 1)]
                return min(high, low + (high - low) * (rank - below) / inside)  # rounding may reach over
            below += inside
        return self.bounds[-1]

    def merge(self, other: Histogram) -> None:
        """Add another's observations."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


class CameraCounters(msgspec.Struct):
    """One camera's counters since the start.

    Attributes:
        state: `connecting`, `online`, `offline`, `ended` or `failed`.
        decoded: frames that came from the camera = skipped + delivered.
        skipped: not due at the analysis rate.
        dropped: pushed out of the queue by newer ones.
        analysed: went through detection and tracking.
        abandoned: frames in hand when the pipeline was stopped or the camera removed.
        people: persons in the last analysed frame.
        person_frames: persons summed over the analysed frames.
        encoded: person-frames that went through a recognizer.
        windows: full tracklets.
        latency: capture (arrival, for files) to the end of the frame's analysis, ms.
        last_identity: the last decision in one line.
        removed: no longer in the configuration; counted in the totals, shown no more.
        front: what the GPU front end had to handle, by kind; see docs/deepstream.md.
    """

    state: str = "connecting"
    reason: str = ""
    decoded: int = 0
    skipped: int = 0
    dropped: int = 0
    corrupt: int = 0
    reconnects: int = 0
    queued: int = 0
    analysed: int = 0
    abandoned: int = 0
    people: int = 0
    tracks: int = 0
    tracks_ended: int = 0
    person_frames: int = 0
    encoded: int = 0
    windows: int = 0
    last_identity: str = ""
    removed: bool = False
    rejections: Counts = msgspec.field(default_factory=Counter)
    outcomes: Counts = msgspec.field(default_factory=Counter)
    unnamed: Counts = msgspec.field(default_factory=Counter)
    """Ended tracks without an identity, by reason."""
    far: int = 0
    """Of those `below_threshold`: far from everybody, so that no threshold would help."""
    latency: Histogram = msgspec.field(default_factory=Histogram)
    undetected: Counts = msgspec.field(default_factory=Counter)
    """Frames nobody was looked for in, by reason: `still`, `overload`."""
    front: Counts = msgspec.field(default_factory=Counter)


class Snapshot(msgspec.Struct):
    """Everything counted, at one time; snapshots of worker processes add up."""

    time_ns: int = 0
    uptime_s: float = 0.0
    cameras: dict[str, CameraCounters] = {}
    stages: dict[str, Histogram] = {}
    batches: dict[str, Histogram] = {}
    events: Counts = msgspec.field(default_factory=Counter)
    front: Counts = msgspec.field(default_factory=Counter)
    """What the GPU front end had to handle that belongs to no camera."""
    turned_s: float = 0.0
    """Monotonic clock, which all processes share, when a loop last turned: of the slowest; 0: none yet."""
    rss_bytes: int = 0
    cpu_s: float = 0.0
    events_waiting: int = 0
    """Events held back because the journal takes none now."""
    events_lost: int = 0
    """Events given up because the journal took none for too long."""
    evidence: Counts = msgspec.field(default_factory=Counter)
    """Evidence by fate: `kept`, or why it could not be."""
    event_latency: Histogram = msgspec.field(default_factory=Histogram)
    """From the capture of a full window's last frame to its decision's publication, ms."""

    def merge(self, other: Snapshot) -> None:
        """Add a worker's counts."""
        self.cameras.update(other.cameras)
        for mine, theirs in ((self.stages, other.stages), (self.batches, other.batches)):
            for name, histogram in theirs.items():
                mine.setdefault(name, Histogram(histogram.bounds)).merge(histogram)
        for kind, count in other.events.items():
            self.events[kind] = self.events.get(kind, 0) + count
        for fate, count in other.evidence.items():
            self.evidence[fate] = self.evidence.get(fate, 0) + count
        self.front.update(other.front)
        self.event_latency.merge(other.event_latency)
        self.events_waiting += other.events_waiting
        self.events_lost += other.events_lost
        self.rss_bytes += other.rss_bytes
        self.cpu_s += other.cpu_s
        self.turned_s = min(filter(None, (self.turned_s, other.turned_s)), default=0.0)
        self.uptime_s = max(self.uptime_s, other.uptime_s)


class Stats:
    """The live counters; written by the pipeline's thread, read by any.

    Attributes:
        now: the current values.
        latest_ms: what each stage took the last time, milliseconds.
    """

    def __init__(self) -> None:
        self.now = Snapshot()
        self.latest_ms: dict[str, float] = {}
        self._started_s = time.monotonic()

    def camera(self, camera: str) -> CameraCounters:
        """One camera's counters, made when new."""
        return self.now.cameras.setdefault(camera, CameraCounters())

    def turn(self) -> None:
        """A loop turned: it does not hang."""
        self.now.turned_s = time.monotonic()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.observe(name, (time.perf_counter() - started) * 1e3)

    def observe(self, stage: str, elapsed_ms: float) -> None:
        """Count one stage's time, in milliseconds."""
        self.latest_ms[stage] = elapsed_ms
        self.now.stages.setdefault(stage, Histogram()).observe(elapsed_ms)

    def batch(self, name: str, size: int) -> None:
        """Count one call's batch size."""
        self.now.batches.setdefault(name, Histogram(SIZE_BOUNDS)).observe(size)

    def snapshot(self) -> Snapshot:
        """A copy, with memory and CPU time of this process."""
        self.now.time_ns = time.time_ns()
        self.now.uptime_s = time.monotonic() - self._started_s
        self.now.rss_bytes = rss_bytes()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self.now.cpu_s = usage.ru_utime + usage.ru_stime
        return decode_snapshot(encode_snapshot(self.now))


_SNAPSHOT = msgspec.msgpack.Decoder(Snapshot)
"""Made while one thread is here: msgspec breaks down when two meet a type for the first time."""


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """As MessagePack."""
    return msgspec.msgpack.encode(snapshot)


def decode_snapshot(data: bytes) -> Snapshot:
    """From `encode_snapshot`."""
    return _SNAPSHOT.decode(data)


def total(cameras: Iterable[CameraCounters], counter: str) -> int:
    """Sum of one counter over cameras."""
    return sum(int(getattr(camera, counter)) for camera in cameras)


def rss_bytes() -> int:
    """Memory this process holds now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()

"""The counters as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from gaitstream.telemetry.stats import CameraCounters, Histogram, Snapshot

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    Rows = Iterable[tuple[list[str], float]]

_FATES = ("decoded", "skipped", "dropped", "corrupt", "analysed", "abandoned")
_STATES = ("connecting", "online", "offline", "ended", "failed")
_COUNTERS = (
    ("reconnects", "Times a camera was opened again."),
    ("person_frames", "Persons summed over the analysed frames."),
    ("encoded", "Person-frames that went through a recognizer."),
    ("windows", "Full tracklets."),
    ("tracks_ended", "Tracks that ended."),
)
_GAUGES = (
    ("queued", "Decoded frames that wait."),
    ("people", "Persons in the last analysed frame."),
    ("tracks", "Tracks under way."),
)
_BY_KEY = (
    ("rejections", "reason", "Person-frames not used, by reason."),
    ("undetected", "reason", "Frames nobody was looked for in, by reason."),
    ("outcomes", "status", "Ended tracks by final status."),
    ("unnamed", "reason", "Ended tracks without an identity, by reason."),
)
_MS = 1e-3


def exposition(snapshot: Snapshot) -> bytes:
    """A snapshot in Prometheus' text format."""
    from prometheus_client import generate_latest

    return generate_latest(SnapshotCollector(lambda: snapshot))


class SnapshotCollector:
    """Makes metric families of a snapshot, whenever they are asked for.

    Args:
        take: gives the snapshot.
    """

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        self._take = take

    def collect(self) -> Iterator[Metric]:
        """All families; each is named once."""
        snapshot = self._take()
        yield from _by_camera({name: one for name, one in snapshot.cameras.items() if not one.removed})
        yield from _of_the_process(snapshot)


def _by_camera(cameras: dict[str, CameraCounters]) -> Iterator[Metric]:
    seen = cameras.items()
    yield _counter(
        "frames",
        "Frames by camera and fate.",
        ["camera", "fate"],
        (([c, fate], getattr(s, fate)) for c, s in seen for fate in _FATES),
    )
    yield _gauge(
        "camera_state",
        "1 for the state a camera is in.",
        ["camera", "state"],
        (([c, state], s.state == state) for c, s in seen for state in _STATES),
    )
    for name, text in _COUNTERS:
        yield _counter(name, text, ["camera"], (([c], getattr(s, name)) for c, s in seen))
    for name, text in _GAUGES:
        yield _gauge(name, text, ["camera"], (([c], getattr(s, name)) for c, s in seen))
    for name, label, text in _BY_KEY:
        rows = (([c, key], count) for c, s in seen for key, count in getattr(s, name).items())
        yield _counter(name, text, ["camera", label], rows)
    yield _histogram(
        "latency_seconds",
        "Capture to the end of a frame's analysis.",
        "camera",
        ((c, s.latency) for c, s in seen),
        _MS,
    )


def _of_the_process(snapshot: Snapshot) -> Iterator[Metric]:
    fronts = [("", snapshot.front), *((c, s.front) for c, s in snapshot.cameras.items())]
    yield _counter(
        "front",
        "What the GPU front end had to handle, by kind.",
        ["camera", "kind"],
        (([c, kind], count) for c, counts in fronts for kind, count in counts.items()),
    )
    yield _histogram("stage_seconds", "Time of one call of a stage.", "stage", snapshot.stages.items(), _MS)
    yield _histogram("batch_size", "Items in one call of a stage.", "stage", snapshot.batches.items(), 1.0)
    yield _histogram(
        "event_latency_seconds",
        "Capture of a full window's last frame to its decision's publication.",
        "",
        [("", snapshot.event_latency)],
        _MS,
    )
    evidence = (([fate], count) for fate, count in snapshot.evidence.items())
    yield _counter("evidence", "Evidence by fate: kept, or why it could not be.", ["fate"], evidence)
    published = (([kind], count) for kind, count in snapshot.events.items())
    yield _counter("events", "Events published.", ["type"], published)
    yield _gauge(
        "events_waiting",
        "Events held back while the journal takes none.",
        [],
        [([], snapshot.events_waiting)],
    )
    yield _counter(
        "events_lost",
        "Events given up after the journal took none for long.",
        [],
        [([], snapshot.events_lost)],
    )
    yield _gauge("memory_bytes", "Resident memory.", [], [([], snapshot.rss_bytes)])
    yield _counter("cpu_seconds", "CPU time.", [], [([], snapshot.cpu_s)])
    yield _gauge("uptime_seconds", "Time since start.", [], [([], snapshot.uptime_s)])


def _counter(name: str, text: str, labels: list[str], rows: Rows) -> Metric:
    from prometheus_client.metrics_core import CounterMetricFamily

    family = CounterMetricFamily(f"gaitstream_{name}", text, labels=labels)
    for values, count in rows:
        family.add_metric(values, count)
    return family


def _gauge(name: str, text: str, labels: list[str], rows: Rows) -> Metric:
    from prometheus_client.metrics_core import GaugeMetricFamily

    family = GaugeMetricFamily(f"gaitstream_{name}", text, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def _histogram(
    name: str, text: str, label: str, rows: Iterable[tuple[str, Histogram]], unit: float
) -> Metric:
    from prometheus_client.metrics_core import HistogramMetricFamily

    family = HistogramMetricFamily(f"gaitstream_{name}", text, labels=[label] if label else [])
    for value, histogram in rows:
        family.add_metric([value] if label else [], _buckets(histogram, unit), histogram.total * unit)
    return family


def _buckets(histogram: Histogram, unit: float) -> list[tuple[str, float]]:
    """Upper bounds with the number of observations up to each."""
    buckets: list[tuple[str, float]] = []
    running = 0
    for bound, count in zip(histogram.bounds, histogram.counts, strict=False):
        running += count
        buckets.append((f"{bound * unit:g}", running))
    return [*buckets, ("+Inf", histogram.count)]

"""Drawings of the pages as places in per cent, so that text keeps its size however wide a page is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import floor, log10
from urllib.parse import quote

from gaitstream.console.showing import ShownEvent

S_NS = 1_000_000_000
NARROWEST = 0.25
"""Per cent; a bar of somebody who was there for a moment can still be seen and pressed."""
STEPS_S = (10, 30, 60, 300, 600, 1800, 3600, 2 * 3600, 6 * 3600, 86_400, 7 * 86_400)
MOST_MARKS = 7


@dataclass(frozen=True)
class Span:
    """A stretch of time, UTC nanoseconds."""

    since_ns: int
    until_ns: int

    def place(self, time_ns: int) -> float:
        """Where a time is, in per cent of the stretch."""
        share = (time_ns - self.since_ns) / max(self.until_ns - self.since_ns, 1)
        return round(100 * min(max(share, 0.0), 1.0), 3)


@dataclass(frozen=True)
class TrackBar:
    """A track on its camera's line."""

    left: float
    width: float
    status: str
    url: str
    title: str


@dataclass(frozen=True)
class TimelineLane:
    """A camera's line."""

    camera: str
    bars: list[TrackBar]


@dataclass(frozen=True)
class TimeMark:
    """A time below the lines."""

    left: float
    time_ns: int


@dataclass(frozen=True)
class Timeline:
    """Tracks of cameras on one line of time each."""

    lanes: list[TimelineLane]
    marks: list[TimeMark]


@dataclass(frozen=True)
class DistanceScale:
    """A line of distances from 0 on.

    Attributes:
        top: its end.
        ticks: numbers below it.
    """

    top: float
    ticks: Sequence[float]


def timeline(events: Iterable[ShownEvent], span: Span) -> Timeline:
    """The newest word on each track, as bars; cameras by name."""
    lanes: dict[str, dict[tuple[str, int], TrackBar]] = {}
    for event in events:
        if event.camera and event.status:
            lanes.setdefault(event.camera, {}).setdefault((event.run, event.track), _bar(event, span))
    return Timeline(
        [TimelineLane(camera, list(bars.values())) for camera, bars in sorted(lanes.items())],
        time_marks(span),
    )


def time_marks(span: Span) -> list[TimeMark]:
    """Round times of a stretch."""
    length_s = (span.until_ns - span.since_ns) / S_NS
    step_s = next((step for step in STEPS_S if length_s / step <= MOST_MARKS), STEPS_S[-1])
    step_ns = int(step_s * S_NS)
    first = -(-span.since_ns // step_ns) * step_ns
    times = range(first, span.until_ns + 1, max(step_ns, (span.until_ns - span.since_ns) // MOST_MARKS))
    return [TimeMark(span.place(time_ns), time_ns) for time_ns in times]


def scale(distances: Iterable[float | None]) -> DistanceScale:
    """A line that all of some distances fit on, with room at its end."""
    top = 1.1 * max((distance for distance in distances if distance), default=1.0)
    raw = top / 4
    magnitude = 10 ** floor(log10(raw))
    step = min((factor * magnitude for factor in (1, 2, 5, 10)), key=lambda one: abs(one - raw))
    return DistanceScale(top, [round(index * step, 6) for index in range(int(top / step) + 1)])


def _bar(event: ShownEvent, span: Span) -> TrackBar:
    left = span.place(event.details.get("first_ns") or event.time_ns)
    width = max(span.place(event.time_ns) - left, NARROWEST)
    said = event.person or event.status.replace("_", " ")
    at = datetime.fromtimestamp(event.time_ns / S_NS, UTC).strftime("%H:%M:%S UTC")
    return TrackBar(
        min(left, 100 - width), round(width, 3), event.status, f"/events/{quote(event.event_id)}",
        f"{said}, {event.camera} #{event.track}, {at}",
    )  # fmt: skip

"""Timelines over cameras: tracks one by one where they can be told apart, else how many there were when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, urlencode

from gaitstream.console.asking import EventQuestion, ask_events, count_tracks
from gaitstream.console.history.base import MOST_ROWS, EventCount
from gaitstream.console.pages.drawing import MOST_MARKS, S_NS, Span, TimeMark, time_marks
from gaitstream.console.permissions import Rights
from gaitstream.console.rendering import iso
from gaitstream.console.showing import ShownEvent
from gaitstream.console.site import ConsoleSite
from gaitstream.data import Status

NARROWEST = 0.25
"""Per cent; a bar of somebody who was there for a moment can still be seen and pressed."""
FEWEST_PARTS, MOST_PARTS, MOST_BARS = 12, 50, 400
"""Into which a time is cut where tracks are counted, and bars of all cameras: twenty browsers ask at once."""
TOP_PX, HEIGHT_PX = 4.0, 18.0
"""Of a bar within its line of 26."""
LOWEST_PX = 3.0
"""A single track beside hundreds can still be seen."""


@dataclass(frozen=True)
class BarPart:
    """A part of a bar in one colour: `top` and `height` in pixels."""

    status: str
    top: float
    height: float


@dataclass(frozen=True)
class TimelineBar:
    """A track, or all that ended in a part of the time, on a camera's line; places in per cent."""

    left: float
    width: float
    url: str
    title: str
    parts: list[BarPart]


@dataclass(frozen=True)
class TimelineLane:
    """A camera's line."""

    camera: str
    bars: list[TimelineBar]


@dataclass(frozen=True)
class Timeline:
    """Lines of cameras, one below the other.

    Attributes:
        lanes: by name.
        span: what is drawn.
        marks: times below them.
        part: length of the parts that tracks are counted in, such as `2 hours`; empty where each has a bar.
    """

    lanes: list[TimelineLane]
    span: Span
    marks: list[TimeMark]
    part: str = ""

    @property
    def step_s(self) -> int:
        """From mark to mark; from an hour on, browsers place them by the reader's zone."""
        return self.span.step_s(MOST_MARKS)


def draw_timeline(site: ConsoleSite, rights: Rights, question: EventQuestion, span: Span) -> Timeline:
    """The tracks of a stretch of time that a question asks for."""
    asked = replace(question, since_ns=span.since_ns, until_ns=span.until_ns + S_NS, limit=MOST_ROWS)
    found = ask_events(site, rights, asked)
    if not found.next:
        return of_tracks(found.events, span)
    cameras = len({event.camera for event in found.events})
    step_s = span.step_s(min(max(MOST_BARS // cameras, FEWEST_PARTS), MOST_PARTS))
    return of_counts(_counted(site, rights, asked, span, step_s), span, step_s, _filters_of(site, question))


def of_tracks(events: Iterable[ShownEvent], span: Span) -> Timeline:
    """The newest word on each track, as bars.

    Args:
        events: newest first.
        span: what is drawn.
    """
    lanes: dict[str, dict[tuple[str, int], TimelineBar]] = {}
    for event in events:
        if event.camera and event.status:
            lanes.setdefault(event.camera, {}).setdefault((event.run, event.track), _bar_of(event, span))
    drawn = _lanes({camera: list(bars.values()) for camera, bars in lanes.items()})
    return Timeline(drawn, span, time_marks(span))


def of_counts(
    counts: Mapping[Span, Sequence[EventCount]], span: Span, step_s: int, filters: Mapping[str, str]
) -> Timeline:
    """How many tracks ended in each part of the time, as bars; each leads to its part.

    Args:
        counts: by part, in order.
        span: what is drawn.
        step_s: length of a part.
        filters: of the page of events, beside camera and time.
    """
    tracks: dict[tuple[str, Span], dict[str, int]] = defaultdict(dict)
    for part, found in counts.items():
        for camera, status, events in found:
            if camera and status:
                tracks[camera, part][status] = events
    most = max((sum(by_status.values()) for by_status in tracks.values()), default=1)
    lanes: dict[str, list[TimelineBar]] = defaultdict(list)
    for (camera, part), by_status in tracks.items():
        address = _address({"camera": camera, **filters}, part)
        lanes[camera].append(_bar_of_part(camera, part, by_status, most, address, span))
    return Timeline(_lanes(lanes), span, time_marks(span), length_words(step_s))


def length_words(seconds: int) -> str:
    """A round length of time for people.

    >>> length_words(60), length_words(7200), length_words(14 * 86_400)
    ('minute', '2 hours', '14 days')
    """
    units = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
    name, size = next((name, size) for name, size in units if seconds % size == 0)
    return name if seconds == size else f"{seconds // size} {name}s"


def _lanes(bars: dict[str, list[TimelineBar]]) -> list[TimelineLane]:
    return [TimelineLane(camera, bars[camera]) for camera in sorted(bars)]


def _bar_of(event: ShownEvent, span: Span) -> TimelineBar:
    left = span.place(event.details.get("first_ns") or event.time_ns)
    width = max(span.place(event.time_ns) - left, NARROWEST)
    said = event.person or event.status.replace("_", " ")
    title = f"{said}, {event.camera} #{event.track}, {_clock(event.time_ns)} UTC"
    url = f"/events/{quote(event.event_id)}"
    parts = [BarPart(event.status, TOP_PX, HEIGHT_PX)]
    return TimelineBar(min(left, 100 - width), round(width, 3), url, title, parts)


def _bar_of_part(
    camera: str, part: Span, by_status: Mapping[str, int], most: int, url: str, span: Span
) -> TimelineBar:
    left, right = span.place(part.since_ns), span.place(part.until_ns)
    width = max(0.9 * (right - left), NARROWEST)
    said = ", ".join(f"{by_status[status]} {status.replace('_', ' ')}" for status in _order(by_status))
    title = f"{camera}, {_clock(part.since_ns)} to {_clock(part.until_ns)} UTC: {said}"
    return TimelineBar(min(left, 100 - width), round(width, 3), url, title, _stacked(by_status, most))


def _stacked(by_status: Mapping[str, int], most: int) -> list[BarPart]:
    """From the line's foot upwards, as high as there were tracks."""
    foot, made = TOP_PX + HEIGHT_PX, []
    total = sum(by_status.values())
    height = max(HEIGHT_PX * total / most, LOWEST_PX)
    for status in _order(by_status):
        share = height * by_status[status] / total
        foot -= share
        made.append(BarPart(status, round(foot, 2), round(share, 2)))
    return made


def _order(by_status: Mapping[str, int]) -> list[str]:
    known = [status.value for status in Status]
    return sorted(
        by_status, key=lambda status: (known.index(status) if status in known else len(known), status)
    )


def _counted(
    site: ConsoleSite, rights: Rights, question: EventQuestion, span: Span, step_s: int
) -> dict[Span, list[EventCount]]:
    """One question for each part: a database counts many short times sooner than one long one."""
    counts = {}
    for part in span.parts(step_s):
        since_ns, until_ns = max(part.since_ns, span.since_ns), min(part.until_ns, span.until_ns)
        counts[part] = count_tracks(site, rights, replace(question, since_ns=since_ns, until_ns=until_ns))
    return counts


def _filters_of(site: ConsoleSite, question: EventQuestion) -> dict[str, str]:
    """What was asked for beside camera and time, as the page of events takes it."""
    person = site.desk.name(question.person) or question.person if question.person else None
    asked = {"person": person, "status": question.status, "reason": question.reason}
    return {name: value for name, value in asked.items() if value}


def _address(filters: Mapping[str, str], part: Span) -> str:
    """The page of events of a part of the time."""
    return f"/events?{urlencode(filters)}&{_times_of(part)}"


@lru_cache(4 * MOST_PARTS)
def _times_of(part: Span) -> str:
    return urlencode({"since": iso(part.since_ns), "until": iso(part.until_ns)})


@lru_cache(4 * MOST_PARTS)
def _clock(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / S_NS, UTC).strftime("%Y-%m-%d %H:%M:%S")

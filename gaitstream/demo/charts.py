"""The report's charts as shapes, which `templates/chart.svg` draws.

Colours come from the page's CSS classes, so that they follow light and dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gaitstream.demo.record import DemoRecord, TrackRecord, WalkerRecord
from gaitstream.demo.score import Roc, TrackOutcome, verdict

TONES = {
    TrackOutcome.IDENTIFIED: "good",
    TrackOutcome.REJECTED: "calm",
    TrackOutcome.MISSED: "warn",
    TrackOutcome.WRONG: "bad",
    TrackOutcome.NO_EVIDENCE: "faint",
    TrackOutcome.UNCLEAR: "faint",
}
"""CSS class by verdict."""
WIDTH = 920
LEFT, RIGHT = 118, 12
ROW, HEAD = 17, 26
SMALL = (440, 320)
"""Width and height of a small chart."""
BOTTOM, EDGE = 40, 22
"""Room below a small chart for its axis, and at the right for half of its last label."""


@dataclass(frozen=True, slots=True)
class Label:
    """Text whose baseline starts, is centred or ends at a point; turned about it."""

    kind: ClassVar[str] = "label"
    text: str
    x: float
    y: float
    tone: str = "tick"
    anchor: Literal["start", "middle", "end"] = "start"
    turn_deg: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """A straight line."""

    kind: ClassVar[str] = "rule"
    x1: float
    y1: float
    x2: float
    y2: float
    tone: str = "grid"


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle; `tip` is shown when the pointer rests on it."""

    kind: ClassVar[str] = "bar"
    x: float
    y: float
    width: float
    height: float
    tone: str
    radius: int = 3
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Dot:
    """A circle with a tip."""

    kind: ClassVar[str] = "dot"
    x: float
    y: float
    tone: str
    tip: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A path in SVG's notation."""

    kind: ClassVar[str] = "curve"
    path: str


Shape = Label | Rule | Bar | Dot | Curve


@dataclass(frozen=True, slots=True)
class ChartShapes:
    """A chart: its size in units of the drawing, what it shows in words, and its shapes, back to front."""

    width: int
    height: int
    title: str
    shapes: tuple[Shape, ...]


def timeline(record: DemoRecord) -> ChartShapes:
    """One lane per camera and person: when they were tracked, and what was said of them in the end."""
    block = HEAD + ROW * len(record.people) + 14
    height = block * len(record.cameras) + 22
    span = max([record.seconds, *(track.last_s for track in record.tracks)])
    scale = (WIDTH - LEFT - RIGHT) / max(span, 1e-6)
    shapes: list[Shape] = []
    for index, camera in enumerate(record.cameras):
        top = index * block
        shapes.append(Label(camera.name, 0, top + 16, "lane"))
        for line, person in enumerate(record.people):
            y, name = top + HEAD + line * ROW, person.name
            shapes += [
                Label(_name(person), LEFT - 8, y + 11, anchor="end"),
                Rule(LEFT, y + 7, WIDTH - RIGHT, y + 7),
            ]
            lane = [track for track in record.tracks if (track.camera, track.truth) == (camera.name, name)]
            lane.sort(key=lambda track: track.first_s)
            free_until = [*(track.first_s for track in lane[1:]), span]
            for track, free_s in zip(lane, free_until, strict=False):
                shapes += _track_bars(record, track, y, scale, free_s)
    shapes += [
        Label(f"{second} s", LEFT + second * scale, height - 6, anchor="middle")
        for second in range(0, int(span) + 1, 5 if span <= 60 else 15)
    ]
    return ChartShapes(WIDTH, height, "Who was tracked when on each camera", tuple(shapes))


def _track_bars(
    record: DemoRecord, track: TrackRecord, y: int, scale: float, free_s: float
) -> Iterator[Shape]:
    """A track's bar: faint while undecided, then in the colour of its verdict.

    It is labelled where the label ends before `free_s`, when the next bar of the row begins.
    """
    kind = verdict(record, track)
    start, end = LEFT + track.first_s * scale, LEFT + track.last_s * scale
    decided = [said for said in track.statements if said.status != "insufficient_evidence"]
    known = LEFT + decided[0].time_s * scale if decided else end
    known = min(max(known, start), end)
    said = track.person or (track.reason or track.status).replace("_", " ")
    tip = f"{track.camera} #{track.track}: {track.truth}, said {said}, {kind.value}"
    yield Bar(start, y + 1, max(known - start, 1), 12, "faint", tip=tip)
    if decided:
        yield Bar(known, y + 1, max(end - known, 2), 12, TONES[kind], tip=tip)
        if min(end, LEFT + free_s * scale) - known > 6 * len(said) + 8:
            yield Label(said, known + 4, y + 10.5, "inbar faint" if TONES[kind] == "faint" else "inbar")


def roc_curve(roc: Roc) -> ChartShapes:
    """True accepts over false accepts, the latter on a logarithmic axis."""
    (width, height), left = SMALL, 62
    floor = max(0.5 / len(roc.impostor), 1e-4)

    def x(value: float) -> float:
        return left + (width - left - EDGE) * float(np.log10(max(value, floor) / floor) / np.log10(1 / floor))

    def y(value: float) -> float:
        return 14 + (height - BOTTOM - 14) * (1 - value)

    shapes: list[Shape] = [_axis(left)]
    decade = float(10 ** np.ceil(np.log10(floor)))
    while decade <= 1.0:
        at = x(decade)
        shapes += [
            Rule(at, 14, at, height - BOTTOM),
            Label(f"{100 * decade:g}%", at, height - 24, anchor="middle"),
        ]
        decade *= 10
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = y(share)
        shapes += [
            Rule(left, at, width - EDGE, at),
            Label(f"{100 * share:.0f}%", left - 6, at + 4, anchor="end"),
        ]
    path = f"M{x(0):.1f},{y(float(roc.true_accept[0])):.1f}"
    for wrong, right in zip(roc.false_accept, roc.true_accept, strict=True):
        path += f"H{x(float(wrong)):.1f}V{y(float(right)):.1f}"
    shapes += [Curve(path), *_axis_names("impostor pairs accepted", "genuine pairs accepted")]
    return ChartShapes(width, height, "ROC curve", tuple(shapes))


def histogram(roc: Roc, threshold: float | None) -> ChartShapes:
    """Distances of genuine and impostor pairs, and the threshold between them."""
    (width, height), left = SMALL, 22
    top = float(max(roc.impostor[-1], roc.genuine[-1], threshold or 0)) * 1.05
    edges = np.linspace(0, top, 37)
    scale = (width - left - EDGE) / top
    shapes: list[Shape] = [_axis(left)]
    for values, tone in ((roc.impostor, "calm"), (roc.genuine, "good")):
        counts = np.histogram(values, edges)[0] / len(values)
        peak = max(float(counts.max()), 1e-9)
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
            tall = (height - BOTTOM - 24) * float(count) / peak
            if tall > 0:
                wide = (float(high - low)) * scale - 1
                x, y = left + float(low) * scale, height - BOTTOM - tall
                shapes.append(Bar(x, y, wide, tall, f"{tone} glass", 0))
    if threshold is not None:
        at = left + threshold * scale
        shapes += [
            Rule(at, 14, at, height - BOTTOM, "limit"),
            Label(f"threshold {threshold:.3f}", at - 5, 24, anchor="end"),
        ]
    shapes += [Label(f"{tick:g}", left + tick * scale, height - 24, anchor="middle") for tick in _ticks(top)]
    shapes += _axis_names("distance of a window to an enrolled person", "")
    return ChartShapes(width, height, "Distances of genuine and impostor pairs", tuple(shapes))


def distances(record: DemoRecord) -> ChartShapes | None:
    """Each decided track's nearest distance, a row per true person; None where none has one."""
    tracks = [track for track in record.tracks if track.distance is not None and track.truth]
    names = [person.name for person in record.people]
    if not tracks:
        return None
    top = 1.08 * max([record.threshold or 0.0, *(track.distance or 0.0 for track in tracks)])
    height = 20 * len(names) + 52
    scale = (WIDTH - LEFT - RIGHT) / top
    shapes: list[Shape] = []
    for line, person in enumerate(record.people):
        y = 16 + 20 * line
        shapes += [Label(_name(person), LEFT - 8, y + 4, anchor="end"), Rule(LEFT, y, WIDTH - RIGHT, y)]
    if record.threshold is not None:
        at = LEFT + record.threshold * scale
        shapes += [
            Rule(at, 4, at, height - 40, "limit"),
            Label("threshold", at, height - 26, anchor="middle"),
        ]
    for track in tracks:
        if track.truth in names:
            kind = verdict(record, track)
            tip = f"{track.camera} #{track.track}: distance {track.distance:.3f}, {kind.value}"
            x, y = LEFT + (track.distance or 0.0) * scale, 16 + 20 * names.index(track.truth)
            shapes.append(Dot(x, y, TONES[kind], tip))
    shapes += [Label(f"{tick:g}", LEFT + tick * scale, height - 10, anchor="middle") for tick in _ticks(top)]
    return ChartShapes(WIDTH, height, "Distance of each track to the nearest enrolled person", tuple(shapes))


def _name(person: WalkerRecord) -> str:
    return person.name + ("" if person.enrolled else " (stranger)")


def _ticks(top: float) -> Sequence[float]:
    raw = top / 5
    magnitude = 10 ** np.floor(np.log10(raw))
    step = min((m * magnitude for m in (1, 2, 5, 10)), key=lambda value: abs(value - raw))
    return [round(float(index * step), 6) for index in range(int(top / step) + 1)]


def _axis(left: int) -> Rule:
    width, height = SMALL
    return Rule(left, height - BOTTOM, width - EDGE, height - BOTTOM, "axis")


def _axis_names(below: str, beside: str) -> list[Shape]:
    width, height = SMALL
    names: list[Shape] = [Label(below, width / 2, height - 6, anchor="middle")]
    if beside:
        names.append(Label(beside, 12, height / 2 - 14, anchor="middle", turn_deg=-90))
    return names

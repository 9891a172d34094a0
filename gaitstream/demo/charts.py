"""Inline SVG charts; colours come from the page's CSS classes, so that they follow light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from gaitstream.demo.record import DemoRecord, PersonRecord, TrackRecord
from gaitstream.demo.score import Roc, Verdict, verdict

TONES = {
    Verdict.IDENTIFIED: "good",
    Verdict.REJECTED: "calm",
    Verdict.MISSED: "warn",
    Verdict.WRONG: "bad",
    Verdict.NO_EVIDENCE: "faint",
    Verdict.UNCLEAR: "faint",
}
"""CSS class by verdict."""
WIDTH = 920
LEFT, RIGHT = 118, 12
ROW, HEAD = 17, 26
EDGE = 22
"""Room at the right of a small chart for half of its last label."""


def timeline(record: DemoRecord) -> str:
    """One lane per camera and person: when they were tracked, and what was said of them in the end."""
    block = HEAD + ROW * len(record.people) + 14
    height = block * len(record.cameras) + 22
    span = max([record.seconds, *(track.last_s for track in record.tracks)])
    scale = (WIDTH - LEFT - RIGHT) / max(span, 1e-6)
    parts = []
    for index, camera in enumerate(record.cameras):
        top = index * block
        parts.append(f'<text class="lane" x="0" y="{top + 16}">{escape(camera.name)}</text>')
        for line, person in enumerate(record.people):
            y, name = top + HEAD + line * ROW, person.name
            parts.append(
                f'<text class="tick" x="{LEFT - 8}" y="{y + 11}" text-anchor="end">{_label(person)}</text>'
                f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y + 7}" y2="{y + 7}"/>'
            )
            lane = [track for track in record.tracks if (track.camera, track.truth) == (camera.name, name)]
            lane.sort(key=lambda track: track.first_s)
            free_until = [*(track.first_s for track in lane[1:]), span]
            for track, free_s in zip(lane, free_until, strict=False):
                parts.append(_bar(record, track, y, scale, free_s))
    for second in range(0, int(span) + 1, 5 if span <= 60 else 15):
        x = LEFT + second * scale
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{height - 6}" text-anchor="middle">{second} s</text>'
        )
    return _svg(parts, WIDTH, height, "Who was tracked when on each camera")


def _bar(record: DemoRecord, track: TrackRecord, y: int, scale: float, free_s: float) -> str:
    """A track's bar: faint while undecided, then in the colour of its verdict.

    It is labelled where the label ends before `free_s`, when the next bar of the row begins.
    """
    kind = verdict(record, track)
    start, end = LEFT + track.first_s * scale, LEFT + track.last_s * scale
    decided = [word for word in track.statements if word.status != "insufficient_evidence"]
    known = LEFT + decided[0].time_s * scale if decided else end
    known = min(max(known, start), end)
    said = track.person or (track.reason or track.status).replace("_", " ")
    tip = f"{track.camera} #{track.track}: {track.truth}, said {said}, {kind.value}"
    bars = _rect("faint", start, y + 1, max(known - start, 1), 12)
    if decided:
        bars += _rect(TONES[kind], known, y + 1, max(end - known, 2), 12)
        if min(end, LEFT + free_s * scale) - known > 6 * len(said) + 8:
            tone = "inbar faint" if TONES[kind] == "faint" else "inbar"
            bars += f'<text class="{tone}" x="{known + 4:.1f}" y="{y + 10.5}">{escape(said)}</text>'
    return f"<g><title>{escape(tip)}</title>{bars}</g>"


def roc_curve(roc: Roc) -> str:
    """True accepts over false accepts, the latter on a logarithmic axis."""
    width, height, left, bottom = 440, 320, 62, 40
    floor = max(0.5 / len(roc.impostor), 1e-4)

    def x(value: float) -> float:
        return left + (width - left - EDGE) * float(np.log10(max(value, floor) / floor) / np.log10(1 / floor))

    def y(value: float) -> float:
        return 14 + (height - bottom - 14) * (1 - value)

    parts = _frame(width, height, left, bottom)
    decade = 10 ** np.ceil(np.log10(floor))
    while decade <= 1.0:
        at = x(decade)
        label = f"{100 * decade:g}%"
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="14" y2="{height - bottom}"/>')
        parts.append(f'<text class="tick" x="{at:.1f}" y="{height - 24}" text-anchor="middle">{label}</text>')
        decade *= 10
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        at, label = y(share), f"{100 * share:.0f}%"
        parts.append(
            f'<line class="grid" x1="{left}" x2="{width - EDGE}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text class="tick" x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{label}</text>'
        )
    path = f"M{x(0):.1f},{y(float(roc.true_accept[0])):.1f}"
    for wrong, right in zip(roc.false_accept, roc.true_accept, strict=True):
        path += f"H{x(float(wrong)):.1f}V{y(float(right)):.1f}"
    parts.append(f'<path class="curve" d="{path}"/>')
    parts.append(_axis_names(width, height, "impostor pairs accepted", "genuine pairs accepted"))
    return _svg(parts, width, height, "ROC curve")


def histogram(roc: Roc, threshold: float | None) -> str:
    """Distances of genuine and impostor pairs, and the threshold between them."""
    width, height, left, bottom = 440, 320, 22, 40
    top = float(max(roc.impostor[-1], roc.genuine[-1], threshold or 0)) * 1.05
    edges = np.linspace(0, top, 37)
    scale = (width - left - EDGE) / top
    parts = _frame(width, height, left, bottom)
    for values, tone in ((roc.impostor, "calm"), (roc.genuine, "good")):
        counts = np.histogram(values, edges)[0] / len(values)
        peak = max(float(counts.max()), 1e-9)
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
            tall = (height - bottom - 24) * float(count) / peak
            if tall > 0:
                wide = (float(high - low)) * scale - 1
                x, y = left + float(low) * scale, height - bottom - tall
                parts.append(_rect(f"{tone} glass", x, y, wide, tall, 0))
    if threshold is not None:
        at = left + threshold * scale
        parts.append(
            f'<line class="limit" x1="{at:.1f}" x2="{at:.1f}" y1="14" y2="{height - bottom}"/>'
            f'<text class="tick" x="{at - 5:.1f}" y="24" text-anchor="end">threshold {threshold:.3f}</text>'
        )
    for tick in _ticks(top):
        at = left + tick * scale
        parts.append(
            f'<text class="tick" x="{at:.1f}" y="{height - 24}" text-anchor="middle">{tick:g}</text>'
        )
    parts.append(_axis_names(width, height, "distance of a window to an enrolled person", ""))
    return _svg(parts, width, height, "Distances of genuine and impostor pairs")


def distances(record: DemoRecord) -> str:
    """Each decided track's nearest distance, a row per true person."""
    tracks = [track for track in record.tracks if track.distance is not None and track.truth]
    names = [person.name for person in record.people]
    if not tracks:
        return ""
    top = 1.08 * max([record.threshold or 0.0, *(track.distance or 0.0 for track in tracks)])
    height = 20 * len(names) + 52
    scale = (WIDTH - LEFT - RIGHT) / top
    parts = []
    for line, person in enumerate(record.people):
        y = 16 + 20 * line
        parts.append(
            f'<text class="tick" x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{_label(person)}</text>'
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        )
    if record.threshold is not None:
        at = LEFT + record.threshold * scale
        parts.append(
            f'<line class="limit" x1="{at:.1f}" x2="{at:.1f}" y1="4" y2="{height - 40}"/>'
            f'<text class="tick" x="{at:.1f}" y="{height - 26}" text-anchor="middle">threshold</text>'
        )
    for track in tracks:
        if track.truth not in names:
            continue
        y, x = 16 + 20 * names.index(track.truth), LEFT + (track.distance or 0.0) * scale
        kind = verdict(record, track)
        tip = f"{track.camera} #{track.track}: distance {track.distance:.3f}, {kind.value}"
        parts.append(
            f'<circle class="{TONES[kind]}" cx="{x:.1f}" cy="{y}" r="5.5"><title>{escape(tip)}</title>'
            "</circle>"
        )
    for tick in _ticks(top):
        at = LEFT + tick * scale
        parts.append(
            f'<text class="tick" x="{at:.1f}" y="{height - 10}" text-anchor="middle">{tick:g}</text>'
        )
    return _svg(parts, WIDTH, height, "Distance of each track to the nearest enrolled person")


def _label(person: PersonRecord) -> str:
    return escape(person.name + ("" if person.enrolled else " (stranger)"))


def _rect(tone: str, x: float, y: float, width: float, height: float, radius: int = 3) -> str:
    size = f'width="{width:.1f}" height="{height:.1f}" rx="{radius}"'
    return f'<rect class="{tone}" x="{x:.1f}" y="{y:.1f}" {size}/>'


def _ticks(top: float) -> Sequence[float]:
    raw = top / 5
    magnitude = 10 ** np.floor(np.log10(raw))
    step = min((m * magnitude for m in (1, 2, 5, 10)), key=lambda value: abs(value - raw))
    return [round(float(index * step), 6) for index in range(int(top / step) + 1)]


def _frame(width: int, height: int, left: int, bottom: int) -> list[str]:
    return [
        f'<line class="axis" x1="{left}" x2="{width - EDGE}" y1="{height - bottom}" y2="{height - bottom}"/>'
    ]


def _axis_names(width: int, height: int, below: str, beside: str) -> str:
    middle = height / 2 - 14
    text = f'<text class="tick" x="{width / 2}" y="{height - 6}" text-anchor="middle">{escape(below)}</text>'
    if beside:
        text += (
            f'<text class="tick" x="12" y="{middle}" text-anchor="middle" '
            f'transform="rotate(-90 12 {middle})">{escape(beside)}</text>'
        )
    return text


def _svg(parts: Sequence[str], width: int, height: int, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        + "".join(parts)
        + "</svg>"
    )

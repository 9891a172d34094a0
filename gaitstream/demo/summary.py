"""The score in words, for the terminal: lines of less than 80 characters."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from gaitstream.demo.record import DemoRecord
from gaitstream.demo.score import DemoScore, TrackOutcome, curves

WIDTH = 79
TOO_MANY = 0.1
"""From this share of frames left out on, the machine was too slow for the cameras."""


def summary(record: DemoRecord, result: DemoScore) -> list[str]:
    """Who was recognised where, what was decided, how fast it was."""
    out = list(_people(record, result))
    if record.stopped:
        out.insert(0, f"Stopped after {record.seconds:.0f} s: this is what was seen until then.")
    counts = result.verdicts
    out += _paragraph(
        "Tracks",
        f"{result.decided} with evidence: {result.right} decided rightly, "
        f"{counts[TrackOutcome.MISSED]} missed, {counts[TrackOutcome.WRONG]} given a wrong name. "
        f"{counts[TrackOutcome.NO_EVIDENCE]} with too little evidence, "
        f"{counts[TrackOutcome.UNCLEAR]} that show no single person.",
    )
    if result.reasons:
        listed = ", ".join(f"{reason} {count}" for reason, count in result.reasons.most_common())
        out += _paragraph("No name", f"{listed}.")
    rates = curves(record)
    if len(rates) > 1:
        said = ", ".join(f"{name} {100 * one.eer:.1f} %" for name, one in rates.items())
        out += _paragraph("Models", f"equal error rate of this run's windows: {said}.")
    out += _paragraph("Speed", " ".join(_speed(record)))
    out += _paragraph("Events", f"received {record.events_received} of {record.events_sent} over ZeroMQ.")
    return out


def _people(record: DemoRecord, result: DemoScore) -> Iterator[str]:
    yield f"{'enrolled':<10}{'recognised on':<22}full windows on"
    for name, cameras in result.identified_on.items():
        seen = ", ".join(result.completed_on[name]) or "-"
        yield f"{name:<10}{', '.join(cameras) or 'nowhere':<22}{seen}"
    yield "stranger"
    for person in record.people:
        if not person.enrolled:
            named = result.strangers_named.get(person.name)
            said = "given a name: " + ", ".join(named) if named else "never given a name"
            yield from _paragraph(person.name, said, 10)


def _speed(record: DemoRecord) -> Iterator[str]:
    """Sentences on rate, losses and latency."""
    frames = sum(camera.fps for camera in record.cameras)
    yield f"{frames:.0f} frames/s over {len(record.cameras)} cameras."
    p50 = [camera.p50_ms for camera in record.cameras if camera.p50_ms is not None]
    p95 = [camera.p95_ms for camera in record.cameras if camera.p95_ms is not None]
    if record.live and p50 and p95:
        yield f"From capture to analysed {max(p50):.0f} ms (median), {max(p95):.0f} ms (95%)."
    dropped = sum(camera.dropped for camera in record.cameras)
    decoded = sum(camera.decoded for camera in record.cameras)
    if dropped > TOO_MANY * decoded:
        yield (
            f"{dropped} of {decoded} frames were left out: this machine was too slow, or busy. "
            "With --wait the cameras wait for it."
        )


def _paragraph(title: str, text: str, indent: int = 10) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=f"{title:<{indent}}", subsequent_indent=" " * indent,
        break_on_hyphens=False,
    )  # fmt: skip

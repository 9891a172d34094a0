"""Is the planner right? It predicts this machine's rate for another crowd and another number of cameras."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gaitstream.bench.clips import make_clips
from gaitstream.bench.plan import TOLERANCE, capacity_fps
from gaitstream.bench.process import run_contender
from gaitstream.bench.rates import Rates


@dataclass(frozen=True, slots=True)
class Check:
    """Prediction and measurement, frames a second at saturation."""

    people: float
    predicted_fps: float
    measured_fps: float

    @property
    def error(self) -> float:
        """Relative to the measurement."""
        return self.predicted_fps / self.measured_fps - 1

    @property
    def holds(self) -> bool:
        """Within the tolerance."""
        return abs(self.error) <= TOLERANCE

    def __str__(self) -> str:
        verdict = "within" if self.holds else "NOT within"
        return (
            f"{self.people:.2f} people a frame: predicted {self.predicted_fps:.1f} frames/s, "
            f"measured {self.measured_fps:.1f}: {self.error:+.0%}, {verdict} {TOLERANCE:.0%}"
        )


def check(rates: Rates, say: Callable[[str], None], seconds: float = 8.0) -> list[Check]:
    """Measure crowds that the rates do not come from; the pipeline runs with its demo weights."""
    found = []
    with tempfile.TemporaryDirectory(prefix="gaitstream-check-") as folder:
        for people in (2, 10):
            say(f"measuring {people} people, 2 cameras")
            clips = make_clips(Path(folder), people, (640, 360), 6.0)
            arguments = {"clips": [str(clip) for clip in clips], "seconds": seconds, "cameras": 2}
            (row,) = run_contender("gaitstream.bench.rates:unpaced", arguments)
            seen = row.figures["people"].median
            found.append(Check(seen, capacity_fps(rates, seen), row.figures["analysed"].median))
    return found

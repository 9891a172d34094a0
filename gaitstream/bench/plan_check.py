"""Is the planner right? Its predictions beside the pipeline suite's saturated rows, and beside new crowds."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gaitstream.bench.plan import TOLERANCE, capacity_fps
from gaitstream.bench.rates import CameraScene, MachineRates, measure_stages
from gaitstream.bench.result import Report, Row
from gaitstream.bench.stages import FRAME

CROWDS = ((2, (640, 360)), (10, (640, 360)))
"""People and size that no benchmark's rates come from, on two cameras instead of four."""


@dataclass(frozen=True, slots=True)
class PlanCheck:
    """Prediction and measurement, frames a second at saturation."""

    what: str
    predicted_fps: float
    measured_fps: float

    @property
    def error(self) -> float:
        """Relative to the measurement; infinite where nothing was analysed."""
        if not self.measured_fps:
            return math.inf
        return self.predicted_fps / self.measured_fps - 1

    @property
    def holds(self) -> bool:
        """Within the tolerance."""
        return abs(self.error) <= TOLERANCE

    def __str__(self) -> str:
        verdict = "within" if self.holds else "NOT within"
        return (
            f"{self.what}: predicted {self.predicted_fps:.1f} frames/s, measured {self.measured_fps:.1f}: "
            f"{self.error:+.0%}, {verdict} {TOLERANCE:.0%}"
        )


def check_report(rates: MachineRates, report: Report) -> list[PlanCheck]:
    """Beside the saturated rows of the report's pipeline suite: live pace, other numbers of cameras."""
    return [
        check_row(rates, row, f"bench pipeline, {row.setting['cameras']} cameras")
        for suite in report.suites
        if suite.name == "pipeline"
        for row in suite.rows
        if row.note.startswith("saturated")
    ]


def check_crowds(rates: MachineRates, say: Callable[[str], None], seconds: float = 8.0) -> list[PlanCheck]:
    """Beside crowds measured now; the pipeline runs with its demo weights."""
    found = []
    with tempfile.TemporaryDirectory(prefix="gaitstream-check-") as folder:
        for people, size in CROWDS:
            say(f"measuring {people} people, 2 cameras")
            rows = measure_stages(Path(folder), people, size, seconds, cameras=2)
            (row,) = (row for row in rows if row.contender == FRAME)
            found.append(check_row(rates, row, "measured now, 2 cameras"))
    return found


def check_row(rates: MachineRates, row: Row, what: str) -> PlanCheck:
    """The prediction for the people that a row saw."""
    scene = CameraScene.of_row(row)
    label = f"{what}, {row.setting['size']}, {scene.encoded:.2f} people encoded a frame"
    return PlanCheck(label, capacity_fps(rates, scene), row.figures["analysed"].median)

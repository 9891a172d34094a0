"""What each step of the pipeline costs on a machine, taken from a benchmark report or measured now."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from gaitstream.bench.clips import make_clips
from gaitstream.bench.drive import PER_FRAME
from gaitstream.bench.process import run_contender
from gaitstream.bench.result import Report, Row
from gaitstream.errors import ConfigError

Model = Literal["demo", "gaitheat", "biggait"]
RECOGNIZERS = ("gaitheat", "biggait")


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Costs in milliseconds of the pipeline's thread.

    Attributes:
        frame_ms: by step, per frame.
        person_ms: by step, per person in a frame.
        memory_mib: of a process with few cameras.
        source: where the figures come from.
    """

    frame_ms: dict[str, float]
    person_ms: dict[str, float]
    memory_mib: float
    source: str

    def cost_ms(self, people: float) -> float:
        """One frame with so many people in it."""
        return sum(self.frame_ms.values()) + people * sum(self.person_ms.values())


def from_report(report: Report, model: Model, source: str) -> Rates:
    """Costs from the rows of the pipeline suite that ran as fast as it goes.

    Args:
        report: of `gaitstream bench pipeline`, and for a full-size recognizer also `recognizer`.
        model: whose cost stands for the recognizer; `demo` is what the pipeline suite ran.
        source: named in the plan.

    Raises:
        ConfigError: the report lacks a suite that is needed.
    """
    rows = [row for suite in report.suites if suite.name == "pipeline" for row in suite.rows]
    unpaced = [row for row in rows if row.contender == "gaitstream, unpaced"]
    if not unpaced:
        raise ConfigError(
            f"{source} has no pipeline suite: run 'gaitstream bench pipeline recognizer --out DIR'"
        )
    rates = of_row(unpaced[0], source)
    if model == "demo":
        return rates
    return with_recognizer(rates, best_frame_ms(report, model, source), model)


def of_row(row: Row, source: str) -> Rates:
    """Costs from one unpaced row."""
    frame: dict[str, float] = {}
    person: dict[str, float] = {}
    for name, found in row.figures.items():
        if found.unit == "ms/frame":
            frame[name] = found.median
        elif found.unit == "ms/person":
            person[name] = found.median
    missing = [name for name in PER_FRAME if name not in frame]
    if missing:
        raise ConfigError(f"{source}: the pipeline's row has no cost of {', '.join(missing)}; run it again")
    return Rates(frame_ms=frame, person_ms=person, memory_mib=row.figures["memory"].median, source=source)


def best_frame_ms(report: Report, model: str, source: str) -> float:
    """Cost of a frame in the fastest contender of the recognizer suite that is not a baseline."""
    found = [
        row.figures["frame"].median
        for suite in report.suites
        if suite.name == "recognizer"
        for row in suite.rows
        if row.setting.get("model") == model and not row.contender.startswith("PyTorch")
    ]
    if not found:
        raise ConfigError(
            f"{source} has no rate of {model}: run 'gaitstream bench pipeline recognizer --out DIR'"
        )
    return min(found)


def with_recognizer(rates: Rates, frame_ms: float, model: str) -> Rates:
    """The same with another recognizer; the pose model goes on judging frames, for BigGait too."""
    person = {name: cost for name, cost in rates.person_ms.items() if name not in RECOGNIZERS}
    return msgspec.structs.replace(rates, person_ms=person | {model: frame_ms})


def measure_rates(model: Model, say: Callable[[str], None], seconds: float = 6.0) -> Rates:
    """Measure this machine in about a minute.

    Raises:
        MissingExtraError: a full-size recognizer is wanted without the extra [export], which makes it.
    """
    with tempfile.TemporaryDirectory(prefix="gaitstream-plan-") as folder:
        say("rendering two short videos")
        clips = make_clips(Path(folder), 4, (640, 360), 6.0)
        say("measuring the pipeline")
        arguments = {"clips": [str(clip) for clip in clips], "seconds": seconds, "cameras": 4}
        (row,) = run_contender(f"{__name__}:unpaced", arguments)
        rates = of_row(row, "measured now on this machine")
        if model == "demo":
            return rates
        say(f"measuring {model} at its full size")
        return with_recognizer(rates, measure_recognizer(model, Path(folder) / model), model)


def unpaced(clips: list[str], seconds: float, cameras: int) -> list[Row]:
    """The pipeline as fast as it goes, in a process of its own."""
    from gaitstream.bench.pipeline import drive, row_of

    with tempfile.TemporaryDirectory() as folder:
        load = drive([Path(clip) for clip in clips], cameras, Path(folder), seconds, realtime=False)
    return [row_of(load, {"cameras": cameras}, due=None)]


def measure_recognizer(model: Model, root: Path) -> float:
    """Cost of a frame on the runtime and precision that `auto` picks, random weights, ms."""
    import importlib.util

    from gaitstream.errors import MissingExtraError

    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("torch", "export", f"a {model} of full size; or give --rates report.json")
    from gaitstream.bench.recognizer import make_bundle

    make_bundle("biggait" if model == "biggait" else "gaitheat", root)
    arguments = {"bundle": str(root), "repeats": 1, "runtime": "auto", "precision": "auto"}
    (row,) = run_contender("gaitstream.bench.recognizer:measure_speed", arguments)
    return row.figures["frame"].median

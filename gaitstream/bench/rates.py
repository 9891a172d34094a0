"""What each step of the pipeline costs on a machine, taken from a benchmark report or measured now.

The costs come from runs that took frames as fast as they go: the engines and the cameras' threads both wanted
the cores, so that what they take from each other is in every figure. Runs with few and with many people, with
small and with large pictures tell apart what a step costs per frame, per pixel and per person: batches that
fill better, work on people who are rejected in the end, and decoding are in the measured terms.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream.bench.clips import make_clips
from gaitstream.bench.devices import DEMO
from gaitstream.bench.pipeline import unpaced
from gaitstream.bench.process import run_contender
from gaitstream.bench.recognizer import make_bundle, measure_speed
from gaitstream.bench.result import Report, Row
from gaitstream.bench.stages import DECODE, FRAME
from gaitstream.errors import ConfigError, MissingExtraError
from gaitstream.models.spec import FAMILIES

DRIVERS = {"detect": "seen", "track": "seen", "crop": "posed", "pose": "posed", "keypoints": "posed"}
"""The people a step's cost goes with: all in view, or those fit for the pose model; else the encoded."""
PER_FRAME = ("detect", "track", "rest")
"""Steps whose cost is the frame's when one run alone is known."""
CAMERA_MIB = 40.0
"""Memory of one more camera where no report tells; estimated."""
CELLS = ((1, (640, 360)), (8, (640, 360)), (4, (1280, 720)))
"""People and size of the runs that `measure_rates` makes."""


@dataclass(frozen=True, slots=True)
class CameraScene:
    """What a camera shows, people on average.

    Attributes:
        seen: in a frame.
        posed: of them, those fit for the pose model.
        encoded: of them, those fit for the recognizer.
        megapixels: of a frame.
    """

    seen: float
    posed: float
    encoded: float
    megapixels: float = 0.9216

    @classmethod
    def of(cls, people: float, megapixels: float = 0.9216) -> CameraScene:
        """Everybody in view is encoded: the most that so many people can cost."""
        return cls(people, people, people, megapixels)

    @classmethod
    def of_row(cls, row: Row) -> CameraScene:
        """What a row of the pipeline's suites saw; the size stands in its setting as 640x360."""
        width, _, height = str(row.setting["size"]).partition("x")
        seen, posed, encoded = (row.figures[name].median for name in ("seen", "posed", "people"))
        return cls(seen, posed, encoded, int(width) * int(height) / 1e6)


class Cost(msgspec.Struct, frozen=True):
    """Milliseconds of the pipeline's thread: for a frame, for a megapixel of it, for a person in it."""

    frame_ms: float = 0.0
    megapixel_ms: float = 0.0
    person_ms: float = 0.0
    driver: str = "encoded"
    """Which people of a `CameraScene` count."""

    def at(self, scene: CameraScene) -> float:
        """One frame's cost."""
        people: float = getattr(scene, self.driver)
        return self.frame_ms + self.megapixel_ms * scene.megapixels + self.person_ms * people


class MachineRates(msgspec.Struct, frozen=True, kw_only=True):
    """Costs of a machine.

    Attributes:
        steps: by name of the stage.
        decode: CPU time of the cameras' threads, which run beside the pipeline's.
        memory_mib: of a process with few cameras.
        camera_mib: of one camera more: decoder, queue of frames, tracks.
        source: where the figures come from.
    """

    steps: dict[str, Cost]
    decode: Cost
    memory_mib: float
    camera_mib: float = CAMERA_MIB
    source: str

    def cost_ms(self, scene: CameraScene) -> float:
        """One frame of the scene."""
        return sum(cost.at(scene) for cost in self.steps.values())


def from_report(report: Report, model: str, source: str) -> MachineRates:
    """Costs from the stages suite, which `gaitstream bench pipeline` writes.

    Args:
        report: of `gaitstream bench pipeline`, and for a full-size recognizer also `recognizer`.
        model: whose cost stands for the recognizer; `demo` is what the pipeline suite ran.
        source: named in the plan.

    Raises:
        ConfigError: the report lacks a suite that is needed.
    """
    rows = [row for suite in report.suites if suite.name == "stages" for row in suite.rows]
    if not rows:
        raise ConfigError(
            f"{source} has no table of stages: run 'gaitstream bench pipeline recognizer --out DIR'"
        )
    rates = fit(rows, source)
    paced = [row for suite in report.suites if suite.name == "pipeline" for row in suite.rows]
    rates = msgspec.structs.replace(rates, camera_mib=camera_memory_mib(paced))
    if model == DEMO:
        return rates
    return with_recognizer(rates, best_frame_ms(report, model, source), model)


def measured_here() -> str:
    """The source of rates that are measured for the plan itself."""
    return f"measured now on this machine, {len(os.sched_getaffinity(0))} cores"


def fit(rows: Sequence[Row], source: str) -> MachineRates:
    """Costs that explain the rows of one or more runs, by least squares over their relative errors."""
    frames = {str(row.setting): row for row in rows if row.contender == FRAME}
    scenes = {key: CameraScene.of_row(row) for key, row in frames.items()}
    times: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.contender != FRAME:
            times.setdefault(row.contender, {})[str(row.setting)] = row.figures["time"].median
    costs = {
        name: fit_cost(name, list(scenes.values()), [found.get(key, 0.0) for key in scenes])
        for name, found in times.items()
    }
    decode = costs.pop(DECODE, Cost())
    memory = max(row.figures["memory"].median for row in frames.values())
    return MachineRates(steps=costs, decode=decode, memory_mib=memory, source=source)


def fit_cost(name: str, scenes: Sequence[CameraScene], times_ms: Sequence[float]) -> Cost:
    """One step's cost, no part of it below zero; as many terms as the runs differ in."""
    from scipy.optimize import nnls

    driver = DRIVERS.get(name, "encoded")
    people = np.array([getattr(scene, driver) for scene in scenes])
    sizes = np.array([scene.megapixels for scene in scenes])
    several, various = len(np.unique(people)) > 1, len(np.unique(sizes)) > 1
    terms: dict[str, NDArray[np.float64]] = {}
    if several or name not in PER_FRAME:
        terms["person_ms"] = people
    if several or name in PER_FRAME:
        terms["frame_ms"] = np.ones(len(scenes))
    if various and len(scenes) > len(terms):
        terms["megapixel_ms"] = sizes
    times = np.asarray(times_ms)
    weight = 1 / np.maximum(times, 1e-3)
    found, _ = nnls(np.stack(list(terms.values()), 1) * weight[:, None], times * weight)
    return Cost(**dict(zip(terms, map(float, found), strict=True)), driver=driver)


def camera_memory_mib(rows: Sequence[Row]) -> float:
    """Memory of one more camera: the steepest rise among the sweep's settings, `CAMERA_MIB` without one."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        cell = f"{row.setting['people']} {row.setting['size']}"
        found.setdefault(cell, []).append((int(row.setting["cameras"]), row.figures["memory"].median))
    rises = [
        (most[1] - least[1]) / (most[0] - least[0])
        for least, most in ((min(points), max(points)) for points in found.values())
        if most[0] > least[0]
    ]
    return max(rises, default=CAMERA_MIB)


def best_frame_ms(report: Report, model: str, source: str) -> float:
    """Cost of a frame in the fastest contender of the recognizer suite that is not a baseline."""
    found = [
        row.figures["frame"].median
        for suite in report.suites
        if suite.name == "recognizer"
        for row in suite.rows
        if row.setting.get("model") == model and not row.contender.startswith("PyTorch") and row.figures
    ]
    if not found:
        raise ConfigError(
            f"{source} has no rate of {model}: run 'gaitstream bench pipeline recognizer --out DIR'"
        )
    return min(found)


def with_recognizer(rates: MachineRates, frame_ms: float, model: str) -> MachineRates:
    """The same with another recognizer; the pose model goes on judging frames, whatever it works on."""
    steps = {name: cost for name, cost in rates.steps.items() if name not in FAMILIES.names()}
    return msgspec.structs.replace(rates, steps=steps | {model: Cost(person_ms=frame_ms)})


def measure_rates(model: str, say: Callable[[str], None], seconds: float = 6.0) -> MachineRates:
    """Measure this machine in about a minute.

    Raises:
        MissingExtraError: a full-size recognizer is wanted without the extra [export], which makes it.
    """
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="gaitstream-plan-") as folder:
        for people, size in CELLS:
            say(f"measuring {people} people at {size[0]}x{size[1]}")
            rows += measure_stages(Path(folder), people, size, seconds)
        rates = fit(rows, measured_here())
        if model == DEMO:
            return rates
        say(f"measuring {model} at its full size")
        return with_recognizer(rates, measure_recognizer(model, Path(folder) / model), model)


def measure_stages(
    folder: Path, people: int, size: tuple[int, int], seconds: float, cameras: int = 4
) -> list[Row]:
    """Rows of one run as fast as it goes, in a process of its own."""
    clips = make_clips(folder, people, size, 6.0)
    arguments = {
        "clips": [str(clip) for clip in clips],
        "seconds": seconds,
        "cameras": cameras,
        "people": people,
        "size": list(size),
    }
    return run_contender(unpaced, arguments)


def measure_recognizer(model: str, root: Path) -> float:
    """Cost of a frame on the runtime and precision that `auto` picks, random weights, ms."""
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("torch", "export", f"a {model} of full size; or give --rates report.json")
    make_bundle(model, root)
    arguments = {"bundle": str(root), "repeats": 1, "runtime": "auto", "precision": "auto"}
    (row,) = run_contender(measure_speed, arguments)
    return row.figures["frame"].median

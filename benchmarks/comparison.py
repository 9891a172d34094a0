"""Side by side with what a user would pick instead: the same videos and weights, in one run.

Two assemblies of parts stand in benchmarks/baselines: eager PyTorch and ONNX Runtime, with OpenCV decoding
and the `trackers` library, calling the gait model on windows of 30 frames.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.baselines import onnx_runtime, own, torch_eager
from benchmarks.baselines.own import SIZE
from benchmarks.weights import make_gaitheat
from gaitstream.bench.clips import make_clips
from gaitstream.bench.pipeline import SHARES
from gaitstream.bench.process import ContenderError, run_contender
from gaitstream.bench.result import Chart, Row, Suite
from gaitstream.bench.settings import Settings

PEOPLE = 4
OURS = {"gaitstream in fp32, stride 15": "fp32", "gaitstream, stride 15": "auto"}
"""Gaitstream's rows, and the precision of its networks; the assemblies compute in fp32."""
BASELINES = {
    "PyTorch eager, per window": torch_eager.run,
    "ONNX Runtime, per window": onnx_runtime.run,
}
NOTES = (
    f"Videos of {PEOPLE} people at {SIZE[0]}x{SIZE[1]}, as fast as they go; everybody in view is encoded. "
    f"GaitHeat at "
    "the demo's width with random weights; detector and pose model of the package, which `auto` runs in bf16 "
    "where the machine has it.",
    "floor: each frame's multiply-adds once, in the row's precision, and its bytes, at the "
    "machine's measured rates. What the rest is: for all, convolutions of few channels and single-threaded "
    "work "
    "between the networks; for an assembly per window also frames that are encoded again in every window.",
)


def run(settings: Settings) -> Suite:
    """Measure gaitstream and every assembly, each in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="gaitstream-bench-") as folder:
        rows, failed = measure_contenders(settings, Path(folder))
    return Suite(
        name="comparison",
        title="Beside assemblies of parts",
        rows=rows,
        columns=["analysed", *SHARES, "memory"],
        notes=[*ratios(rows), *failed, *NOTES],
        charts=[_chart(rows)] if rows else [],
    )


def measure_contenders(settings: Settings, folder: Path) -> tuple[list[Row], list[str]]:
    """The rows, and a line for each contender that did not run."""
    clips = make_clips(folder, PEOPLE, SIZE, 6.0 if settings.quick else 20.0)
    bundle = make_gaitheat(folder / "gaitheat")
    seconds = 5.0 if settings.quick else 20.0
    contenders: dict[str, tuple[Callable[..., list[Row]], dict[str, object]]] = {
        name: (own.contend, {"name": name, "seconds": seconds, "precision": precision})
        for name, precision in OURS.items()
    }
    for name, function in BASELINES.items():
        for stride in (15,) if settings.quick else (15, 30):
            contenders[f"{name}, stride {stride}"] = (function, {"stride": stride})
    rows: list[Row] = []
    failed = []
    for name, (function, extra) in contenders.items():
        settings.say(f"comparison: {name}")
        arguments = {"clips": [str(clip) for clip in clips], "bundle": str(bundle)} | extra
        try:
            rows += run_contender(function, arguments)
        except ContenderError as error:
            failed.append(f"{name} did not run: {str(error).splitlines()[-1]}")
    # The work is the same for all, and so is the least it could cost in fp32: gaitstream's row brings it.
    floor = next((row.floor for row in rows if OURS.get(row.contender) == "fp32"), {})
    return [msgspec.structs.replace(row, floor=row.floor or floor) for row in rows], failed


def ratios(rows: list[Row]) -> list[str]:
    """How many times faster gaitstream is than each other, in the same precision and as it comes."""
    speeds = {row.contender: row.figures["analysed"].median for row in rows}
    ours = {OURS[name]: speeds.pop(name) for name in OURS if name in speeds}
    return [
        f"gaitstream is {' and '.join(f'{mine / speed:.2f} x ({how})' for how, mine in ours.items())} "
        f"as fast as {name}"
        for name, speed in speeds.items()
        if ours
    ]


def _chart(rows: list[Row]) -> Chart:
    points: list[tuple[str | float, float]] = [
        (row.contender.replace(", ", "\n"), row.figures["analysed"].median) for row in rows
    ]
    return Chart(
        name="comparison-speed",
        title="Frames analysed a second on the same videos and weights",
        kind="bar",
        x_label="",
        y_label="frames/s",
        series={"analysed": points},
    )

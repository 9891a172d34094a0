"""The whole pipeline: frames a second and latency against cameras, people and resolution, up to saturation.

Synthetic videos are played in a loop at 15 frames a second on more and more cameras until the machine falls
behind; what it ran out of is said. Beside it, on the same videos and weights: two assemblies of parts that a
user might choose instead (benchmarks/baselines).
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from gaitstream.bench import pipeline_charts
from gaitstream.bench.clips import FPS, cameras_on, make_clips
from gaitstream.bench.drive import (
    PER_FRAME,
    Load,
    build_config,
    judge_nobody,
    limit_of,
    measure,
    with_gallery,
)
from gaitstream.bench.measure import figure, peak_memory_mib
from gaitstream.bench.process import ContenderError, run_contender
from gaitstream.bench.result import Figure, Row, Suite
from gaitstream.bench.suites import Settings

KEEPS_UP = 0.95
"""Least share of the due frames that must be analysed."""
SHARES = (0.5, 0.95, 0.99)
STEPS = (1, 2, 4, 8, 16, 32, 64, 128)
Cell = tuple[int, tuple[int, int]]
"""People and size of the picture."""
QUICK: tuple[Cell, ...] = ((4, (640, 360)), (4, (1280, 720)))
FULL: tuple[Cell, ...] = tuple(
    (people, size) for size in ((640, 360), (1280, 720), (1920, 1080)) for people in (1, 4, 12)
)
BASELINES = {
    "PyTorch eager, per window": "benchmarks.baselines.torch_eager:run",
    "ONNX Runtime, per window": "benchmarks.baselines.onnx_runtime:run",
}


def run(settings: Settings) -> Suite:
    """Measure the sweep and the comparison, or watch a long run."""
    if settings.minutes:
        from gaitstream.bench.long_run import run as run_long

        return run_long(settings)
    with tempfile.TemporaryDirectory(prefix="gaitstream-bench-") as folder:
        overhead = run_contender("gaitstream.bench.overhead:rows", {"quick": settings.quick})
        sweep = measure_sweep(settings, Path(folder))
        comparison, notes = measure_contenders(settings, Path(folder))
    return Suite(
        name="pipeline",
        title="Pipeline",
        rows=[*sweep, *comparison, *overhead],
        notes=[*saturation_notes(sweep), *_ratios(comparison), *notes, *LEGEND],
        charts=pipeline_charts.draw(sweep),
    )


LEGEND = (
    f"due: {FPS:g} frames a second and camera; keeps up: at least {KEEPS_UP:.0%} of them analysed. "
    "p50 to p99: from the due time of a window's last frame to its published decision; floor: the mean time "
    "of one call of each engine the frame passes.",
    "demo weights of the package for detection, pose and GaitHeat; a gallery of 100 random people.",
)


def measure_sweep(settings: Settings, folder: Path) -> list[Row]:
    """A row per number of cameras, people and size."""
    rows: list[Row] = []
    for people, size in QUICK if settings.quick else FULL:
        settings.say(f"pipeline: {people} people, {size[0]}x{size[1]}: videos")
        clips = make_clips(folder, people, size, 6.0 if settings.quick else 20.0)
        settings.say("pipeline: more and more cameras")
        arguments = {
            "clips": [str(clip) for clip in clips],
            "people": people,
            "size": list(size),
            "seconds": 5.0 if settings.quick else 20.0,
            "bundle": str(settings.bundles[0]) if settings.bundles else "demo",
        }
        rows += run_contender(f"{__name__}:sweep", arguments)
    return rows


def sweep(clips: list[str], people: int, size: list[int], seconds: float, bundle: str) -> list[Row]:
    """More and more cameras until they are too many; then the same as fast as it goes."""
    rows: list[Row] = []
    setting: dict[str, str | int | float] = {"people": people, "size": f"{size[0]}x{size[1]}"}
    last = STEPS[-1]
    with tempfile.TemporaryDirectory() as folder:
        for count in STEPS:
            load = drive([Path(clip) for clip in clips], count, Path(folder), seconds, bundle=bundle)
            rows.append(row_of(load, setting | {"cameras": count}, due=count * FPS))
            if load.fps < KEEPS_UP * count * FPS:
                last = count
                break
        count = min(last, 4)
        load = drive(
            [Path(clip) for clip in clips], count, Path(folder), seconds, realtime=False, bundle=bundle
        )
        rows.append(row_of(load, setting | {"cameras": count}, due=None))
    return rows


def drive(
    clips: list[Path],
    count: int,
    folder: Path,
    seconds: float,
    *,
    realtime: bool = True,
    bundle: str = "demo",
    plain: bool = False,
) -> Load:
    """Run some cameras for a while; `plain` takes everybody as evidence."""
    from gaitstream.pipeline.encode import Encoder

    # Unpaced, the rate is not limited either: every frame is analysed.
    config = build_config(cameras_on(clips, count, FPS, loop=True), bundle)
    config = judge_nobody(config) if plain else config
    encoder = Encoder.load(config)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{count}-{realtime}-{len(list(folder.iterdir()))}"
    try:
        config = with_gallery(config, encoder, folder / f"{name}.gallery")
        return measure(config, folder / name, seconds=seconds, realtime=realtime, encoder=encoder)
    finally:
        encoder.close()


def row_of(load: Load, setting: dict[str, str | int | float], due: float | None) -> Row:
    """The figures of one run."""
    figures = {
        "analysed": figure([load.fps], "frames/s", "higher" if due is None else "neither"),
        **({} if due is None else {"due": figure([due], "frames/s", "neither")}),
        "people": figure([load.persons / max(load.frames, 1)], "encoded/frame", "neither"),
    }
    for name, share in zip(("p50", "p95", "p99"), SHARES, strict=True):
        value = load.latency.quantile(share)
        if value is not None:
            figures[name] = figure([value], "ms")
    figures["CPU"] = figure([100 * load.cpu_share], "%", "neither")
    figures["memory"] = figure([load.rss_mib], "MiB")
    figures |= stage_figures(load)
    note = "as fast as it goes" if due is None else "keeps up"
    if due is not None and load.fps < KEEPS_UP * due:
        note = f"saturated: {limit_of(load)}"
    return Row(
        contender="gaitstream" if due is not None else "gaitstream, unpaced",
        setting=setting,
        figures=figures,
        floor={"p50": load.floor_ms} if "p50" in figures else {},
        note=note,
    )


def stage_figures(load: Load) -> dict[str, Figure]:
    """Time of each stage per frame, or per person in it, and what is left of the thread's time."""
    frames, persons = max(load.frames, 1), max(load.persons, 1)
    figures = {
        name: figure(
            [1e3 * seconds / (frames if name in PER_FRAME else persons)],
            "ms/frame" if name in PER_FRAME else "ms/person",
        )
        for name, seconds in load.stage_s.items()
    }
    rest = max(0.0, load.seconds - sum(load.stage_s.values()))
    return figures | {"rest": figure([1e3 * rest / frames], "ms/frame", "neither")}


def saturation_notes(rows: list[Row]) -> list[str]:
    """How many cameras each setting carried, and what was short with more."""
    notes = []
    for key in dict.fromkeys((row.setting["people"], row.setting["size"]) for row in rows):
        mine = [row for row in rows if (row.setting["people"], row.setting["size"]) == key]
        carried = [int(row.setting["cameras"]) for row in mine if row.note == "keeps up"]
        full = [f"with {row.setting['cameras']} {row.note}" for row in mine if "saturated" in row.note]
        notes.append(
            f"{key[0]} people, {key[1]}: carries {max(carried, default=0)} cameras; "
            + (full[0] if full else "not saturated")
        )
    return notes


def measure_contenders(settings: Settings, folder: Path) -> tuple[list[Row], list[str]]:
    """Gaitstream and the assemblies of parts on the same videos and weights."""
    settings.say("pipeline: beside assemblies of parts")
    if importlib.util.find_spec("torch") is None or not Path("benchmarks/baselines").is_dir():
        return [], ["No comparison: it needs a checkout of the source and the extra [export]."]
    from gaitstream.bench.weights import make_gaitheat

    clips = make_clips(folder, 4, (640, 360), 6.0 if settings.quick else 20.0)
    bundle = make_gaitheat(folder / "gaitheat")
    arguments = {"clips": [str(clip) for clip in clips], "bundle": str(bundle)}
    rows, notes = (
        [],
        ["The contenders run GaitHeat at the demo's width with random weights, fp32 or as noted."],
    )
    contenders: dict[str, tuple[str, dict[str, object]]] = {
        "gaitstream": (f"{__name__}:contend", {"seconds": 5.0 if settings.quick else 20.0})
    }
    for name, function in BASELINES.items():
        for stride in (15,) if settings.quick else (15, 30):
            contenders[f"{name}, stride {stride}"] = (function, {"stride": stride})
    for name, (function, extra) in contenders.items():
        settings.say(f"  {name}")
        try:
            rows += run_contender(function, arguments | extra)
        except ContenderError as error:
            notes.append(f"{name} did not run: {str(error).splitlines()[-1]}")
    return rows, notes


def contend(clips: list[str], bundle: str, seconds: float) -> list[Row]:
    """Gaitstream on the comparison's work: every person is evidence, files as fast as they go."""
    paths = [Path(clip) for clip in clips]
    with tempfile.TemporaryDirectory() as folder:
        load = drive(paths, len(paths), Path(folder), seconds, realtime=False, bundle=bundle, plain=True)
    return [
        contender_row(
            "gaitstream, stride 15",
            load.fps,
            load.persons / max(load.frames, 1),
            [value for share in SHARES if (value := load.latency.quantile(share)) is not None],
            load.windows / load.seconds,
        )
    ]


def contender_row(
    name: str, fps: float, people: float, latencies_ms: list[float], windows: float, note: str = ""
) -> Row:
    """A row of the comparison; `latencies_ms` are p50, p95 and p99 from frame in hand to embedding.

    They are empty where no window was filled.
    """
    figures = {
        "analysed": figure([fps], "frames/s", "higher"),
        "people": figure([people], "encoded/frame", "neither"),
        **{
            key: figure([value], "ms") for key, value in zip(("p50", "p95", "p99"), latencies_ms, strict=True)
        },
        "windows": figure([windows], "1/s", "neither"),
        "memory": figure([peak_memory_mib()], "MiB"),
    }
    return Row(contender=name, setting={"comparison": "640x360, 4 people"}, figures=figures, note=note)


def _ratios(rows: list[Row]) -> list[str]:
    if len(rows) < 2:
        return []
    ours, *others = rows
    speed = ours.figures["analysed"].median
    return [
        f"gaitstream is {speed / row.figures['analysed'].median:.2f} x as fast as {row.contender}"
        for row in others
    ]

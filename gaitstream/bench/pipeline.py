"""The whole pipeline: frames a second and latency against cameras, people and resolution, up to saturation.

Synthetic videos are played in a loop at 15 frames a second on more and more cameras until the machine falls
behind; what it ran out of is said. Then they are taken as fast as they go: that says what each stage costs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from gaitstream.bench import pipeline_charts
from gaitstream.bench.clips import FPS, cameras_on, make_clips
from gaitstream.bench.drive import DrivenLoad, accept_everybody, build_config, limit_of, measure, with_gallery
from gaitstream.bench.floors import find_limits
from gaitstream.bench.long_run import run as run_long
from gaitstream.bench.measure import figure
from gaitstream.bench.process import run_contender
from gaitstream.bench.result import Figure, Row, Suite
from gaitstream.bench.settings import Settings
from gaitstream.bench.stages import Setting, stage_rows, stage_suite, work_of
from gaitstream.pipeline.encode import Encoder

KEEPS_UP = 0.95
"""Least share of the due frames that must be analysed."""
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
STEPS = (1, 2, 4, 8, 16, 32, 64, 128)
UNPACED_CAMERAS = 4
Cell = tuple[int, tuple[int, int]]
"""People and size of the picture."""
QUICK: tuple[Cell, ...] = ((1, (640, 360)), (8, (640, 360)), (4, (1280, 720)))
FULL: tuple[Cell, ...] = tuple(
    (people, size) for size in ((640, 360), (1280, 720), (1920, 1080)) for people in (1, 4, 12)
)
NOTES = (
    f"{FPS:g} frames a second and camera are due; a machine keeps up while at least {KEEPS_UP:.0%} of them "
    f"are "
    "analysed. p50 to p99: from the due time of a window's last frame to its published decision. Demo "
    "weights "
    "of the package for detection, pose and gait; a gallery of 100 random people.",
    "floor: of p50, one frame's multiply-adds and bytes at the machine's measured rates; of frames/s, given "
    "where the machine is full, as many such frames as fit into a second. What the rest is: below saturation "
    "a batch's other frames, the deadline a batch waits for and single-threaded work around the "
    "engines; from there on the queue. The table of stages takes it apart.",
)


def run(settings: Settings) -> list[Suite]:
    """Measure the sweep, or watch a long run."""
    if settings.minutes:
        return [run_long(settings)]
    paced: list[Row] = []
    stages: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="gaitstream-bench-") as folder:
        for people, size in QUICK if settings.quick else FULL:
            settings.say(f"pipeline: {people} people, {size[0]}x{size[1]}: videos")
            clips = make_clips(Path(folder), people, size, 6.0 if settings.quick else 12.0)
            settings.say("pipeline: more and more cameras")
            found = run_contender(
                sweep,
                {
                    "clips": [str(clip) for clip in clips],
                    "people": people,
                    "size": list(size),
                    "seconds": 4.0 if settings.quick else 6.0,
                    "bundle": str(settings.bundles[0]) if settings.bundles else "demo",
                },
            )
            paced += [row for row in found if "cameras" in row.setting]
            stages += [row for row in found if "cameras" not in row.setting]
    return [
        Suite(
            name="pipeline",
            title="Pipeline",
            rows=paced,
            columns=["analysed", *SHARES],
            notes=[*saturation_notes(paced), *NOTES],
            charts=pipeline_charts.draw(paced),
        ),
        stage_suite(stages),
    ]


def sweep(clips: list[str], people: int, size: list[int], seconds: float, bundle: str) -> list[Row]:
    """As fast as it goes, then paced on more and more cameras until they are too many."""
    paths, pixels = [Path(clip) for clip in clips], size[0] * size[1]
    setting: Setting = {"people": people, "size": f"{size[0]}x{size[1]}"}
    limits = find_limits(*open_models(paths, 1, bundle))
    with tempfile.TemporaryDirectory() as folder:
        load = drive(paths, UNPACED_CAMERAS, Path(folder), seconds, realtime=False, bundle=bundle)
        rows = stage_rows(load, setting, pixels, limits)
        for count in STEPS:
            load = drive(paths, count, Path(folder), seconds, bundle=bundle)
            least_ms = limits.frame_ms(work_of(load, pixels))
            rows.append(paced_row(load, setting | {"cameras": count}, count * FPS, least_ms))
            if load.fps < KEEPS_UP * count * FPS:
                break
    return rows


def open_models(
    clips: list[Path], count: int, bundle: str, *, plain: bool = False, precision: str = "auto"
) -> Any:
    """The configuration of so many cameras and its open encoder; `plain` takes everybody as evidence."""
    config = build_config(cameras_on(clips, count, FPS, loop=True), bundle)
    config = accept_everybody(config) if plain else config
    runtime = config.runtime.model_copy(update={"precision": precision})
    config = config.model_copy(update={"runtime": runtime})
    return config, Encoder.load(config)


def drive(
    clips: list[Path],
    count: int,
    folder: Path,
    seconds: float,
    *,
    realtime: bool = True,
    bundle: str = "demo",
    plain: bool = False,
    precision: str = "auto",
) -> DrivenLoad:
    """Run some cameras for a while; `plain` takes everybody as evidence."""
    # Unpaced, the rate is not limited either: every frame is analysed.
    config, encoder = open_models(clips, count, bundle, plain=plain, precision=precision)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{count}-{realtime}-{len(list(folder.iterdir()))}"
    try:
        config = with_gallery(config, encoder, folder / f"{name}.gallery")
        return measure(config, folder / name, seconds=seconds, realtime=realtime, encoder=encoder)
    finally:
        encoder.close()


def paced_row(load: DrivenLoad, setting: Setting, due: float, least_ms: float) -> Row:
    """A row of the sweep; `least_ms` is a frame's floor."""
    frames = max(load.frames, 1)
    full = load.fps < KEEPS_UP * due
    latency = latencies(load)
    floor = {"p50": least_ms} if latency else {}
    return Row(
        contender="gaitstream",
        setting=setting,
        figures={
            "analysed": figure([load.fps], "frames/s", "higher"),
            "due": figure([due], "frames/s", "neither"),
            **latency,
            "seen": figure([load.seen / frames], "people/frame", "neither"),
            "posed": figure([load.posed / frames], "people/frame", "neither"),
            "people": figure([load.persons / frames], "people/frame", "neither"),
            "CPU": figure([100 * load.cpu_share], "%", "neither"),
            "memory": figure([load.rss_mib], "MiB"),
        },
        floor=floor | ({"analysed": 1e3 / least_ms} if full else {}),
        note=f"saturated: {limit_of(load)}" if full else "keeps up",
    )


def latencies(load: DrivenLoad) -> dict[str, Figure]:
    """Percentiles from capture to decision; none where no window was filled."""
    found = {name: load.latency.quantile(share) for name, share in SHARES.items()}
    return {name: figure([value], "ms") for name, value in found.items() if value is not None}


def unpaced(clips: list[str], seconds: float, cameras: int, people: int, size: list[int]) -> list[Row]:
    """Stage rows of a run as fast as it goes, without floors: for the planner."""
    setting: Setting = {"people": people, "size": f"{size[0]}x{size[1]}"}
    with tempfile.TemporaryDirectory() as folder:
        load = drive([Path(clip) for clip in clips], cameras, Path(folder), seconds, realtime=False)
    return stage_rows(load, setting, size[0] * size[1], None)


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

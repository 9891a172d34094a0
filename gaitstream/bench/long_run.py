"""A long run: memory, threads and open files over time, and whether any of them grows."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from gaitstream.addresses import FREE_ENDPOINT
from gaitstream.bench.clips import FPS, cameras_on, make_clips
from gaitstream.bench.drive import build_config, with_gallery
from gaitstream.bench.measure import figure
from gaitstream.bench.process import run_contender
from gaitstream.bench.result import Chart, Row, Suite
from gaitstream.bench.settings import Settings
from gaitstream.errors import ConfigError
from gaitstream.events import Journal, Publisher
from gaitstream.pipeline.encode import Encoder
from gaitstream.pipeline.runner import Pipeline
from gaitstream.telemetry.stats import rss_bytes

EVERY_S = 1.0
WARM_UP = 0.25
"""Share of the run that is left out: caches fill, decoders and gallery open."""
BLOCKS = 60
"""The rest is looked at as the medians of so many stretches: a sample follows the one before it."""
LIMITS = {"memory": 0.02, "threads": 0.0, "open files": 0.0}
"""Growth allowed over the rest of the run, as a share."""
SLACK = {"memory": 8.0, "threads": 1.0, "open files": 2.0}
"""Growth that is allowed in any case: MiB, threads, files."""
NOISE = 3.0
"""Growth must be so many times the scatter around its line."""
UNITS = {"memory": "MiB", "threads": "threads", "open files": "files"}
Sample = dict[str, float]


def run(settings: Settings) -> Suite:
    """Run the pipeline for some minutes and judge what grew.

    Raises:
        ConfigError: less than half a minute, which shows nothing.
    """
    if settings.minutes < 0.5:
        raise ConfigError(f"--minutes {settings.minutes:g} is too short to show growth: give at least 0.5")
    with tempfile.TemporaryDirectory(prefix="gaitstream-bench-") as folder:
        clips = make_clips(Path(folder), settings.people, (640, 360), 8.0)
        settings.say(f"pipeline: {settings.cameras} cameras for {settings.minutes:g} minutes")
        seconds = settings.minutes * 60
        arguments = {
            "clips": [str(clip) for clip in clips],
            "cameras": settings.cameras,
            "seconds": seconds,
        }
        rows = run_contender(watch, arguments, timeout_s=seconds + 300)
    (row,) = rows
    samples = msgspec.json.decode(row.note, type=list[Sample])
    return Suite(
        name="pipeline-long",
        title=f"Pipeline over {settings.minutes:g} minutes",
        rows=[msgspec.structs.replace(row, note="")],
        columns=[name + part for name in LIMITS for part in ("", ", growth")],
        notes=[
            f"the first {WARM_UP:.0%} of the run are left out; growth is the median slope (Theil, Sen) over "
            f"the rest, and counts when it exceeds what is allowed and {NOISE:g} times the scatter around it."
        ],
        charts=[_chart(samples, name) for name in LIMITS],
        failures=growth(samples),
    )


def watch(clips: list[str], cameras: int, seconds: float) -> list[Row]:
    """Run paced cameras and look at this process every second; the samples are in the row's note."""
    samples: list[Sample] = []
    paths = [Path(clip) for clip in clips]
    with tempfile.TemporaryDirectory() as folder:
        config = build_config(cameras_on(paths, cameras, FPS, loop=True), "demo")
        encoder = Encoder.load(config)
        config = with_gallery(config, encoder, Path(folder) / "gallery.db")
        with (
            Publisher(Journal(Path(folder) / "journal"), FREE_ENDPOINT, FREE_ENDPOINT) as bus,
            Pipeline(config, sink=bus, realtime=True, encoder=encoder) as pipeline,
        ):
            over = threading.Event()
            timer = threading.Timer(seconds, pipeline.stop)
            eye = threading.Thread(target=_sample, args=(samples, over))
            timer.start()
            eye.start()
            outcome = pipeline.run()
            over.set()
            eye.join()
        encoder.close()
    figures = {"frames": figure([outcome.frames], "frames", "neither")}
    for name, unit in UNITS.items():
        found = trend([sample[name] for sample in samples])
        figures[name] = figure([found.level + found.growth], unit)
        figures[f"{name}, growth"] = figure([found.growth], unit, "neither")
    note = msgspec.json.encode(samples).decode()
    return [Row(contender="gaitstream", setting={"cameras": cameras}, figures=figures, note=note)]


def _sample(samples: list[Sample], over: threading.Event) -> None:
    while not over.wait(EVERY_S):
        samples.append(look())


def look() -> Sample:
    """This process now."""
    return {
        "memory": rss_bytes() / 2**20,
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "open files": len(list(Path("/proc/self/fd").iterdir())),
    }


class Trend(NamedTuple):
    """A line through the samples behind the warm-up.

    Attributes:
        level: where it begins.
        growth: how far it rises by the end of the run.
        noise: the typical distance of a stretch from it.
    """

    level: float
    growth: float
    noise: float


def trend(values: Sequence[float]) -> Trend:
    """Fit the line by the median of the slopes between all pairs of stretches; outliers do not move it."""
    rest = np.asarray(values[int(WARM_UP * len(values)) :], float)
    if len(rest) < 2:
        return Trend(float(rest[0]) if len(rest) else 0.0, 0.0, 0.0)
    places = np.array_split(np.arange(len(rest)), min(BLOCKS, len(rest)))
    stretches = np.array([np.median(rest[place]) for place in places])
    at = np.array([place.mean() for place in places])
    first, second = np.triu_indices(len(at), 1)
    slope = float(np.median((stretches[second] - stretches[first]) / (at[second] - at[first])))
    offsets = stretches - slope * at
    level = float(np.median(offsets))
    return Trend(level, slope * (len(rest) - 1), 1.4826 * float(np.median(np.abs(offsets - level))))


def growth(samples: Sequence[Sample]) -> list[str]:
    """What grew by more than is allowed, in words."""
    found = []
    for name, share in LIMITS.items():
        line = trend([sample[name] for sample in samples])
        if line.growth > max(share * line.level, SLACK[name], NOISE * line.noise):
            end = line.level + line.growth
            found.append(f"{name} grew from {line.level:.0f} to {end:.0f} {UNITS[name]}")
    return found


def _chart(samples: Sequence[Sample], name: str) -> Chart:
    return Chart(
        name=f"pipeline-long-{name.replace(' ', '-')}",
        title=f"{name.capitalize()} of the process",
        kind="line",
        x_label="minutes",
        y_label=UNITS[name],
        series={name: [(index * EVERY_S / 60, sample[name]) for index, sample in enumerate(samples)]},
    )

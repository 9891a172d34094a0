"""A long run: memory, threads and open files over time, and whether any of them grows."""

from __future__ import annotations

import statistics
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gaitstream.bench.clips import FPS, cameras_on, make_clips
from gaitstream.bench.drive import build_config, with_gallery
from gaitstream.bench.measure import figure
from gaitstream.bench.process import run_contender
from gaitstream.bench.result import Chart, Row, Suite
from gaitstream.bench.suites import Settings
from gaitstream.errors import ConfigError
from gaitstream.pipeline.stats import rss_bytes

CAMERAS = 4
EVERY_S = 1.0
LIMITS = {"memory": 0.05, "threads": 0.0, "open files": 0.0}
"""Growth allowed from the second quarter of the run to its last, as a share."""
SLACK = {"memory": 16.0, "threads": 1.0, "open files": 2.0}
"""Growth that is allowed in any case: MiB, threads, files."""
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
        clips = make_clips(Path(folder), 4, (640, 360), 8.0)
        settings.say(f"pipeline: {CAMERAS} cameras for {settings.minutes:g} minutes")
        seconds = settings.minutes * 60
        arguments = {"clips": [str(clip) for clip in clips], "seconds": seconds}
        rows = run_contender(f"{__name__}:watch", arguments, timeout_s=seconds + 300)
    (row,) = rows
    samples = msgspec.json.decode(row.note, type=list[Sample])
    return Suite(
        name="pipeline-long",
        title=f"Pipeline over {settings.minutes:g} minutes",
        rows=[msgspec.structs.replace(row, note="second quarter of the run to its last")],
        charts=[_chart(samples, name) for name in LIMITS],
        failures=growth(samples),
    )


def watch(clips: list[str], seconds: float) -> list[Row]:
    """Run paced cameras and look at this process every second; the samples are in the row's note."""
    from gaitstream.events import Journal, Publisher
    from gaitstream.pipeline.encode import Encoder
    from gaitstream.pipeline.runner import Pipeline

    samples: list[Sample] = []
    paths = [Path(clip) for clip in clips]
    with tempfile.TemporaryDirectory() as folder:
        config = build_config(cameras_on(paths, CAMERAS, FPS, loop=True), "demo")
        encoder = Encoder.load(config)
        config = with_gallery(config, encoder, Path(folder) / "gallery.db")
        with (
            Publisher(Journal(Path(folder) / "journal"), "tcp://127.0.0.1:*", "tcp://127.0.0.1:*") as bus,
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
        before, after = quarters([sample[name] for sample in samples])
        figures[name] = figure([after], unit)
        figures[f"{name}, change"] = figure([after - before], unit, "neither")
    note = msgspec.json.encode(samples).decode()
    return [Row(contender="gaitstream", setting={"cameras": CAMERAS}, figures=figures, note=note)]


def _sample(samples: list[Sample], over: threading.Event) -> None:
    while not over.wait(EVERY_S):
        samples.append(
            {
                "memory": rss_bytes() / 2**20,
                "threads": len(list(Path("/proc/self/task").iterdir())),
                "open files": len(list(Path("/proc/self/fd").iterdir())),
            }
        )


def quarters(values: Sequence[float]) -> tuple[float, float]:
    """Medians of the second quarter, when everything is warm, and of the last."""
    quarter = max(1, len(values) // 4)
    return statistics.median(values[quarter : 2 * quarter] or values), statistics.median(values[-quarter:])


def growth(samples: Sequence[Sample]) -> list[str]:
    """What grew by more than is allowed, in words."""
    found = []
    for name, share in LIMITS.items():
        before, after = quarters([sample[name] for sample in samples])
        if after - before > max(share * before, SLACK[name]):
            found.append(f"{name} grew from {before:.0f} to {after:.0f} {UNITS[name]}")
    return found


def _chart(samples: Sequence[Sample], name: str) -> Chart:
    return Chart(
        name=f"pipeline-long-{name.replace(' ', '-')}",
        title=f"{name} of the process",
        kind="line",
        x_label="minutes",
        y_label=UNITS[name],
        series={name: [(index * EVERY_S / 60, sample[name]) for index, sample in enumerate(samples)]},
    )

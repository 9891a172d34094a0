"""The whole pipeline on file cameras paced as if they were live: latencies, drops, CPU, overhead.

    python benchmarks/bench_pipeline.py --video walk.mp4 --models cams.yaml --cameras 8 --fps 15 --seconds 60

Takes the models of a cams.yaml and plays one or more videos on N cameras. Per stage: calls, mean and p95. The
overhead is the time of the pipeline's thread outside the engines per person-frame. The event latency is
counted from the due time of a window's last frame to its decision's publication; beside it stands the floor:
the mean time of one call of each engine that the frame has to pass.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import threading
import time
from pathlib import Path
from typing import cast

from gaitstream.config.camera_sections import Camera
from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.config.secret_url import SecretUrl
from gaitstream.events import Journal, Publisher
from gaitstream.pipeline.base import Outcome
from gaitstream.pipeline.runner import Pipeline
from gaitstream.telemetry.stats import Snapshot

OUTSIDE = ("track", "crop", "keypoints", "pool", "identify", "publish")
"""Stages that are no engine call. Detection includes the resizing of pictures and counts as an engine."""


def main() -> None:
    args = parse()
    config = load_config(args.models)
    cameras = [
        Camera(
            id=f"cam{index:02d}",
            url=SecretUrl(str(args.video[index % len(args.video)])),
            fps=args.fps,
            loop=True,
        )
        for index in range(args.cameras)
    ]
    config = config.model_copy(update={"cameras": cameras})
    with tempfile.TemporaryDirectory() as folder:
        result = measure(config, Path(folder), args.seconds)
    result["machine"] = {"cpu": cpu_name(), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    result["settings"] = {"cameras": args.cameras, "fps": args.fps, "seconds": args.seconds}
    show(result)
    if args.out:
        args.out.write_text(json.dumps(result, indent=2))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the pipeline on paced file cameras.")
    parser.add_argument(
        "--video", type=Path, action="append", required=True, help="may be given several times"
    )
    parser.add_argument(
        "--models", type=Path, required=True, help="a cams.yaml; its models and settings are used"
    )
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--fps", type=float, default=15.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    return parser.parse_args()


def measure(config: Config, folder: Path, seconds: float) -> dict[str, object]:
    """Run for a while after the engines are open."""
    with (
        Publisher(Journal(folder), "tcp://127.0.0.1:0", "tcp://127.0.0.1:0") as publisher,
        Pipeline(config, sink=publisher, realtime=True) as pipeline,
    ):
        before = pipeline.snapshot()
        started = time.monotonic()
        thread_s = time.thread_time()
        outcome = run(pipeline, seconds)
        thread_s = time.thread_time() - thread_s
        elapsed_s = time.monotonic() - started
        after = pipeline.snapshot()
    result = report(before, after, outcome, elapsed_s)
    persons = sum(camera.person_frames for camera in after.cameras.values())
    # CPU time, which other processes do not inflate. An upper bound of the overhead: it includes resizing of
    # pictures and whatever part of an inference the runtime does in the calling thread.
    result["thread_cpu_ms_per_person_frame"] = thread_s * 1e3 / max(persons, 1)
    return result


def run(pipeline: Pipeline, seconds: float) -> Outcome:
    timer = threading.Timer(seconds, pipeline.stop)
    timer.start()
    outcome = pipeline.run()
    timer.cancel()
    return outcome


def report(before: Snapshot, after: Snapshot, outcome: Outcome, elapsed_s: float) -> dict[str, object]:
    cameras = after.cameras.values()
    persons = sum(camera.person_frames for camera in cameras)
    # Paced files wait where a live camera would drop: what was not analysed in time shows as a lower rate.
    due = sum(camera.decoded - camera.skipped for camera in cameras)
    stages = {
        name: {
            "calls": h.count,
            "mean_ms": h.total / max(h.count, 1),
            "p95_ms": h.quantile(0.95),
            "total_s": h.total / 1e3,
        }
        for name, h in after.stages.items()
    }
    outside_ms = sum(after.stages[name].total for name in OUTSIDE if name in after.stages)
    floor = sum(h.total / max(h.count, 1) for name, h in after.stages.items() if name not in OUTSIDE)
    events = after.event_latency
    return {
        "elapsed_s": elapsed_s,
        "frames": outcome.frames,
        "fps_analysed": outcome.frames / elapsed_s,
        "frames_due": due,
        "dropped": sum(camera.dropped for camera in cameras),
        "person_frames": persons,
        "tracks": outcome.tracks,
        "cpu_cores": (after.cpu_s - before.cpu_s) / elapsed_s,
        "rss_mib": after.rss_bytes / 2**20,
        "stages": stages,
        "overhead_ms_per_person_frame": outside_ms / max(persons, 1),
        "event_latency_ms": {
            "p50": events.quantile(0.5),
            "p95": events.quantile(0.95),
            "windows": events.count,
        },
        "floor_ms": floor,
    }


def show(result: dict[str, object]) -> None:
    stages = cast("dict[str, dict[str, float]]", result["stages"])
    print(f"{'stage':<12}{'calls':>8}{'mean ms':>10}{'p95 ms':>10}{'total s':>10}")
    for name, row in stages.items():
        print(
            f"{name:<12}{row['calls']:>8}{row['mean_ms']:>10.2f}{row['p95_ms']:>10.2f}{row['total_s']:>10.2f}"
        )
    for key, value in result.items():
        if key != "stages":
            print(f"{key}: {value:.3f}" if isinstance(value, float) else f"{key}: {value}")


def cpu_name() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


if __name__ == "__main__":
    main()

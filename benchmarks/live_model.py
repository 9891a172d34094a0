"""How many cameras of one person each this machine carries with a model, in real time.

    python -m benchmarks.live_model --bundle bundles/biggait --precision bf16 --fps 15
    python -m benchmarks.live_model --random biggait --precision int8 --fps 7.5

Cameras are added one by one until 95% of the frames are no longer analysed within the objective. Everybody
in view is encoded: with half the rate a window of 30 frames covers twice the time. `--random` makes a bundle
with random weights, which do not change the work.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.overload import WARMUP_S, camera, make_world, run_for
from benchmarks.rows_file import write_rows
from gaitstream.bench.drive import BOUNDS, accept_everybody
from gaitstream.bench.recognizer import make_bundle
from gaitstream.config.schema import Config
from gaitstream.models.bundle import Bundle
from gaitstream.pipeline.runner import Pipeline
from gaitstream.telemetry.stats import Histogram

MOST = 64
PRECISIONS = ("fp32", "bf16", "int8")


class Row(msgspec.Struct, frozen=True):
    """So many cameras.

    Attributes:
        cameras: of one person each.
        fps: analysed of each.
        p50_ms: from a frame's due time to its analysis, after the warm-up.
        p95_ms: likewise.
        encoded: people a second.
        carried: whether p95 is within the objective.
    """

    cameras: int
    fps: float
    p50_ms: float
    p95_ms: float
    encoded: float
    carried: bool


def main() -> None:
    """Add cameras until it is too many."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--bundle", type=Path, help="directory of a model")
    which.add_argument("--random", metavar="FAMILY", help="the published size with random weights")
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16")
    parser.add_argument("--fps", type=float, default=15.0, help="analysed of each camera (default 15)")
    parser.add_argument("--objective", type=float, default=500.0, help="ms for 95%% of the frames (500)")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each run (default 20)")
    parser.add_argument("--out", type=Path, help="rows as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gaitstream-live-") as folder:
        bundle = args.bundle or make_bundle(
            args.random, Path(folder) / "bundle", eight_bits=args.precision == "int8"
        )
        rows = list(measure(Path(folder), bundle, args))
    write_rows(rows, args.out)


def measure(folder: Path, bundle: Path, args: argparse.Namespace) -> Iterator[Row]:
    """A row per number of cameras, printed as it comes; the last one is too many."""
    videos = [make_world(folder / f"world{seed}", seed) / "cam1.mp4" for seed in range(2)]
    for count in range(1, MOST + 1):
        row = run(configure(videos, bundle, count, args.precision, args.fps), args)
        print(msgspec.json.encode(row).decode(), flush=True)
        yield row
        if not row.carried:
            return


def configure(videos: list[Path], bundle: Path, count: int, precision: str, fps: float) -> Config:
    """Cameras with one person each, all of whose frames are evidence."""
    cameras = [
        camera(f"cam{index}", videos[index % len(videos)]).model_copy(update={"fps": fps})
        for index in range(count)
    ]
    family = Bundle.open(bundle).manifest.model
    return accept_everybody(
        Config.model_validate(
            {
                "cameras": cameras,
                "models": {"recognizers": {family: str(bundle)}},
                "runtime": {"precision": precision},
            }
        )
    )


def run(config: Config, args: argparse.Namespace) -> Row:
    """One run in real time."""
    with Pipeline(config, realtime=True) as pipeline:
        run_for(pipeline, args.seconds)
        snapshot = pipeline.snapshot()
    latency = Histogram(BOUNDS)
    for one in snapshot.cameras.values():
        latency.merge(one.latency)
    people = sum(one.person_frames for one in snapshot.cameras.values())
    p50_ms, p95_ms = (latency.quantile(q) or float("inf") for q in (0.5, 0.95))
    encoded = people / (WARMUP_S + args.seconds)
    return Row(len(config.cameras), args.fps, p50_ms, p95_ms, encoded, p95_ms <= args.objective)


if __name__ == "__main__":
    main()

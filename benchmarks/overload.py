"""What a latency objective keeps of the right names when a machine has more cameras than it carries.

    python -m benchmarks.overload --cameras 8 --out out/overload.json

Every camera shows one person of a synthetic world, enrolled from another view of the same world, so that
every walk has one right name. Loads of 1, 1.5 and 2 times the rated cameras run with and without
`runtime.latency_ms`; a row says the latency of the frames, what was shed, and the walks rightly and wrongly
named.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from benchmarks.rows_file import write_rows
from gaitstream.bench.clips import FPS
from gaitstream.bench.drive import BOUNDS, build_config
from gaitstream.config.camera_sections import Camera
from gaitstream.config.schema import Config
from gaitstream.config.secret_url import SecretUrl
from gaitstream.data import Decision, Frame, Person
from gaitstream.pipeline.enroll import enroll_walk, watch_video
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.runner import Pipeline
from gaitstream.synth.address import Address
from gaitstream.synth.dataset import write_dataset
from gaitstream.telemetry.stats import Histogram, Snapshot

WORLDS = 4
LOADS = (1.0, 1.5, 2.0)
WARMUP_S = 4.0
FIRST_VIEW, OTHER_VIEW = 1, 2


class Row(msgspec.Struct, frozen=True):
    """One load, with or without an objective.

    Attributes:
        load: cameras over rated cameras.
        cameras: how many.
        objective_ms: for 95% of the frames; None without one.
        p50_ms: from a frame's due time to its analysis, after the warm-up.
        p95_ms: likewise.
        analysed: share of the due frames.
        right: percent of the walks in which the walker was named, by the last word on a track.
        wrong: with another name.
        shed: person-frames and frames left out, by reason.
    """

    load: float
    cameras: int
    objective_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    analysed: float
    right: float
    wrong: float
    shed: dict[str, int]


class Names(Observer):
    """Which walks had their walker named. A walk is one showing of a camera's clip.

    Args:
        walkers: each camera's right name.
        lengths: seconds of each camera's clip.
    """

    def __init__(self, walkers: Mapping[str, str], lengths: Mapping[str, float]) -> None:
        self.right: set[tuple[str, int]] = set()
        self.wrong: set[tuple[str, int]] = set()
        self._walkers, self._lengths = walkers, lengths
        self._began_ns: dict[str, int] = {}

    def on_frame(self, frame: Frame, persons: Sequence[Person], labels: Mapping[int, Decision]) -> None:  # noqa: ARG002
        """Learn when a camera began."""
        self._began_ns.setdefault(frame.camera, frame.time_ns)

    def on_decision(self, decision: Decision) -> None:
        """Right, wrong, or nobody."""
        if not decision.final or decision.person is None:
            return
        camera = decision.camera
        elapsed_s = (decision.first_ns - self._began_ns[camera]) / 1e9
        walk = camera, int(elapsed_s / self._lengths[camera])
        (self.right if decision.person == self._walkers[camera] else self.wrong).add(walk)

    def shares(self, seconds: float) -> tuple[float, float]:
        """Percent of the walks that fit into a time, rightly and wrongly named."""
        whole = {camera: int(seconds / length) for camera, length in self._lengths.items()}
        walks = max(1, sum(whole.values()))
        right, wrong = (
            100 * sum(walk < whole[camera] for camera, walk in named) / walks
            for named in (self.right, self.wrong)
        )
        return right, wrong


def main() -> None:
    """Measure all loads."""
    parser = argparse.ArgumentParser(description="Names and latency under more load than a machine carries.")
    parser.add_argument("--cameras", type=int, default=8, help="rated cameras of this machine (default 8)")
    parser.add_argument("--objective", type=float, default=200.0, help="runtime.latency_ms (default 200)")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each run (default 60)")
    parser.add_argument("--out", type=Path, help="rows as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gaitstream-overload-") as folder:
        rows = list(measure(Path(folder), args.cameras, args.objective, args.seconds))
    write_rows(rows, args.out)


def measure(folder: Path, rated: int, objective_ms: float, seconds: float) -> Iterator[Row]:
    """A row per load and objective, printed as it comes."""
    worlds = [make_world(folder / f"world{seed}", seed) for seed in range(WORLDS)]
    enrol(folder, worlds)
    for load in LOADS:
        for objective in (None, objective_ms):
            row = run(folder, worlds, round(load * rated), objective, seconds)
            row = msgspec.structs.replace(row, load=load)
            print(msgspec.json.encode(row).decode(), flush=True)
            yield row


def length_s(world: int) -> float:
    """Of a world's clips."""
    return 10.0 + 2 * world


def make_world(root: Path, seed: int) -> Path:
    """Two views of a world with one walker; worlds differ in length, so that not all come at once."""
    views = [
        Address(site="plaza", camera=view, people=1, seed=seed, fps=FPS, seconds=length_s(seed), start=5.0)
        for view in (FIRST_VIEW, OTHER_VIEW)
    ]
    write_dataset(views, root)
    return root


def enrol(folder: Path, worlds: list[Path]) -> None:
    """Enrol each world's walker from the other view."""
    for number, world in enumerate(worlds):
        video = world / f"cam{OTHER_VIEW}.mp4"
        config = with_gallery(build_config([camera("enrol", video)], "demo"), folder)
        walks = [walk for walk in watch_video(config, video, match=False) if walk.usable]
        for walk in walks:
            enroll_walk(config, f"walker{number}", walk, "other view")


def run(folder: Path, worlds: list[Path], count: int, objective: float | None, seconds: float) -> Row:
    """One run in real time."""
    cameras = [
        camera(f"cam{index:03d}", worlds[index % WORLDS] / f"cam{FIRST_VIEW}.mp4") for index in range(count)
    ]
    config = with_gallery(build_config(cameras, "demo"), folder)
    runtime = config.runtime.model_copy(update={"latency_ms": objective})
    config = config.model_copy(update={"runtime": runtime})
    names = Names(
        {one.id: f"walker{index % WORLDS}" for index, one in enumerate(cameras)},
        {one.id: length_s(index % WORLDS) for index, one in enumerate(cameras)},
    )
    with Pipeline(config, observers=[names], realtime=True) as pipeline:
        run_for(pipeline, seconds)
        return summarise(pipeline.snapshot(), names, count, objective, WARMUP_S + seconds)


def run_for(pipeline: Pipeline, seconds: float) -> None:
    """Run for so long after a warm-up, whose latencies do not count."""

    def begin_counting() -> None:
        for one in pipeline.config.cameras:
            pipeline.stats.camera(one.id).latency = Histogram(BOUNDS)

    threading.Timer(WARMUP_S, begin_counting).start()
    threading.Timer(WARMUP_S + seconds, pipeline.stop).start()
    pipeline.run()


def summarise(snapshot: Snapshot, names: Names, count: int, objective: float | None, seconds: float) -> Row:
    """The counters of a run."""
    latency = Histogram(BOUNDS)
    shed: Counter[str] = Counter()
    for one in snapshot.cameras.values():
        latency.merge(one.latency)
        shed += Counter({f"encode {k}": v for k, v in one.rejections.items() if k in ("settled", "overload")})
        shed += Counter({f"detect {k}": v for k, v in one.undetected.items()}) + Counter(
            {"frames": one.dropped}
        )
    right, wrong = names.shares(seconds)
    analysed = sum(one.analysed for one in snapshot.cameras.values())
    return Row(
        load=0.0,
        cameras=count,
        objective_ms=objective,
        p50_ms=latency.quantile(0.5),
        p95_ms=latency.quantile(0.95),
        analysed=analysed / (count * seconds * FPS),
        right=right,
        wrong=wrong,
        shed=dict(shed),
    )


def camera(name: str, video: Path) -> Camera:
    """A camera that plays a video over and over."""
    return Camera(id=name, url=SecretUrl(str(video)), fps=FPS, loop=name != "enrol")


def with_gallery(config: Config, folder: Path) -> Config:
    """The gallery of the walkers."""
    gallery = config.gallery.model_copy(update={"path": folder / "walkers.gallery"})
    return config.model_copy(update={"gallery": gallery})


if __name__ == "__main__":
    main()

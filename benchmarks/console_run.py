"""The run beside which `benchmarks.console_load` puts a console: a pipeline, and the events of a large site.

A process of its own, as `gaitstream run` is: live synthetic cameras through the packaged models, and on the
same publisher as many events as a site of that size has. It is asked for what it did meanwhile.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import yaml

from gaitstream.config.reading import load_config
from gaitstream.events import IdentityFinal, Journal, Publisher
from gaitstream.pipeline.runner import Pipeline

LATE_S = 0.1
FIRST = 10**6
"""Track of the first of these events; those of the pipeline itself are below."""
URL = "synth://plaza?people=2&seed={seed}&camera={side}&fps={fps:g}&live=1"
SIDES = 4


@dataclass(frozen=True)
class Load:
    """What the run does.

    Attributes:
        cameras: how many.
        fps: of each.
        rate: events a second, those of the pipeline itself not counted.
        port: of the publisher; the next one is its replay socket.
    """

    cameras: int
    fps: float
    rate: float
    port: int


@dataclass
class Stretch:
    """What happened in a stretch of time.

    Attributes:
        seconds: its length.
        due: frames that the cameras had.
        analysed: of them.
        dropped: pushed out of a queue by newer ones.
        taken_s: seconds that each call of `publish` took.
        first: track of the first event.
        late: events that could not be published in their turn.
        unwritten: events that the journal did not take, since the beginning.
    """

    seconds: float = 0.0
    due: float = 0.0
    analysed: int = 0
    dropped: int = 0
    taken_s: list[float] = field(default_factory=list)
    first: int = 0
    late: int = 0
    unwritten: int = 0

    @property
    def lost(self) -> float:
        """Frames that were due and were not analysed; a camera may have one on its way."""
        return max(0.0, self.due - self.analysed)

    def __str__(self) -> str:
        ordered = sorted(self.taken_s)
        at = [1e3 * ordered[int(len(ordered) * share)] for share in (0.5, 0.95, 0.99)]
        return (
            f"{self.due:.0f} frames due, {self.analysed} analysed, {self.lost:.0f} lost ({self.dropped} from "
            f"queues); {len(ordered)} events, publish median {at[0]:.2f} ms, p95 {at[1]:.2f} ms, p99 "
            f"{at[2]:.2f} ms, late {self.late}"
        )


def run(folder: Path, load: Load, asked: Connection) -> None:
    """Run until the other side has asked enough; each number it sends is a stretch of so many seconds."""
    config = load_config(write_site(folder, load))
    journal = Journal(folder / "journal")
    endpoints = (f"tcp://127.0.0.1:{load.port}", f"tcp://127.0.0.1:{load.port + 1}")
    with Publisher(journal, *endpoints) as publisher, Pipeline(config, sink=publisher) as pipeline:
        answering = threading.Thread(target=_answer, args=(pipeline, publisher, load, asked), daemon=True)
        answering.start()
        pipeline.run()
        answering.join()
    journal.close()


def write_site(folder: Path, load: Load) -> Path:
    """The site's cams.yaml."""
    cameras = [
        {
            "id": camera_id(number),
            "url": URL.format(seed=number // SIDES, side=1 + number % SIDES, fps=load.fps),
            "fps": None,
        }
        for number in range(load.cameras)
    ]
    path = folder / "cams.yaml"
    path.write_text(yaml.safe_dump({"cameras": cameras, "models": {"gaitheat": "demo"}}))
    return path


def camera_id(number: int) -> str:
    """Of a camera."""
    return f"camera-{number:02d}"


def _answer(pipeline: Pipeline, publisher: Publisher, load: Load, asked: Connection) -> None:
    """Do a stretch for each number that comes; 0 ends the run."""
    number = FIRST
    while seconds := asked.recv():
        before = _counted(pipeline)
        begun_s = time.monotonic()
        stretch = Stretch(first=number)
        while time.monotonic() - begun_s < seconds:
            _publish(publisher, stretch, number, begun_s + len(stretch.taken_s) / load.rate, load.cameras)
            number += 1
        stretch.seconds = time.monotonic() - begun_s
        stretch.due = load.cameras * load.fps * stretch.seconds
        stretch.analysed, stretch.dropped = (
            after - earlier for after, earlier in zip(_counted(pipeline), before, strict=True)
        )
        stretch.unwritten = publisher.unwritten
        asked.send(stretch)
    pipeline.stop()


def _counted(pipeline: Pipeline) -> tuple[int, int]:
    cameras = pipeline.snapshot().cameras.values()
    return sum(one.analysed for one in cameras), sum(one.dropped for one in cameras)


def _publish(publisher: Publisher, stretch: Stretch, number: int, due_s: float, cameras: int) -> None:
    time.sleep(max(0.0, due_s - time.monotonic()))
    stretch.late += time.monotonic() - due_s > LATE_S
    event = _event(number, cameras)
    called_s = time.perf_counter()
    publisher.publish(event)
    stretch.taken_s.append(time.perf_counter() - called_s)


def _event(number: int, cameras: int) -> IdentityFinal:
    return IdentityFinal(
        time_ns=time.time_ns(), camera=camera_id(number % cameras), track=number, status="unknown",
        reason="below_threshold", distance=0.97, threshold=0.9, run="run-1", frames=41, windows=2,
        rejections={"truncated": 4}, candidates=tuple((f"p{n}", 0.97 + n / 10) for n in range(5)),
        candidate_ids=tuple(f"{n:020x}" for n in range(5)),
        latency_ms={"decide": 240.0, "detect": 12.0, "track": 1.0, "encode": 30.0, "embed": 3.0},
    )  # fmt: skip

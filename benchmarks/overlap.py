"""Would detection of the next frames beside the encoding of these be faster? Measured, not built.

    python -m benchmarks.overlap

The demo's detector and encoder work on the same frames, one after the other and then in two threads at once,
with all CPU threads for each engine and with one. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable

import numpy as np

from gaitstream.bench.drive import accept_everybody, build_config
from gaitstream.config.camera_sections import Camera
from gaitstream.config.schema import Config
from gaitstream.config.secret_url import SecretUrl
from gaitstream.data import Frame, Person
from gaitstream.models.detector import DetectorModel
from gaitstream.pipeline.encode import Encoder
from gaitstream.pipeline.gather import Work
from gaitstream.pipeline.judge import EvidenceJudge
from gaitstream.pipeline.runner import load_detector

SIZE = (360, 640)
BATCH = 4
WARM = 5


def main() -> None:
    """One line per number of people and of threads."""
    parser = argparse.ArgumentParser(description="Detection beside encoding, and one after the other.")
    parser.add_argument("--calls", type=int, default=50, help="calls of each (default 50)")
    args = parser.parse_args()
    for people in (1, 4, 8):
        for threads in (None, 1):
            print(measure(people, threads, args.calls), flush=True)


def measure(people: int, threads: int | None, calls: int) -> str:
    """Milliseconds a frame: one after the other, and side by side."""
    config = configure(threads)
    detector, encoder = load_detector(config), Encoder.load(config)
    works, judge = draw_works(people), EvidenceJudge(config)

    def detect() -> None:
        find_people(detector, works)

    def encode() -> None:
        encoder.encode(works, judge)

    for _ in range(WARM):
        detect()
        encode()
    turns = time_ms(calls, detect) + time_ms(calls, encode)
    beside = time_ms(1, lambda: side_by_side(calls, detect, encode)) / calls
    detector.close()
    encoder.close()
    return (
        f"{people} people, {threads or 'all'} threads: {turns / BATCH:.2f} ms a frame one after the other, "
        f"{beside / BATCH:.2f} side by side"
    )


def configure(threads: int | None) -> Config:
    """The demo's models, everybody accepted."""
    config = accept_everybody(build_config([Camera(id="a", url=SecretUrl("a.mp4"))], "demo"))
    pose = config.models.model_validate(config.models.model_dump() | {"pose": "demo"})
    runtime = config.runtime.model_copy(update={"threads": threads})
    return config.model_copy(update={"runtime": runtime, "models": pose})


def draw_works(people: int) -> list[Work]:
    """A batch of frames with so many people each."""
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    boxes = [np.array([40 + 60 * i, 50, 120 + 60 * i, 300], np.float32) for i in range(people)]
    return [
        Work(
            Frame("a", index, index, image),
            tuple(Person("a", track, index, index, box, 0.9) for track, box in enumerate(boxes)),
        )
        for index in range(BATCH)
    ]


def find_people(detector: DetectorModel, works: list[Work]) -> None:
    """Detection on a batch of frames."""
    detector.detect([work.frame.image for work in works], [0.5] * len(works))


def time_ms(calls: int, call: Callable[[], object]) -> float:
    """Mean time of a call."""
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - started) / calls * 1e3


def side_by_side(calls: int, *functions: Callable[[], None]) -> None:
    """Call each so often, in a thread of its own."""

    def repeat(function: Callable[[], None]) -> None:
        for _ in range(calls):
            function()

    threads = [threading.Thread(target=repeat, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()

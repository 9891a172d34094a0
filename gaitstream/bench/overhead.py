"""What the pipeline costs outside its engines, step by step, on one core.

    python -m gaitstream.bench.overhead

The product's own stages run on a picture with four people who walk; the engines are replaced by one that has
its outputs ready. Time is CPU time of the thread: waiting for a busy machine does not count, though its
shared caches and clocks do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaitstream.bench.measure import figure
from gaitstream.bench.result import Row
from gaitstream.engines.base import Done, Engine, Feeds, Pending, TensorSpec
from gaitstream.engines.proof import Proof
from gaitstream.errors import EngineError
from gaitstream.pipeline.config import Quality, Tracking
from gaitstream.pipeline.data import Detections, Floats, Frame, Image, Person
from gaitstream.pipeline.detect import DetectorModel
from gaitstream.pipeline.detect_layouts import STRIDES, Geometry, usual_contract
from gaitstream.pipeline.encode import Encoder, Work
from gaitstream.pipeline.evidence import CameraEvidence, sharpness
from gaitstream.pipeline.pool import MapWindow, WindowRule
from gaitstream.pipeline.source.clock import SECOND_NS
from gaitstream.pipeline.track import CameraTracker
from gaitstream.pose import PoseContract, PoseModel, keypoints
from gaitstream.recognizer import crop_padded

WIDTH, HEIGHT = 1280, 720
PEOPLE = 4
FPS = 15
NET = (416, 416)
"""Input of the detector that is measured, a YOLOX nano."""
FEATURE = (256, 16, 8)
"""One frame's feature map of the largest recogniser that is pooled."""
QUALITY = Quality(min_motion=1e-6)
"""Motion is judged, and somebody who turns round is not rejected."""
Call = Callable[[int], object]


class Instant(Engine):
    """An engine whose outputs are ready: what is measured around it is the time outside engines.

    Args:
        source: the picture input.
        outputs: what every call gives, for the batch that comes.
    """

    runtime, precision, device = "instant", "fp32", "none"

    def __init__(self, source: TensorSpec, outputs: dict[str, NDArray[Any]]) -> None:
        self.inputs = {source.name: source}
        self.outputs = {
            name: TensorSpec(name, (-1, *array.shape[1:]), str(array.dtype))
            for name, array in outputs.items()
        }
        self._ready = outputs

    def submit(self, feeds: Feeds) -> Pending:
        """Give the outputs."""
        count = len(next(iter(self.check(feeds).values())))
        return Done({name: array[:count] for name, array in self._ready.items()})

    def proof(self) -> Proof:
        """Nothing is computed."""
        return Proof(source="nothing", layers={}, matrix_layers={})

    def close(self) -> None:
        """Nothing is open."""


class Step(NamedTuple):
    """One measured call, once per frame with the frame's number."""

    name: str
    call: Call
    inside: str = ""
    """The step that calls it in the pipeline, and holds its time."""


def rows(*, quick: bool) -> list[Row]:
    """CPU time per person-frame of every step outside the engines, and their sum."""
    import cv2

    cv2.setNumThreads(1)
    repeats, frames = (5, 20) if quick else (15, 60)
    setting: dict[str, str | int | float] = {"people": PEOPLE, "width": WIDTH, "height": HEIGHT}
    found = []
    sums = np.zeros(repeats)
    for step in steps((repeats + 1) * frames):
        times = cpu_ms(step.call, repeats, frames)
        if not step.inside:
            sums += times
        note = f"part of {step.inside}" if step.inside else ""
        found.append(
            Row(contender=step.name, setting=setting, figures={"overhead": figure(times, "ms")}, note=note)
        )
    found.append(Row(contender="sum", setting=setting, figures={"overhead": figure(list(sums), "ms")}))
    return found


def cpu_ms(call: Call, repeats: int, frames: int) -> list[float]:
    """Milliseconds of thread CPU time per person-frame, one value per repetition."""
    for frame in range(frames):
        call(frame)
    times = []
    for repeat in range(1, repeats + 1):
        start = time.thread_time()
        for frame in range(repeat * frames, (repeat + 1) * frames):
            call(frame)
        times.append((time.thread_time() - start) * 1e3 / frames / PEOPLE)
    return times


def steps(frames: int) -> Iterator[Step]:
    """The steps in the order of a frame's life, for so many frames."""
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    path = [walkers(frame) for frame in range(frames)]
    boxes = path[0].boxes
    yield Step("convert", _converter())
    detector = DetectorModel(usual_contract("instant.onnx", "yolox"), _detector_engine(boxes))
    yield Step("detect", lambda _: detector.detect([image]))
    tracker = CameraTracker("a", Tracking(), FPS)
    yield Step("track", lambda frame: tracker.update(frame, _ns(frame), (WIDTH, HEIGHT), path[frame]))
    pose = PoseModel(PoseContract(graph="instant.onnx"), _pose_engine())
    yield from _evidence(image, path, pose)
    yield Step("recogniser crop", lambda _: crop_padded(image, boxes, 256, 128))
    windows = [MapWindow(WindowRule()) for _ in range(PEOPLE)]
    maps = np.random.default_rng(1).random((PEOPLE, *FEATURE), np.float32)
    yield Step("pool", lambda frame: [w.add(_ns(frame), m) for w, m in zip(windows, maps, strict=True)])


def _evidence(image: Image, path: list[Detections], pose: PoseModel) -> Iterator[Step]:
    """All the encoder does but the recogniser, then its parts one by one."""
    works = [_work(image, frame, found) for frame, found in enumerate(path)]
    encoder = Encoder({}, pose)
    judge = CameraEvidence(QUALITY, (WIDTH, HEIGHT))

    def encode(frame: int) -> None:
        work = works[frame]
        encoded = encoder.encode([Work(work.frame, judge.judge(work.persons), judge)])
        if any(person.rejected for person in encoded.persons[0]):
            raise EngineError("somebody was rejected: what is measured is the way of people who are accepted")

    yield Step("evidence", encode)
    boxes = path[0].boxes
    alone = CameraEvidence(QUALITY, (WIDTH, HEIGHT))
    yield Step("judge", lambda frame: alone.judge(works[frame].persons), "evidence")
    yield Step("sharpness", lambda _: [sharpness(image, box) for box in boxes], "evidence")
    yield Step("pose crop", lambda _: pose.crop(image, boxes), "evidence")
    crops = pose.crop(image, boxes)
    yield Step("pose feed", lambda _: pose.heatmaps(crops), "evidence")
    heatmaps = pose.heatmaps(crops)
    yield Step("keypoints", lambda _: keypoints(heatmaps), "evidence")


def walkers(frame: int) -> Detections:
    """Four people of different size who walk to and fro, with a detector's jitter."""
    rng = np.random.default_rng(frame)
    way = 40 * np.sin(frame / 20 + np.arange(PEOPLE))
    left = 80.0 + 300 * np.arange(PEOPLE) + way
    height = np.array([260.0, 330.0, 420.0, 500.0])
    boxes = np.stack([left, 680 - height, left + height * 0.4, np.full(PEOPLE, 680.0)], axis=1)
    return Detections(
        (boxes + rng.normal(0, 1, boxes.shape)).astype(np.float32), np.full(PEOPLE, 0.9, np.float32)
    )


def _ns(frame: int) -> int:
    return 1_800_000_000 * SECOND_NS + frame * SECOND_NS // FPS


def _work(image: Image, frame: int, found: Detections) -> Work:
    persons = tuple(
        Person("a", track, frame, _ns(frame), box, 0.9) for track, box in enumerate(found.boxes, start=1)
    )
    evidence = CameraEvidence(QUALITY, (WIDTH, HEIGHT))
    return Work(Frame("a", frame, _ns(frame), image), persons, evidence)


def _converter() -> Call:
    """From a decoded picture to BGR, as the sources do it in their own threads."""
    import av
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    decoded = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    return lambda _: reformatter.reformat(decoded, format="bgr24", threads=1).to_ndarray()


def _detector_engine(boxes: Floats) -> Instant:
    """A YOLOX head that sees each person in several cells, as trained ones do."""
    geometry = Geometry.of((HEIGHT, WIDTH), NET, "top_left")
    scaled = boxes * geometry.scale_x
    cells = sum((NET[0] // stride) * (NET[1] // stride) for stride in STRIDES)
    raw = np.zeros((1, cells, 85), np.float32)
    raw[..., 4:] = np.random.default_rng(2).random((1, cells, 81), np.float32) * 0.1
    for x1, y1, x2, y2 in scaled:
        for shift in range(4):
            x, y = (x1 + x2) / 16, (y1 + y2) / 16
            row = int(y) * (NET[1] // 8) + int(x) + shift
            raw[0, row, :4] = x - int(x) - shift, y - int(y), np.log((x2 - x1) / 8), np.log((y2 - y1) / 8)
            raw[0, row, 4:6] = 0.95
    return Instant(TensorSpec("images", (-1, *NET, 3), "uint8"), {"output": raw})


def _pose_engine() -> Instant:
    """Heatmaps with one round peak per joint."""
    y, x = np.mgrid[:64, :48].astype(np.float32)
    centres = np.random.default_rng(3).uniform((6, 8), (42, 56), (PEOPLE, 17, 2)).astype(np.float32)
    distance = (x - centres[..., :1, None]) ** 2 + (y - centres[..., 1:, None]) ** 2
    return Instant(
        TensorSpec("input", (-1, 3, 256, 192), "uint8"),
        {"heatmaps": np.exp(-distance / 8).astype(np.float32)},
    )


def main() -> None:
    """Print the table."""
    for row in rows(quick=False):
        overhead = row.figures["overhead"]
        span = f"({overhead.low:.3f} .. {overhead.high:.3f})"
        print(f"{row.contender:<18}{overhead.median:8.3f} ms  {span} {row.note}")  # noqa: T201


if __name__ == "__main__":
    main()

"""What the pipeline costs outside its engines, step by step, on one core.

The product's own stages run on a picture with four people who walk; the engines are replaced by one that has
its outputs ready. Time is CPU time of the thread: waiting for a busy machine does not count, though its
shared caches and clocks do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gaitstream.bench import device_overhead
from gaitstream.bench.floors import CROP_BYTES, DECODE_BYTES, HEATMAP_BYTES, READ_BYTES
from gaitstream.bench.instant import NET, Instant, converter, instant_detector
from gaitstream.bench.machine import memory_bandwidth_gbps
from gaitstream.bench.measure import figure
from gaitstream.bench.process import run_contender
from gaitstream.bench.result import Chart, Row, Suite
from gaitstream.bench.settings import Settings
from gaitstream.config.camera_sections import Camera
from gaitstream.config.schema import Config
from gaitstream.config.track_sections import Quality, Tracking
from gaitstream.data import Detections, Frame, Image, Person
from gaitstream.engines.base import TensorSpec
from gaitstream.errors import EngineError
from gaitstream.models.crops import crop_padded
from gaitstream.models.detector import DetectorModel
from gaitstream.models.detector_layouts import usual_contract
from gaitstream.models.pose import PoseContract, PoseModel, keypoints
from gaitstream.pipeline.encode import Encoder
from gaitstream.pipeline.gather import Work
from gaitstream.pipeline.judge import CameraJudge, EvidenceJudge
from gaitstream.pipeline.pool import MapWindow, WindowRule
from gaitstream.pipeline.quality import sharpness
from gaitstream.pipeline.source.clock import SECOND_NS
from gaitstream.pipeline.track import CameraTracker, TrackerBoxes, create_library_tracker

WIDTH, HEIGHT = 1280, 720
PEOPLE = 4
FPS = 15
FEATURE = (256, 16, 8)
"""One frame's feature map of the largest recogniser that is pooled."""
QUALITY = Quality(min_motion=1e-6)
"""Motion is judged, and somebody who turns round is not rejected."""
HEIGHTS = (260.0, 330.0, 420.0, 500.0)
ASPECT = 0.4
PERSON_BYTES = 3 * ASPECT * sum(height**2 for height in HEIGHTS) / PEOPLE
"""Of the pixels in a person's box."""
LEAST_BYTES = {
    "convert": (DECODE_BYTES - 1.5) * WIDTH * HEIGHT / PEOPLE,
    "detect": READ_BYTES * WIDTH * HEIGHT / PEOPLE + 3 * NET[0] * NET[1] / PEOPLE,
    "sharpness": PERSON_BYTES,
    "pose crop": PERSON_BYTES + CROP_BYTES,
    "keypoints": HEATMAP_BYTES,
    "recogniser crop": PERSON_BYTES + 256 * 128 * 3,
    "pool": 3 * 4 * FEATURE[0] * FEATURE[1] * FEATURE[2],
}
"""Bytes a step must read and write for one person in a frame. The others handle a few numbers."""
LEAST_BYTES["evidence"] = PERSON_BYTES + CROP_BYTES + HEATMAP_BYTES
NOTES = (
    f"CPU time of one core per person and frame, {PEOPLE} people at {WIDTH}x{HEIGHT}; the engines' outputs "
    f"are "
    "ready at once. `sum` adds up the steps without a note.",
    "floor: the bytes a step must read and write, over the copy bandwidth of one core; what is still in the "
    "caches can be faster. What the rest is: interpolation and colour arithmetic in convert and the crops, "
    "shrinking by area in sharpness, Python and numpy calls on small arrays in track, judge and detect.",
    f"GPU: the same code over a simulated device, {device_overhead.PEOPLE} people in a picture and "
    f"{device_overhead.CAMERAS} pictures in a batch; without what the device would do, and without decoding.",
)
Call = Callable[[int], object]


class MeasuredStep(NamedTuple):
    """One measured call, once per frame with the frame's number."""

    name: str
    call: Call
    note: str = ""
    """Why it is not in the sum: another step holds its time, or it is what a step replaced."""


def run(settings: Settings) -> Suite:
    """Measure in a process of its own."""
    settings.say("overhead: steps outside the engines")
    found = run_contender(rows, {"quick": settings.quick})
    settings.say("overhead: what the host does where all networks run on a GPU")
    found += run_contender(device_overhead.rows, {"quick": settings.quick})
    outer = [row for row in found if not row.note and row.contender != "sum"]
    points: dict[str, list[tuple[str | float, float]]] = {
        row.contender: [("a person and frame", row.figures["overhead"].median)] for row in outer
    }
    chart = Chart(
        name="overhead",
        title="What a person in a frame costs outside the engines",
        kind="stacked",
        x_label="",
        y_label="ms of one core",
        series=points,
    )
    return Suite(name="overhead", title="Outside the engines", rows=found, notes=list(NOTES), charts=[chart])


def rows(*, quick: bool) -> list[Row]:
    """CPU time per person-frame of every step outside the engines, and their sum."""
    import cv2

    cv2.setNumThreads(1)
    repeats, frames = (5, 20) if quick else (15, 60)
    bandwidth = memory_bandwidth_gbps()
    floors = {name: size / bandwidth / 1e6 for name, size in LEAST_BYTES.items()}
    found = []
    sums = np.zeros(repeats)
    for step in steps((repeats + 1) * frames):
        times = cpu_ms(step.call, repeats, frames)
        if not step.note:
            sums += times
        floor = {"overhead": floors[step.name]} if step.name in floors else {}
        found.append(
            Row(contender=step.name, figures={"overhead": figure(times, "ms")}, floor=floor, note=step.note)
        )
    least = sum(row.floor.get("overhead", 0.0) for row in found if not row.note)
    total = figure(list(sums), "ms")
    found.append(Row(contender="sum", figures={"overhead": total}, floor={"overhead": least}))
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


def steps(frames: int) -> Iterator[MeasuredStep]:
    """The steps in the order of a frame's life, for so many frames."""
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    path = [walkers(frame) for frame in range(frames)]
    boxes = path[0].boxes
    yield MeasuredStep("convert", converter(WIDTH, HEIGHT))
    detector = DetectorModel(
        usual_contract("instant.onnx", "yolox"), instant_detector((WIDTH, HEIGHT), boxes)
    )
    yield MeasuredStep("detect", lambda _: detector.detect([image]))
    tracker = CameraTracker("a", Tracking(), FPS)
    size = (WIDTH, HEIGHT)
    yield MeasuredStep("track", lambda at: tracker.update(at, _ns(at), size, path[at], image))
    yield MeasuredStep("tracker", _library(path, _boxes), "instead of track: the library's ByteTrack alone")
    yield MeasuredStep(
        "tracker, validated", _library(path, _supervised), "instead of tracker: supervision's boxes"
    )
    pose = PoseModel(PoseContract(graph="instant.onnx"), _pose_engine())
    yield from _evidence(image, path, pose)
    yield MeasuredStep("recogniser crop", lambda _: crop_padded(image, boxes, 256, 128))
    windows = [MapWindow(WindowRule()) for _ in range(PEOPLE)]
    maps = np.random.default_rng(1).random((PEOPLE, *FEATURE), np.float32)
    yield MeasuredStep(
        "pool", lambda frame: [w.add(_ns(frame), m) for w, m in zip(windows, maps, strict=True)]
    )


def _evidence(image: Image, path: list[Detections], pose: PoseModel) -> Iterator[MeasuredStep]:
    """All the encoder does but the recogniser, then its parts one by one."""
    works = [_work(image, frame, found) for frame, found in enumerate(path)]
    encoder = Encoder({}, pose)
    judge = EvidenceJudge(
        Config(cameras=[Camera.model_validate({"id": "a", "url": "a.mp4"})], quality=QUALITY)
    )

    def encode(frame: int) -> None:
        work = works[frame]
        encoded = encoder.encode(
            [Work(work.frame, judge.judge_boxes("a", (WIDTH, HEIGHT), work.persons))], judge
        )
        if any(person.rejected for person in encoded.persons[0]):
            raise EngineError("somebody was rejected: what is measured is the way of people who are accepted")

    yield MeasuredStep("evidence", encode)
    boxes = path[0].boxes
    alone = CameraJudge(QUALITY, (WIDTH, HEIGHT))
    yield MeasuredStep("judge", lambda frame: alone.judge(works[frame].persons), "part of evidence")
    yield MeasuredStep("sharpness", lambda _: sharpness(image, boxes), "part of evidence")
    yield MeasuredStep("pose crop", lambda _: pose.crop(image, boxes), "part of evidence")
    crops = pose.crop(image, boxes)
    yield MeasuredStep("pose feed", lambda _: pose.heatmaps(crops), "part of evidence")
    heatmaps = pose.heatmaps(crops)
    yield MeasuredStep("keypoints", lambda _: keypoints(heatmaps), "part of evidence")


def walkers(frame: int) -> Detections:
    """Four people of different size who walk to and fro, with a detector's jitter."""
    rng = np.random.default_rng(frame)
    way = 40 * np.sin(frame / 20 + np.arange(PEOPLE))
    left = 80.0 + 300 * np.arange(PEOPLE) + way
    height = np.array(HEIGHTS)
    boxes = np.stack([left, 680 - height, left + height * ASPECT, np.full(PEOPLE, 680.0)], axis=1)
    return Detections(
        (boxes + rng.normal(0, 1, boxes.shape)).astype(np.float32), np.full(PEOPLE, 0.9, np.float32)
    )


def _ns(frame: int) -> int:
    return 1_800_000_000 * SECOND_NS + frame * SECOND_NS // FPS


def _library(path: list[Detections], container: Callable[[Detections], Any]) -> Call:
    """The tracker of the library, given its boxes in one container or another."""
    tracker = create_library_tracker(Tracking(algorithm="bytetrack"), FPS)
    return lambda frame: tracker.update(container(path[frame]), timestamp=frame / FPS)


def _boxes(found: Detections) -> TrackerBoxes:
    return TrackerBoxes(found.boxes, found.scores)


def _supervised(found: Detections) -> Any:
    import supervision as sv

    classes = np.zeros(len(found.scores), int)
    return sv.Detections(xyxy=found.boxes, confidence=found.scores, class_id=classes)


def _work(image: Image, frame: int, found: Detections) -> Work:
    persons = tuple(
        Person("a", track, frame, _ns(frame), box, 0.9) for track, box in enumerate(found.boxes, start=1)
    )
    return Work(Frame("a", frame, _ns(frame), image), persons)


def _pose_engine() -> Instant:
    """Heatmaps with one round peak per joint."""
    y, x = np.mgrid[:64, :48].astype(np.float32)
    centres = np.random.default_rng(3).uniform((6, 8), (42, 56), (PEOPLE, 17, 2)).astype(np.float32)
    distance = (x - centres[..., :1, None]) ** 2 + (y - centres[..., 1:, None]) ** 2
    return Instant(
        TensorSpec("input", (-1, 3, 256, 192), "uint8"),
        {"heatmaps": np.exp(-distance / 8).astype(np.float32)},
    )

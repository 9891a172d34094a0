"""What the host does for a person in a frame when all networks run on a GPU.

The product's own code, from the decoded picture to the embedding's request, over the simulated device: its
streams are other threads, so what the device would do costs the measured thread nothing, and its engines
give outputs that are ready. The scene is that of the site `gaitstream plan` is asked about: ten people in a
picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gaitstream.bench.instant import converter, instant_detector
from gaitstream.bench.measure import figure
from gaitstream.bench.result import Row
from gaitstream.config.camera_sections import Camera
from gaitstream.config.schema import Config
from gaitstream.config.track_sections import Quality, Tracking
from gaitstream.data import Detections, Feature, Frame
from gaitstream.engines.base import TensorSpec
from gaitstream.engines.simulated import SimulatedDevice
from gaitstream.engines.simulated_tensorrt import Program, open_simulated
from gaitstream.errors import EngineError
from gaitstream.models.alignment import HeatmapAligner
from gaitstream.models.detector import DetectorModel
from gaitstream.models.detector_layouts import usual_contract
from gaitstream.models.encoders import FrameEncoder, Head
from gaitstream.models.pose import PoseContract, PoseModel
from gaitstream.models.recognizer import Recognizer
from gaitstream.models.resolve import find_bundle
from gaitstream.pipeline.embed import Embedder, Filled
from gaitstream.pipeline.encode import Encoder
from gaitstream.pipeline.gather import Work
from gaitstream.pipeline.judge import EvidenceJudge
from gaitstream.pipeline.pool import Window, WindowRule
from gaitstream.pipeline.source.clock import SECOND_NS
from gaitstream.pipeline.track import CameraTracker

NAME = "demo"
"""Of the recognizer that is run."""

WIDTH, HEIGHT = 1280, 720
PEOPLE = 10
FPS = 15
CAMERAS = 4
"""Pictures in one call of the encoder, as a batch across cameras has them."""
HEIGHTS = np.linspace(140.0, 410.0, PEOPLE)
ASPECT = 0.4
PREFIX = "GPU: "
SUM = f"{PREFIX}sum"
STEPS = {
    "convert": "decoded pictures to BGR, in the cameras' threads",
    "detect": "pictures into the network's bytes, its output into boxes",
    "track": "tracker and the judge of boxes",
    "encode": "sharpness, crops, queueing, joints, the judge of poses",
    "pool": "features into their windows, on the device",
    "embed": "pooled windows through the head",
}
TARGET_MS = 0.25
"""Host time of a person in a frame that lets one thread carry 2,400 of them a second at 60% of its time."""

SETTLED = 10
"""Frames after which every track is confirmed and known to walk."""


def walkers(frame: int, camera: int = 0) -> Detections:
    """Ten people of different size who walk to and fro, with a detector's jitter."""
    random = np.random.default_rng(1000 * camera + frame)
    way = 30 * np.sin(frame / 20 + np.arange(PEOPLE))
    left = 40.0 + 112 * np.arange(PEOPLE) + way
    boxes = np.stack([left, 700 - HEIGHTS, left + HEIGHTS * ASPECT, np.full(PEOPLE, 700.0)], axis=1)
    scores = np.full(PEOPLE, 0.9, np.float32)
    return Detections((boxes + random.normal(0, 1, boxes.shape)).astype(np.float32), scores)


def time_ns(frame: int) -> int:
    """Capture time of a frame."""
    return 1_800_000_000 * SECOND_NS + frame * SECOND_NS // FPS


class Tracks:
    """Frames of several cameras through tracker and box judge."""

    def __init__(self) -> None:
        # Walkers overlap with those beside them, whose boxes are not to be in doubt for it.
        tracking = Tracking(iou=0.6)
        self._trackers = [CameraTracker(f"c{camera}", tracking, FPS) for camera in range(CAMERAS)]
        cameras = [Camera.model_validate({"id": f"c{camera}", "url": "a.mp4"}) for camera in range(CAMERAS)]
        quality = Quality(min_motion=1e-6, max_overlap=1.0)
        self.judge = EvidenceJudge(Config(cameras=cameras, quality=quality))
        self.image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)

    def works(self, frame: int, seen: list[Detections]) -> list[Work]:
        """One frame of every camera with its tracked and judged people."""
        made = []
        for camera, (tracker, found) in enumerate(zip(self._trackers, seen, strict=True)):
            tracked = tracker.update(frame, time_ns(frame), (WIDTH, HEIGHT), found, self.image)
            persons = self.judge.judge_boxes(f"c{camera}", (WIDTH, HEIGHT), tracked.persons)
            made.append(Work(Frame(f"c{camera}", frame, time_ns(frame), self.image), persons))
        return made


@dataclass
class DeviceSite:
    """The second half: encoder, windows and head over a device."""

    device: SimulatedDevice = field(default_factory=SimulatedDevice)

    def __post_init__(self) -> None:
        pose, recognizer = instant_pose(self.device), instant_recognizer(self.device)
        self.encoder = Encoder({NAME: recognizer}, pose)
        if self.encoder.device is None:
            raise EngineError("the demo's recognizer does not stay on the device")
        self._embedder = Embedder({NAME: recognizer}, WindowRule())
        self._windows: dict[tuple[str, int], Window] = {}

    def pool(self, features: list[Feature]) -> list[Filled]:
        """Features into their windows."""
        filled = []
        for feature in features:
            key = feature.person.camera, feature.person.track
            window = self._windows.get(key)
            if window is None:
                window = self._windows[key] = self._embedder.window(NAME, feature.map)
            emitted = window.add(feature.person.time_ns, feature.map)
            if emitted is not None:
                filled.append(Filled(NAME, *key, emitted))
        return filled

    def embed(self, filled: list[Filled]) -> int:
        """Pooled windows through the head."""
        return len(self._embedder.embed(filled))


def instant_pose(device: SimulatedDevice) -> PoseModel:
    """A pose model whose heatmaps are ready, with one round peak per joint."""
    y, x = np.mgrid[:64, :48].astype(np.float32)
    centres = np.random.default_rng(3).uniform((6, 8), (42, 56), (64, 17, 2)).astype(np.float32)
    distance = (x - centres[..., :1, None]) ** 2 + (y - centres[..., 1:, None]) ** 2
    ready = np.exp(-distance / 8).astype(np.float32)
    program = Program(
        {"input": TensorSpec("input", (-1, 3, 256, 192), "uint8")},
        {"heatmaps": TensorSpec("heatmaps", (-1, 17, 64, 48), "float32")},
        lambda feeds: {"heatmaps": ready[: len(feeds["input"])]},
    )
    return PoseModel(PoseContract(graph="instant.onnx"), open_simulated(program, device, batch=64))


def instant_recognizer(device: SimulatedDevice) -> Recognizer:
    """The demo's recognizer, its features and embeddings ready."""
    bundle = find_bundle("demo")
    manifest = bundle.manifest
    shape = next(iter(manifest.features.values())).shape
    contract = manifest.alignment
    if contract is None:
        raise EngineError("the demo's recognizer does not work on poses")
    features = np.random.default_rng(4).random((64, *shape), np.float32)
    embeddings = np.zeros((64, manifest.embedding.parts, manifest.embedding.dim), np.float32)
    frame = Program(
        {"parts": TensorSpec("parts", (-1, 1 + len(contract.groups), 64, 48), "float32")},
        {"features": TensorSpec("features", (-1, *shape), "float32")},
        lambda feeds: {"features": features[: len(feeds["parts"])]},
    )
    head = Program(
        {"pooled": TensorSpec("pooled", (-1, *shape), "float32")},
        {"embedding": TensorSpec("embedding", (-1, *embeddings.shape[1:]), "float32")},
        lambda feeds: {"embedding": embeddings[: len(feeds["pooled"])]},
    )
    frames = FrameEncoder(manifest, open_simulated(frame, device, batch=64), HeatmapAligner(contract))
    return Recognizer(bundle, Head(manifest, open_simulated(head, device, batch=64)), frames)


Call = Callable[[int], object]


def rows(*, quick: bool) -> list[Row]:
    """CPU time of the measuring thread per person-frame, step by step, and the sum."""
    import cv2

    cv2.setNumThreads(1)
    repeats, frames = (5, 20) if quick else (15, 60)
    total = np.zeros(repeats)
    found = []
    taken = [np.zeros(repeats) for _ in STEPS]
    calls = steps((repeats + 1) * frames)
    for frame in range((repeats + 1) * frames):
        repeat = frame // frames - 1  # the first round warms up
        for index, call in enumerate(calls):
            start = time.thread_time()
            call(frame)
            if repeat >= 0:
                taken[index][repeat] += time.thread_time() - start
    for (name, note), seconds in zip(STEPS.items(), taken, strict=True):
        times = seconds * 1e3 / frames / PEOPLE / CAMERAS
        total += times
        found.append(
            Row(contender=f"{PREFIX}{name}", figures={"overhead": figure(times.tolist(), "ms")}, note=note)
        )
    note = f"all networks on a GPU, {PEOPLE} people in a picture: the target is {TARGET_MS} ms"
    found.append(Row(contender=SUM, figures={"overhead": figure(total.tolist(), "ms")}, note=note))
    return found


def host_ms(found: list[Row]) -> float | None:
    """The sum among the rows of a report; None where it is not."""
    sums = [row.figures["overhead"].median for row in found if row.contender == SUM]
    return sums[0] if sums else None


def steps(frames: int) -> list[Call]:
    """Host steps in the order of a frame's life, of `STEPS`; each call is one frame of every camera."""
    path = [[walkers(frame, camera) for camera in range(CAMERAS)] for frame in range(frames)]
    tracks, site = Tracks(), DeviceSite()
    detector = DetectorModel(
        usual_contract("instant.onnx", "yolox"), instant_detector((WIDTH, HEIGHT), walkers(0).boxes)
    )
    convert = converter(WIDTH, HEIGHT)
    held: dict[str, Any] = {}

    def convert_all(frame: int) -> None:
        for _ in range(CAMERAS):
            convert(frame)

    def detect(_: int) -> None:
        detector.detect([tracks.image] * CAMERAS)

    def track(frame: int) -> None:
        held["works"] = tracks.works(frame, path[frame])

    def encode(frame: int) -> None:
        encoded = site.encoder.encode(held["works"], tracks.judge)
        if frame >= SETTLED and len(encoded.features) < PEOPLE * CAMERAS:
            raise EngineError("somebody was rejected: what is measured is the way of people who are accepted")
        held["features"] = encoded.features

    def pool(_: int) -> None:
        held["filled"] = site.pool(held["features"])

    def embed(_: int) -> None:
        site.embed(held["filled"])

    return [convert_all, detect, track, encode, pool, embed]

"""A synthetic site seen by the native front end, and the recording DeepStream's metadata makes of it.

Boxes come from the world's ground truth, pictures are not drawn: what is tested lies behind the networks.
A person's feature map is drawn from who it is and when, so that both front ends pool the same numbers.
"""

from __future__ import annotations

import copy
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.bundle import Bundle
from gaitstream.events import Event
from gaitstream.gallery import Gallery
from gaitstream.pipeline.backend import Backend
from gaitstream.pipeline.config import Config
from gaitstream.pipeline.data import Decision, Detections, Embedding, Feature, Reason
from gaitstream.pipeline.deepstream import child
from gaitstream.pipeline.deepstream.graph import build_graph, encoder_name
from gaitstream.pipeline.deepstream.plan import DetectorPlan, EncoderPlan, Plan, feature_layer
from gaitstream.pipeline.deepstream.records import unpack
from gaitstream.pipeline.deepstream.spec import Command, make_spec
from gaitstream.pipeline.deepstream.translate import Translator
from gaitstream.pipeline.evidence import CameraEvidence
from gaitstream.pipeline.identify import TrackState
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.publish import EventMaker
from gaitstream.pipeline.stats import Stats
from gaitstream.pipeline.track import CameraTracker
from gaitstream.recognizer import Recognizer
from gaitstream.synth import open_synthetic
from tests.pipeline.deepstream.fake import pyservicemaker as fake

SIZE = (640, 360)
MUXED = (1280, 720)
SHAPE = (8, 16, 8)
CAMERAS = ("north", "south")
STEPS = 75
START_NS = 1_767_225_603_000_000_000
"""Capture time of the first frame: the world's third second."""
ENCODER = encoder_name("biggait")
LAYER = feature_layer("biggait")


def feature_of(person: int, time_ns: int) -> NDArray[np.float16]:
    """Who somebody is shows in the mean, when in the noise; half precision, as nvinfer gives it."""
    rng = np.random.default_rng([person, time_ns % 2**31])
    own = np.random.default_rng(person).uniform(0, 4, SHAPE)
    return np.asarray(own + 0.2 * rng.normal(size=SHAPE), np.float16)


@dataclass
class Seen:
    """What came out of a front end and the pipeline behind it."""

    tracklets: list[Embedding] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    ended: list[tuple[TrackState, Decision]] = field(default_factory=list)
    counters: dict[str, Counter[str]] = field(default_factory=dict)


class Collector(Observer):
    def __init__(self) -> None:
        self.seen = Seen()

    def on_embedding(self, embedding: Embedding) -> None:
        self.seen.tracklets.append(embedding)

    def on_decision(self, decision: Decision) -> None:
        self.seen.decisions.append(decision)

    def on_track_ended(self, state: TrackState, decision: Decision, cause: str) -> None:
        self.seen.ended.append((copy.copy(state), decision))


class NoEvents:
    def publish(self, event: Event) -> None:
        pass


def make_config(folder: Path, gallery: Path | None = None, *, films: bool = False) -> Config:
    """Two live cameras, or two films."""
    film = folder / "film.mp4"
    film.touch()
    start = datetime.fromtimestamp(START_NS / 1e9, UTC).isoformat()
    url = str(film) if films else "rtsp://10.0.0.1/"
    return Config.model_validate(
        {
            "cameras": [{"id": name, "url": url, "fps": 15, "start_time": start} for name in CAMERAS],
            "gallery": {"path": str(gallery), "threshold": 40.0} if gallery else {},
            "tracklets": {"length": 20, "stride": 10, "provisional_from": 5},
            "deepstream": {"width": MUXED[0], "height": MUXED[1], "source_fps": 15},
        }
    )


def make_plan() -> Plan:
    encoder = EncoderPlan("biggait", Path("/m/biggait.onnx"), 256, 128, 16, SHAPE)
    detector = DetectorPlan(Path("/m/yolox.onnx"), "yolox", 416, 416, 1)
    return Plan(detector, (encoder,), Path("/m/parser.so"), Path("/m"))


def enrol(path: Path, bundle: Bundle, head: Recognizer, people: range) -> None:
    """Templates of some of the people, from features at another time."""
    with Gallery(path, create=True) as gallery:
        for person in people:
            maps = np.stack([feature_of(person, 10**9 + step) for step in range(20)]).astype(np.float32)
            template = head.embed_pooled(maps.max(0))[None]
            gallery.enroll(f"person {person}", "biggait", bundle.fingerprint, template)


def run_native(config: Config, head: Recognizer) -> tuple[Seen, list[fake.Batch]]:
    """The native tracker and evidence on the synthetic world, and what DeepStream would report of it."""
    collector, backend = _backend(config, head)
    recording = []
    lines = {}
    for number, name in enumerate(CAMERAS):
        camera = open_synthetic(f"synth://corridor?camera={number + 1}&people=4&seed=5&start=3")
        tracker = CameraTracker(name, config.tracking, 15)
        evidence = CameraEvidence(config.quality_for(config.camera(name)), SIZE)
        lines[name] = (camera, tracker, evidence)
    for step in range(STEPS):
        frames, features, ended, metas = [], [], [], []
        for number, (name, (camera, tracker, evidence)) in enumerate(lines.items()):
            truth = camera.truth(step)
            inside = truth.visibility > 0.6
            boxes = np.clip(truth.boxes[inside], 0, [*SIZE, *SIZE]).astype(np.float32)
            owners = truth.people[inside]
            found = Detections(boxes, np.full(len(boxes), 0.9, np.float32))
            tracked = tracker.update(step, truth.time_ns, SIZE, found)
            evidence.forget(tracked.ended)
            judged = []
            metas.append(
                fake.Frame(number, step, truth.time_ns - camera.time_ns(0), truth.time_ns, SIZE, MUXED, [])
            )
            for person in evidence.judge(tracked.persons):
                owner = int(owners[np.abs(boxes - person.box).sum(1).argmin()])
                tensor = feature_of(owner, truth.time_ns)
                if person.rejected is None and not evidence.walks(person):
                    person = replace(person, rejected=Reason.STANDING)
                if person.rejected is None:
                    features.append(Feature("biggait", person, tensor.astype(np.float32)))
                judged.append(person)
                metas[-1].persons.append(_object(person.track, person.score, person.box, tensor))
            frames.append((name, tuple(judged)))
            ended += [(name, track) for track in tracked.ended]
        backend.take(frames, features, ended)
        recording.append(fake.Batch(metas))
    backend.end_all("end_of_stream")
    backend.close()
    return collector.seen, recording


def _object(track: int, score: float, box: NDArray[np.float32], tensor: NDArray[np.float16]) -> fake.Person:
    """Ids are the same on both cameras, as DeepStream's are, and large."""
    scale = np.array([MUXED[0] / SIZE[0], MUXED[1] / SIZE[1]] * 2)
    left, top, right, bottom = (box.astype(np.float64) * scale).tolist()
    rect = [left, top, right - left, bottom - top]
    return fake.Person(2**33 + track, float(score), rect, {ENCODER: {LAYER: tensor}})


def run_deepstream(
    config: Config, head: Recognizer, recording: list[Any], *, copy_from: Callable[..., None] | None = None
) -> Seen:
    """The real probes, driven by the fake, and the real pipeline behind them."""
    collector, backend = _backend(config, head)
    translator = Translator(config, ["biggait"])
    plan = make_plan()
    graph = build_graph(config, plan, Path("/out"))
    messages: list[list[Any]] = []
    fake.Pipeline.recording, fake.Pipeline.device = copy.deepcopy(recording), fake.CUDA
    child.run(
        make_spec(config, plan, graph, "inproc://none"),
        no_commands(),
        messages.append,
        maker=fake,  # type: ignore[arg-type]
        copy=copy_from or memory_copy,
    )
    for parts in messages:
        batch, arrays = unpack([bytes(part) for part in parts])
        for camera, counts in batch.counters.items():
            collector.seen.counters.setdefault(camera, Counter()).update(counts)
        seen = translator.translate(batch, arrays)
        backend.take(
            [(one.camera, one.persons) for one in seen],
            [feature for one in seen for feature in one.features],
            [(one.camera, track) for one in seen for track in one.ended],
        )
    backend.end_all("end_of_stream")
    backend.close()
    return collector.seen


def no_commands() -> Iterator[Command]:
    """An input that stays open and silent; its end would stop the process."""
    threading.Event().wait()
    yield Command(do="stop")


def memory_copy(target: int, source: int, size: int) -> None:
    import ctypes

    ctypes.memmove(target, source, size)


def _backend(config: Config, head: Recognizer) -> tuple[Collector, Backend]:
    collector = Collector()
    recognizers = {"biggait": head}
    maker = EventMaker("test", {"biggait": head.fingerprint})
    return collector, Backend(config, recognizers, NoEvents(), maker, Stats(), [collector])

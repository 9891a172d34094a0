"""The recorded site behind both front ends: gallery, pipeline, and what came out."""

from __future__ import annotations

import copy
import ctypes
import itertools
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gaitstream.config.schema import Config
from gaitstream.data import Decision, Embedding
from gaitstream.deepstream import child
from gaitstream.deepstream.copying import Bytes, Copier, Transfer
from gaitstream.deepstream.graph import build_graph
from gaitstream.deepstream.plan import DetectorPlan, EncoderPlan, Plan
from gaitstream.deepstream.records import unpack
from gaitstream.deepstream.spec import Command, make_spec
from gaitstream.deepstream.translate import Translator
from gaitstream.events import Event
from gaitstream.gallery import Gallery
from gaitstream.models.recognizer import Recognizer
from gaitstream.pipeline.decide import Decider
from gaitstream.pipeline.identify import TrackState
from gaitstream.pipeline.judge import EvidenceJudge
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.publish import RunEvents
from gaitstream.telemetry.stats import Stats
from tests.deepstream.fake import pyservicemaker as fake
from tests.deepstream.recording import CAMERAS, FPS, MUXED, Recording, judgement

KINDS = ("biggait", "gaitheat")
ENROLLED = 2
"""People of the recording who are in the gallery."""


@dataclass
class Seen:
    """What came out of a front end and the pipeline behind it."""

    tracklets: list[Embedding] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    ended: list[tuple[TrackState, str]] = field(default_factory=list)
    """Tracks and why they ended."""
    counters: dict[str, Counter[str]] = field(default_factory=dict)


class Collector(Observer):
    def __init__(self) -> None:
        self.seen = Seen()

    def on_embedding(self, embedding: Embedding) -> None:
        self.seen.tracklets.append(embedding)

    def on_decision(self, decision: Decision) -> None:
        self.seen.decisions.append(decision)

    def on_track_ended(self, state: TrackState, decision: Decision, cause: str) -> None:
        self.seen.ended.append((copy.copy(state), cause))


class NoEvents:
    def publish(self, event: Event) -> None:
        pass


def make_config(gallery: Path, threshold: float) -> Config:
    """The recorded cameras as DeepStream has them."""
    return Config.model_validate(
        {
            "cameras": [{"id": name, "url": f"rtsp://10.0.0.1/{name}", "fps": FPS} for name in CAMERAS],
            "models": dict.fromkeys(KINDS, "opened by the test"),
            "gallery": {"path": str(gallery), "threshold": threshold, "margin": 0},
            "deepstream": {"width": MUXED[0], "height": MUXED[1], "source_fps": FPS},
            **judgement(),
        }
    )


def make_encoder(name: str, shape: tuple[int, ...] = (8, 16, 8)) -> EncoderPlan:
    """An encoder of crops, or of poses for GaitHeat."""
    posed = name == "gaitheat"
    return EncoderPlan(
        name,
        Path(f"/m/{name}.onnx"),
        256,
        192 if posed else 128,
        16,
        shape,
        rule="pose" if posed else "pad_to_aspect",
        has_joints=posed,
    )


def make_plan(recognizers: Mapping[str, Recognizer]) -> Plan:
    """Encoders of the recognizers' shapes; files that exist by name only."""
    encoders = []
    for kind in KINDS:
        shape = recognizers[kind].manifest.features["features"].shape
        encoders.append(make_encoder(kind, shape))
    detector = DetectorPlan(Path("/m/yolox.onnx"), "yolox", 416, 416, 1)
    return Plan(detector, tuple(encoders), Path("/m/parser.so"), Path("/m"))


def enrol(path: Path, recording: Recording) -> Config:
    """Enrol the people seen longest by their first window; the site with a threshold amid all distances.

    So some of the tracks are known and some are not, whatever the weights are worth.
    """
    maps: dict[tuple[str, int], dict[str, list[Any]]] = defaultdict(lambda: {kind: [] for kind in KINDS})
    for step in recording.steps:
        for feature in step.features:
            maps[feature.person.camera, feature.person.track][feature.model].append(feature.map)
    longest = sorted(maps, key=lambda track: -len(maps[track]["gaitheat"]))[:ENROLLED]
    with Gallery(path, create=True) as gallery:
        for number, track in enumerate(longest):
            for kind in KINDS:
                model = recording.encoder.recognizers[kind]
                template = model.embed_pooled(np.stack(maps[track][kind][:20]).max(0))[None]
                gallery.enroll(f"person {number}", kind, model.fingerprint, template)
    open_to_all = run_native(make_config(path, 1e9), recording)
    distances = sorted(d.distance for d in open_to_all.decisions if d.distance is not None)
    _, low, high = max((b - a, a, b) for a, b in itertools.pairwise(distances))
    return make_config(path, (low + high) / 2)


def run_native(config: Config, recording: Recording) -> Seen:
    """The pipeline behind the native front end, fed as its runner fed it."""
    collector, decider = _decider(config, recording.encoder.recognizers)
    for step in recording.steps:
        camera = step.frame.camera
        decider.take([(camera, step.persons)], step.features, [(camera, track) for track in step.ended])
    decider.end_all("end_of_stream")
    decider.close()
    return collector.seen


def run_deepstream(
    config: Config,
    recognizers: Mapping[str, Recognizer],
    recording: Sequence[Any],
    *,
    copier: Copier | None = None,
) -> Seen:
    """The real probes, driven by the fake, and the real pipeline behind them."""
    collector, decider = _decider(config, recognizers)
    translator = Translator(config, KINDS, EvidenceJudge(config, recognizers.values()))
    messages, _ = play(config, make_plan(recognizers), recording, copier or HostCopier())
    for parts in messages:
        batch, arrays = unpack([bytes(part) for part in parts])
        for camera, counts in batch.counters.items():
            collector.seen.counters.setdefault(camera, Counter()).update(counts)
        seen = translator.translate(batch, arrays)
        decider.take(
            [(one.camera, one.persons) for one in seen],
            [feature for one in seen for feature in one.features],
            [(one.camera, track) for one in seen for track in one.ended],
        )
    decider.end_all("end_of_stream")
    decider.close()
    return collector.seen


def play(
    config: Config, plan: Plan, recording: Sequence[Any], copier: Copier
) -> tuple[list[list[Any]], list[Any]]:
    """Run the process's code on a recording: the buffers it sent, the recording as its probes left it."""
    messages: list[list[Any]] = []
    fake.Pipeline.recording, fake.Pipeline.device = copy.deepcopy(list(recording)), fake.CUDA
    spec = make_spec(config, plan, build_graph(config, plan, Path("/out")), "inproc://none")
    child.ChildPipeline(spec, messages.append, maker=fake, copier=copier)(no_commands())  # type: ignore[arg-type]
    assert unpack([bytes(part) for part in messages[0]])[0].plays
    return messages[1:], fake.Pipeline.recording


def no_commands() -> Iterator[Command]:
    """An input that stays open and silent; its end would stop the process."""
    threading.Event().wait()
    yield Command(do="stop")


class HostCopier:
    """The host's memory in the GPU's place. Counts what a GPU would have to do."""

    def __init__(self) -> None:
        self.calls: list[list[Transfer]] = []

    def allocate(self, size: int) -> Bytes:
        return np.empty(size, np.uint8)

    def copy(self, transfers: Sequence[Transfer]) -> None:
        self.calls.append(list(transfers))
        for target, source, size in transfers:
            ctypes.memmove(target, source, size)


def _decider(config: Config, recognizers: Mapping[str, Recognizer]) -> tuple[Collector, Decider]:
    collector, stats = Collector(), Stats()
    prints = {kind: model.fingerprint for kind, model in recognizers.items()}
    events = RunEvents("test", prints, NoEvents(), stats)
    return collector, Decider(config, recognizers, events, stats, [collector])

"""Runs the pipeline for a while and takes its counters apart: rates, latencies, cost of every stage."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from gaitstream.addresses import FREE_ENDPOINT
from gaitstream.config.camera_sections import Camera
from gaitstream.config.schema import Config
from gaitstream.events import Journal, Publisher
from gaitstream.gallery import Enrolment, Gallery
from gaitstream.pipeline.encode import Encoder
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.runner import Pipeline
from gaitstream.telemetry.stats import Histogram, Snapshot
from gaitstream.zoo import demo_family

BOUNDS = tuple(float(value) for value in np.geomspace(1, 120_000, 240))
"""Upper bounds of the latency buckets in ms: 5% steps, so that a quantile is known that well."""
POSE_REJECTS = ("low_pose_score", "standing")
"""Reasons that are found when the pose model has run: its work on these people is in the time of a frame."""
CAMERA_THREADS = "camera-"
PERSONS = 100
"""Size of the gallery that everybody is compared with."""


class Moment(NamedTuple):
    """One end of a stretch: the clock, the counters, CPU time of the cameras' threads."""

    at_s: float
    counters: Snapshot
    decode_s: float


@dataclass(frozen=True, slots=True)
class DrivenLoad:
    """What a stretch of a run showed.

    Attributes:
        seconds: its length.
        frames: analysed.
        seen: persons in these frames.
        posed: of them, those who went through the pose model.
        persons: of them, those who went through the recognizer.
        windows: full tracklets embedded.
        stage_s: time of the pipeline's thread by stage; they do not overlap.
        calls: of each stage.
        cpu_s: CPU time of the process.
        decode_s: of that, the cameras' own threads: decoding and conversion.
        rss_mib: its memory at the end.
        latency: capture to the decision on a full window, ms.
    """

    seconds: float
    frames: int
    seen: int
    posed: int
    persons: int
    windows: int
    stage_s: dict[str, float]
    calls: dict[str, int]
    cpu_s: float
    decode_s: float
    rss_mib: float
    latency: Histogram

    @property
    def fps(self) -> float:
        """Frames analysed a second."""
        return self.frames / self.seconds

    @property
    def busy(self) -> float:
        """Share of the time in which the pipeline's thread was in a stage."""
        return sum(self.stage_s.values()) / self.seconds

    @property
    def cpu_share(self) -> float:
        """Share of this machine's cores in use."""
        return self.cpu_s / self.seconds / len(os.sched_getaffinity(0))


def build_config(cameras: list[Camera], recognizer: str) -> Config:
    """Demo detector and pose model, one recognizer, default limits."""
    models = {"recognizers": {demo_family(): recognizer}}
    return Config.model_validate({"cameras": cameras, "models": models})


def accept_everybody(config: Config) -> Config:
    """Take everybody as evidence, so that all contenders of a comparison have the same work."""
    quality = config.quality.model_copy(
        update={
            "min_height_px": 8.0, "border_px": 0.0, "max_aspect": 100.0, "max_overlap": 1.0,
            "min_sharpness": 0.0, "min_pose_score": 0.0, "min_motion": 0.0, "max_jump": 1e6,
            "max_scale_jump": 1e6,
        }
    )  # fmt: skip
    return config.model_copy(update={"quality": quality})


def with_gallery(config: Config, encoder: Encoder, path: Path) -> Config:
    """Compare everybody with `PERSONS` random people."""
    rng = np.random.default_rng(0)
    enrolments = []
    for kind, model in encoder.recognizers.items():
        shape = (4, model.manifest.embedding.parts, model.manifest.embedding.dim)
        for index in range(PERSONS):
            templates = rng.standard_normal(shape, dtype=np.float32)
            enrolments.append(Enrolment(f"person{index}", kind, model.fingerprint, templates))
    with Gallery(path, create=True) as gallery:
        gallery.enroll_many(enrolments)
    found = config.gallery.model_copy(update={"path": path, "threshold": 0.5, "margin": 0.02})
    return config.model_copy(update={"gallery": found})


def measure(
    config: Config,
    folder: Path,
    *,
    seconds: float,
    warmup_s: float = 1.5,
    realtime: bool = True,
    encoder: Encoder | None = None,
    observers: Sequence[Observer] = (),
) -> DrivenLoad:
    """Run the pipeline with its real publisher.

    Args:
        config: cameras and models; cameras should loop.
        folder: for the journal.
        seconds: length of the measured stretch.
        warmup_s: how long it runs before.
        realtime: files are played at their own pace; else as fast as they are taken.
        encoder: an open one; loaded when None.
        observers: of the run.
    """
    with (
        Publisher(Journal(folder), FREE_ENDPOINT, FREE_ENDPOINT) as publisher,
        Pipeline(config, sink=publisher, realtime=realtime, encoder=encoder, observers=observers) as pipeline,
    ):
        pipeline.stats.now.event_latency = Histogram(BOUNDS)
        taken: list[Moment] = []
        watch = threading.Thread(target=_watch, args=(pipeline, taken, warmup_s, seconds))
        watch.start()
        pipeline.run()
        watch.join()
    return between(*taken)


def _watch(pipeline: Pipeline, taken: list[Moment], warmup_s: float, seconds: float) -> None:
    for wait_s in (warmup_s, seconds):
        time.sleep(wait_s)
        taken.append(Moment(time.monotonic(), pipeline.snapshot(), decoding_s()))
    pipeline.stop()


def decoding_s() -> float:
    """CPU time of the cameras' threads so far; 0 where the system does not tell."""
    ticks = 0
    for thread in threading.enumerate():
        if thread.name.startswith(CAMERA_THREADS):
            try:
                fields = (
                    Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rpartition(")")[2].split()
                )
            except OSError:
                continue
            ticks += int(fields[11]) + int(fields[12])  # user and system time, proc(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def between(start: Moment, end: Moment) -> DrivenLoad:
    """The counters of a stretch of time, given its two ends."""
    before, after = start.counters, end.counters
    nothing = Histogram()
    stage_s, calls = {}, {}
    for name, histogram in after.stages.items():
        earlier = before.stages.get(name, nothing)
        stage_s[name] = (histogram.total - earlier.total) / 1e3
        calls[name] = histogram.count - earlier.count
    latency = msgspec.structs.replace(
        after.event_latency,
        counts=[b - a for a, b in zip(before.event_latency.counts, after.event_latency.counts, strict=True)],
    )
    encoded = _sum(after, "encoded") - _sum(before, "encoded")
    return DrivenLoad(
        seconds=end.at_s - start.at_s,
        frames=_sum(after, "analysed") - _sum(before, "analysed"),
        seen=_sum(after, "person_frames") - _sum(before, "person_frames"),
        posed=encoded + _pose_rejects(after) - _pose_rejects(before),
        persons=encoded,
        windows=_sum(after, "windows") - _sum(before, "windows"),
        stage_s=stage_s,
        calls=calls,
        cpu_s=after.cpu_s - before.cpu_s,
        decode_s=end.decode_s - start.decode_s,
        rss_mib=after.rss_bytes / 2**20,
        latency=latency,
    )


def _sum(snapshot: Snapshot, counter: str) -> int:
    return sum(int(getattr(camera, counter)) for camera in snapshot.cameras.values())


def _pose_rejects(snapshot: Snapshot) -> int:
    return sum(
        camera.rejections.get(reason, 0) for camera in snapshot.cameras.values() for reason in POSE_REJECTS
    )


def limit_of(load: DrivenLoad) -> str:
    """What a saturated run ran out of, in words."""
    stage, seconds = max(load.stage_s.items(), key=lambda item: item[1])
    largest = f"largest stage: {stage}, {seconds / load.seconds:.0%} of the time"
    if load.cpu_share > 0.85:
        return f"the CPU ({load.cpu_share:.0%} of its cores in use); {largest}"
    if load.busy > 0.85:
        return f"the pipeline's thread ({load.busy:.0%} in its stages); {largest}"
    return f"decoding or other work on this machine ({load.busy:.0%} of the thread in use); {largest}"

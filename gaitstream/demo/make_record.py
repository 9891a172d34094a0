"""Turns what a live run left behind into the record that score and report are computed from."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gaitstream import __version__, zoo
from gaitstream.demo.enrolment import Enrolled, pose_of
from gaitstream.demo.ground_truth import (
    GroundTruthObserver,
    heatmap_picture,
    picture,
    silhouette_picture,
)
from gaitstream.demo.plan import DemoPlan
from gaitstream.demo.record import CameraRun, DemoRecord, ForgettingRecord, VisitorsRecord, WalkerRecord
from gaitstream.events import Event
from gaitstream.models.crops import Bytes
from gaitstream.models.pose import keypoints
from gaitstream.models.segmenter import Segmenter
from gaitstream.pipeline.encode import Encoder
from gaitstream.telemetry.stats import Snapshot


@dataclass(slots=True)
class Timing:
    """How long what took, in seconds."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    started_s: float = field(default_factory=time.monotonic)
    enrolment_s: float = 0.0

    def elapsed_s(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.started_s


@dataclass(frozen=True, slots=True)
class LiveRun:
    """What a live run left behind."""

    ground_truth: GroundTruthObserver
    snapshot: Snapshot
    sent: int
    received: int
    seconds: float
    wall_s: float
    stopped: bool
    visits: list[Event] = field(default_factory=list)
    """Events about visitors."""


def add_pictures(ground_truth: GroundTruthObserver, encoder: Encoder) -> None:
    """Fill in pictures and what recognizers looked at in them, for tracks that filled a window."""
    pose, segmenter = pose_of(encoder), encoder.segmenter
    aligning = next((one for one in encoder.recognizers.values() if one.manifest.alignment), None)
    full = {(window.camera, window.track) for window in ground_truth.windows}
    for track in ground_truth.tracks:
        crops = ground_truth.samples.crops((track.camera, track.track))
        if (track.camera, track.track) not in full:
            continue
        track.pictures = [picture(crop) for crop in crops]
        if aligning is not None:
            heatmaps = pose.heatmaps(crops)
            parts = aligning.align(heatmaps, keypoints(heatmaps))
            track.heatmaps = [heatmap_picture(part) for part in parts]
        if segmenter is not None:
            track.silhouettes = [silhouette_picture(mask) for mask in _masks(segmenter, crops)]


def make_record(
    plan: DemoPlan, command: str, timing: Timing, enrolled: Sequence[Enrolled], run: LiveRun,
    visitors: VisitorsRecord | None, forgotten: ForgettingRecord,
) -> DemoRecord:  # fmt: skip
    """The whole demo as plain data."""
    snapshot = run.snapshot
    advice = zoo.advice(*plan.gait)
    each = {family: zoo.advice(family) for family in plan.gait}
    by_name = {one.name: one for one in enrolled}
    people = []
    for name in plan.names:
        person = WalkerRecord(name=name, enrolled=name in by_name)
        if one := by_name.get(name):
            person.templates, person.tracklets, person.pictures = one.templates, one.tracklets, one.pictures
        people.append(person)
    return DemoRecord(
        version=__version__,
        machine=machine(),
        started=timing.started.strftime("%Y-%m-%d %H:%M UTC"),
        command=command,
        seed=plan.seed,
        site=plan.site,
        seconds=run.seconds,
        live=plan.live,
        stopped=run.stopped,
        enrolment_s=timing.enrolment_s,
        total_s=timing.elapsed_s(),
        threshold=advice.threshold,
        margin=advice.margin,
        models={family: one.fingerprint[:16] for family, one in each.items()},
        units={family: one.threshold for family, one in each.items()} if len(each) > 1 else {},
        weights={family: one.weight for family, one in each.items()},
        people=people,
        tracks=run.ground_truth.tracks,
        windows=run.ground_truth.windows,
        cameras=_cameras(run),
        stages={name: one.total / one.count for name, one in snapshot.stages.items() if one.count},
        events_sent=run.sent,
        events_received=run.received,
        event_p50_ms=snapshot.event_latency.quantile(0.5),
        event_p95_ms=snapshot.event_latency.quantile(0.95),
        visitors=visitors,
        forgotten=forgotten,
    )


def _masks(segmenter: Segmenter, crops: Bytes) -> Bytes:
    """Masks of the pose model's crops, which are cut by the same rule in another size."""
    height, width = segmenter.size
    resized = [
        cv2.resize(crop.transpose(1, 2, 0), (width, height), interpolation=cv2.INTER_AREA) for crop in crops
    ]
    return segmenter.masks(np.ascontiguousarray(np.stack(resized).transpose(0, 3, 1, 2)))


def _cameras(run: LiveRun) -> list[CameraRun]:
    cameras = []
    for name, stats in sorted(run.snapshot.cameras.items()):
        still = run.ground_truth.stills.get(name)
        cameras.append(
            CameraRun(
                name=name,
                still=b"" if still is None else _jpeg(still),
                decoded=stats.decoded,
                analysed=stats.analysed,
                dropped=stats.dropped,
                fps=stats.analysed / run.wall_s,
                p50_ms=stats.latency.quantile(0.5),
                p95_ms=stats.latency.quantile(0.95),
            )
        )
    return cameras


def _jpeg(image: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes()


def machine() -> str:
    """Processor and how many of its cores this process may use."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"

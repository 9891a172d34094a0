"""Two videos of one person, for tests of the DeepStream process: what is in the pictures does not matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gaitstream.config.schema import Config
from gaitstream.deepstream.graph import encoder_name
from gaitstream.deepstream.plan import DetectorPlan, EncoderPlan, Plan, feature_layer
from tests.deepstream.fake import pyservicemaker as fake
from tests.deepstream.recording import MUXED, SIZE

FPS = 15
START_NS = 1_767_225_600_000_000_000
SHAPE = (8, 16, 8)


def make_config(folder: Path) -> Config:
    """Two videos."""
    video = folder / "video.mp4"
    video.touch()
    camera = {"url": str(video), "fps": FPS, "start_time": "2026-01-01T00:00:00Z"}
    return Config.model_validate(
        {
            "cameras": [{"id": name, **camera} for name in ("north", "south")],
            "tracklets": {"length": 20, "stride": 10, "provisional_from": 5},
            "deepstream": {"width": MUXED[0], "height": MUXED[1], "source_fps": FPS},
        }
    )


def make_plan() -> Plan:
    """Models that exist by name only."""
    encoder = EncoderPlan("biggait", Path("/m/biggait.onnx"), 256, 128, 16, SHAPE)
    return Plan(
        DetectorPlan(Path("/m/yolox.onnx"), "yolox", 416, 416, 1), (encoder,), Path("/m/p.so"), Path("/m")
    )


def walk(steps: int) -> list[Any]:
    """One person who walks through the first video."""
    rng = np.random.default_rng(1)
    batches = []
    for step in range(steps):
        pts_ns = step * 1_000_000_000 // FPS
        tensors = {encoder_name("biggait"): {feature_layer("biggait"): rng.random(SHAPE).astype(np.float16)}}
        person = fake.Person(5, 0.9, [100.0 + 12 * step, 200.0, 120.0, 360.0], tensors)
        batches.append(fake.Batch([fake.Frame(0, step, pts_ns, START_NS + pts_ns, SIZE, MUXED, [person])]))
    return batches

"""A site and its plan, as the renderer takes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gaitstream.config.schema import Config
from gaitstream.deepstream.plan import DetectorPlan, EncoderPlan, Plan

SECRET = "hunter2"


def _site(**sections: Any) -> Config:
    """Two RTSP cameras, one with a password."""
    cameras = [
        {"id": "door", "url": f"rtsp://admin:{SECRET}@10.0.0.5/1"},
        {"id": "hall", "url": "rtsp://10.0.0.6/1", "fps": 10.0},
    ]
    return Config.model_validate({"cameras": cameras, **sections})


def _make_plan(
    *,
    layout: Any = "yolox",
    kinds: tuple[Any, ...] = ("biggait", "gaitheat"),
    shape: tuple[int, int, int] = (512, 16, 8),
) -> Plan:
    """Models that exist by name only."""
    sizes = {"biggait": (256, 128), "gaitheat": (256, 192)}
    encoders = tuple(
        EncoderPlan(
            kind,
            Path(f"/models/{kind}.onnx"),
            *sizes[kind],
            batch=16,
            shape=shape,
            rule="pose" if kind == "gaitheat" else "pad_to_aspect",
            has_joints=kind == "gaitheat",
        )
        for kind in kinds
    )
    offsets = () if layout in ("yolox", "yolov8") else (123.675, 116.28, 103.53)
    detector = DetectorPlan(
        Path("/models/detector.onnx"),
        layout,
        416,
        416,
        1,
        scale=1 / 255,
        offsets=offsets,
        bgr=layout == "yolox",
    )
    return Plan(detector, encoders, Path("/opt/gaitstream-native/libgaitstream_parser.so"), Path("/engines"))


@pytest.fixture
def site() -> Callable[..., Config]:
    """Makes configurations from sections."""
    return _site


@pytest.fixture
def make_plan() -> Callable[..., Plan]:
    """Makes plans of other models."""
    return _make_plan


@pytest.fixture
def plan() -> Plan:
    return _make_plan()


@pytest.fixture
def config() -> Config:
    return _site()

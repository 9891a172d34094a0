"""What the parent tells the DeepStream process: the first line it reads is a Spec, every other a Command.

It goes through a pipe and is never written to a file: URLs carry credentials.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from gaitstream.pipeline.config import Config
from gaitstream.pipeline.deepstream.graph import Graph, enabled
from gaitstream.pipeline.deepstream.plan import EncoderPlan, Plan
from gaitstream.pipeline.deepstream.tracker import probation_frames


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the process needs."""

    graph: Graph
    encoders: tuple[EncoderPlan, ...]
    rates: dict[str, float | None]
    """Analysed frames per second by camera, in the order of their slots."""
    lost_s: float
    probation: int
    predictions: int
    camera_clock: bool
    gpu: int
    rest: str | None
    endpoint: str
    """ZeroMQ endpoint the parent has bound."""
    first_tracks: dict[str, int]
    """Next track number by camera: a process that follows another goes on counting."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Something to do while it runs."""

    do: Literal["add", "remove", "retune", "label", "stop"]
    camera: str = ""
    uri: str = ""
    fps: float | None = None
    track: int = 0
    text: str = ""


def make_spec(
    config: Config, plan: Plan, graph: Graph, endpoint: str, first_tracks: dict[str, int] | None = None
) -> Spec:
    """Derive what a process is told from the site's configuration."""
    cameras = enabled(config)
    return Spec(
        graph=graph,
        encoders=plan.encoders,
        rates={camera.id: camera.fps for camera in cameras},
        lost_s=config.tracking.lost_s,
        probation=probation_frames(config),
        predictions=min(camera.detect_every for camera in cameras) - 1,
        camera_clock=config.deepstream.clock == "camera",
        gpu=config.deepstream.gpu,
        rest=config.deepstream.rest,
        endpoint=endpoint,
        first_tracks=first_tracks or {},
    )

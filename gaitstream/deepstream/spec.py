"""What the parent tells the DeepStream process: the first line it reads is a Spec, every other a Command.

It goes through a pipe and is never written to a file: URLs carry credentials.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

import msgspec

from gaitstream.config.camera_sections import Camera
from gaitstream.config.fields import aspect_ratio, is_pixel_aspect
from gaitstream.config.schema import Config
from gaitstream.config.watching import Changes
from gaitstream.deepstream.elements import Graph
from gaitstream.deepstream.graph import enabled, uri_of
from gaitstream.deepstream.plan import EncoderPlan, Plan
from gaitstream.deepstream.tracker import probation_frames
from gaitstream.pipeline.source.clock import file_start_ns
from gaitstream.pipeline.source.video import best_stream, stated_length_ns


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the process needs."""

    graph: Graph
    encoders: tuple[EncoderPlan, ...]
    rates: dict[str, float | None]
    """Analysed frames per second by camera, in the order of the muxer's pads."""
    uris: dict[str, str]
    """By camera: DeepStream removes a camera by its id and the URL it was added with."""
    lost_s: float
    probation: int
    predictions: int
    camera_clock: bool
    aspects: dict[str, float]
    """Width of a pixel in heights, of cameras whose pixels are not square."""
    starts: dict[str, int]
    """Capture time of the first frame, UTC ns, of cameras that are files."""
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
    aspect: float = 1.0
    track: int = 0
    text: str = ""


def encode_spec(spec: Spec) -> bytes:
    """As one line of JSON."""
    return msgspec.json.encode(spec, enc_hook=str)


def decode_spec(line: bytes) -> Spec:
    """From `encode_spec`; paths are the one type JSON does not know."""
    return msgspec.json.decode(line, type=Spec, dec_hook=lambda kind, value: kind(value))


def start_of(camera: Camera) -> int:
    """Capture time of a file's first frame, UTC ns: as configured, as its metadata say, else by its date."""
    recorded, length_ns, _ = _stated_by_file(camera)
    otherwise_ns = time.time_ns()
    return file_start_ns(_path_of(camera), camera.start_time, recorded, length_ns, otherwise_ns=otherwise_ns)


def aspect_of(camera: Camera) -> float:
    """Width of a pixel in heights: as configured, else as a file says. DeepStream tells nothing of it."""
    if camera.pixel_aspect is not None:
        return aspect_ratio(camera.pixel_aspect)
    if not uri_of(camera).startswith("file:"):
        return 1.0
    _, _, stated = _stated_by_file(camera)
    return stated if is_pixel_aspect(stated) else 1.0


def _stated_by_file(camera: Camera) -> tuple[str, int, float]:
    """When it was recorded, how long it is in ns, and the width of its pixels in heights."""
    import av

    try:
        with av.open(str(_path_of(camera))) as container:
            stream = best_stream(container)
            aspect = float((stream and stream.sample_aspect_ratio) or 1)
            return container.metadata.get("creation_time", ""), stated_length_ns(container), aspect
    except (OSError, av.error.FFmpegError):
        return "", 0, 1.0  # DeepStream will say what is wrong with the file


def _path_of(camera: Camera) -> Path:
    return Path(url2pathname(urlsplit(uri_of(camera)).path))


def make_spec(
    config: Config, plan: Plan, graph: Graph, endpoint: str, first_tracks: dict[str, int] | None = None
) -> Spec:
    """Derive what a process is told from the site's configuration."""
    cameras = enabled(config)
    return Spec(
        graph=graph,
        encoders=plan.encoders,
        rates={camera.id: camera.fps for camera in cameras},
        uris={camera.id: uri_of(camera) for camera in cameras},
        lost_s=config.tracking.lost_s,
        probation=probation_frames(config),
        predictions=min(camera.detect_every for camera in cameras) - 1,
        camera_clock=config.deepstream.clock == "camera",
        aspects={camera.id: aspect for camera in cameras if (aspect := aspect_of(camera)) != 1.0},
        starts={camera.id: start_of(camera) for camera in cameras if uri_of(camera).startswith("file:")},
        gpu=config.deepstream.gpu,
        rest=config.deepstream.rest,
        endpoint=endpoint,
        first_tracks=first_tracks or {},
    )


def change_commands(before: Config, after: Config, changes: Changes) -> list[Command]:
    """The way from one configuration to the next."""
    return [
        *(Command(do="retune", camera=id_, fps=after.camera(id_).fps) for id_ in changes.adjusted),
        *(remove_command(before, id_) for id_ in (*changes.removed, *changes.reopened)),
        *(add_command(after, id_) for id_ in (*changes.added, *changes.reopened)),
    ]


def revive_commands(config: Config, camera: str) -> list[Command]:
    """Take a silent camera out and put it in again."""
    return [remove_command(config, camera), add_command(config, camera)]


def add_command(config: Config, camera: str) -> Command:
    """Add a camera."""
    entry = config.camera(camera)
    return Command(do="add", camera=camera, uri=uri_of(entry), fps=entry.fps, aspect=aspect_of(entry))


def remove_command(config: Config, camera: str) -> Command:
    """Remove a camera. The process knows the URL it was added with."""
    return Command(do="remove", camera=camera, uri=uri_of(config.camera(camera)))

"""What cams.yaml says of the GPU front end."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gaitstream.addresses import LAST_PORT
from gaitstream.config.fields import misfit
from gaitstream.config.section import Section

MOST_CAMERAS = 1024
"""Of one process: nvinfer and nvtracker take no larger batch."""


def _check_rest(value: str) -> str:
    port = value.rpartition(":")[2]
    if not 0 < int(port) <= LAST_PORT:
        raise misfit(f"{value}: give a port from 1 to {LAST_PORT}, as in 127.0.0.1:9000; null: off")
    return value


def _check_address(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise misfit(f"{value} is no address of a machine; give one as 127.0.0.1, ::1 or 10.0.0.5") from None
    return value


class DeepStream(Section):
    """The GPU front end, used with `--frontend deepstream`."""

    width: Annotated[int, Field(ge=64, le=8192)] = 1920
    """Width of the frames inside the pipeline; all cameras are scaled to it. Give the cameras' own."""
    height: Annotated[int, Field(ge=64, le=8192)] = 1080
    """Height of the frames inside the pipeline."""
    max_cameras: Annotated[int, Field(ge=1, le=MOST_CAMERAS)] | None = None
    """Room for cameras added while it runs. null: as many as the file has, and another one restarts the
    pipeline. Room that is not used costs each batch up to a quarter of a frame's time."""
    source_fps: Annotated[float, Field(gt=0, le=240)] = 30.0
    """Rate the cameras send; with `cameras[].fps` it decides which frames the decoder hands on."""
    tracker: Literal["nvsort", "nvdcf"] = "nvsort"
    """`nvdcf` also follows people between detections, for `detect_every` above 1; it costs GPU time."""
    clock: Literal["arrival", "camera"] = "arrival"
    """`camera` takes capture times from RTCP sender reports: for cameras that are on NTP."""
    latency_ms: Annotated[int, Field(ge=0, le=10_000)] = 100
    """Jitter buffer of RTSP."""
    reconnect_s: Annotated[int, Field(ge=1, le=3600)] = 10
    """A camera without data for this long is connected again."""
    rest: (
        Annotated[str, Field(pattern=r"^(127\.0\.0\.1|\[::1\]):[0-9]{1,5}$"), AfterValidator(_check_rest)]
        | None
    ) = "127.0.0.1:9000"
    """Where DeepStream's own REST server listens: it has no authentication, so loopback only. Cameras are
    added and removed through it. null: off, and a change of cameras restarts the pipeline."""
    gpu: Annotated[int, Field(ge=0, le=63)] = 0
    """Number of the GPU."""
    view_port: Annotated[int, Field(ge=1, le=LAST_PORT)] = 8554
    """Port of the annotated pictures that `--view` offers, as `tcp://ADDRESS:PORT`."""
    view_address: Annotated[
        str,
        Field(pattern=r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F]*:[0-9a-fA-F:]*)$"),
        AfterValidator(_check_address),
    ] = "127.0.0.1"
    """Address they are offered at. There is no authentication: whoever reaches it sees the pictures."""

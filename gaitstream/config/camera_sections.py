"""What cams.yaml says of each camera, and of how all of them are read."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from gaitstream.config.fields import (
    Fraction,
    PixelAspect,
    Polygon,
    anchored,
    misfit,
)
from gaitstream.config.names import NAME_PATTERN
from gaitstream.config.secret_url import SecretUrl
from gaitstream.config.section import Section


class CameraThresholds(Section):
    """One camera's own values; what is left out follows the sections `models`, `gallery` and `quality`."""

    detection_score: Fraction | None = None
    """Lowest detector score of a person."""
    distance: Annotated[float, Field(gt=0)] | None = None
    """Largest distance at which a person is known."""
    margin: Annotated[float, Field(ge=0)] | None = None
    """Smallest lead over the second person."""
    min_height_px: Annotated[float, Field(ge=8)] | None = None
    """Smallest person, box height in pixels."""
    max_overlap: Fraction | None = None
    """Largest share of a box that other boxes may cover."""
    min_sharpness: Annotated[float, Field(ge=0)] | None = None
    """Smallest variance of the Laplacian."""
    min_pose_score: Fraction | None = None
    """Smallest mean joint score."""
    min_motion: Annotated[float, Field(ge=0)] | None = None
    """Smallest motion of somebody who walks."""


class Camera(Section):
    """One camera: where its frames come from and what is particular about it."""

    id: Annotated[str, Field(pattern=NAME_PATTERN)]
    """Name in events and metrics: letters, digits, `_`, `.`, `-`; unique."""
    url: SecretUrl
    """`rtsp://`, `rtsps://`, `http(s)://`, `synth://`, `/dev/video0`, a video file, a folder of images."""
    enabled: bool = True
    """False keeps the entry and leaves the camera alone."""
    fps: Annotated[float, Field(gt=0, le=240)] | None = 15.0
    """Frames analysed per second; the rest is skipped and counted. null: every frame."""
    detect_every: Annotated[int, Field(ge=1, le=30)] = 1
    """Detect on every k-th analysed frame and let the tracker predict in between."""
    still_every: Annotated[int, Field(ge=1, le=300)] = 1
    """Detect on every k-th frame only while nobody is tracked and the picture stays the same. 1: always."""
    regions: list[Polygon] = []
    """Polygons `[[x, y], ...]` in pixels; a person counts when the feet are inside one. Empty: everywhere."""
    region_size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = None
    """Width and height the polygons were drawn on; scaled to the stream. null: the stream's own size."""
    thresholds: CameraThresholds = CameraThresholds()
    """Values of this camera alone."""
    transport: Literal["tcp", "udp"] = "tcp"
    """How RTSP carries the media."""
    decoder: Literal["auto", "cpu", "cuda"] = "auto"
    """`cuda` decodes on NVDEC; `auto` uses it when it is there."""
    max_height: Annotated[int, Field(ge=64, le=8640)] | None = None
    """Higher pictures are scaled down to this as they are decoded; all pixels here and in events are those of
    the scaled ones; `region_size` is for polygons drawn on full ones. null: as they are. Native alone."""
    pixel_aspect: PixelAspect | None = None
    """Width to height of one pixel, as `12:11`: pictures are made as wide as they are shown, and all pixels
    here and in events are those of these. null: as the stream says, square where it says nothing."""
    interlaced: bool | None = None
    """Whether a picture is two half pictures of two moments; what moves is then made of one. null: as the
    stream says, which recorders of analogue cameras often do not. Native alone."""
    loop: bool = False
    """Start a file again at its end; times go on."""
    start_time: datetime | None = None
    """Capture time of a file's first frame (ISO 8601, else UTC). null: from the file's own metadata."""

    @field_validator("url")
    @classmethod
    def _anchor_files(cls, url: SecretUrl, info: ValidationInfo) -> SecretUrl:
        if fault := url.fault():
            raise misfit(f"{url}: {fault}")
        return url if url.scheme else SecretUrl(str(anchored(url.reveal(), info)))

    @field_validator("start_time")
    @classmethod
    def _start_in_range(cls, time: datetime | None) -> datetime | None:
        if time is not None and not 1970 <= time.year <= 2200:
            raise misfit(f"{time.isoformat()} is not between 1970 and 2200")
        return time

    @model_validator(mode="after")
    def _polygons_fit(self) -> Camera:
        width, height = self.region_size or (math.inf, math.inf)
        for index, polygon in enumerate(self.regions):
            for x, y in polygon:
                if not (0 <= x <= width and 0 <= y <= height):
                    size = f" of {width} x {height}" if self.region_size else ""
                    text = f"point [{x:g}, {y:g}] lies outside the frame{size}; give pixels of the frame"
                    raise misfit(text, "regions", index)
            if _is_line(polygon):
                text = "its points lie on one line: nothing is inside; give the corners of an area"
                raise misfit(text, "regions", index)
        return self


def _is_line(polygon: Polygon) -> bool:
    """Whether a polygon encloses nothing, since all its points are one or lie on one line."""
    x0, y0 = polygon[0]
    ways = [(x - x0, y - y0) for x, y in polygon]
    far_x, far_y = max(ways, key=lambda way: math.hypot(*way))
    return all(abs(far_x * y - far_y * x) < 1e-6 for x, y in ways)


class Sources(Section):
    """How cameras are read."""

    queue: Annotated[int, Field(ge=1, le=256)] = 4
    """Decoded frames waiting per camera. Live cameras drop the oldest when full; files wait."""
    stall_s: Annotated[float, Field(gt=0, le=3600)] = 5.0
    """Without a frame for this long a live camera is at fault and is opened again."""
    connect_s: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """How long opening a camera may take."""
    backoff_min_s: Annotated[float, Field(gt=0, le=86400)] = 0.5
    """Wait before the first new attempt; it doubles from there."""
    backoff_max_s: Annotated[float, Field(gt=0, le=86400)] = 3.0
    """Longest wait between attempts. Every wait is shortened by a random share of up to 30%."""

    @model_validator(mode="after")
    def _ordered(self) -> Sources:
        if self.backoff_max_s < self.backoff_min_s:
            text = f"{self.backoff_max_s:g} is less than backoff_min_s {self.backoff_min_s:g}"
            raise misfit(text, "backoff_max_s")
        return self

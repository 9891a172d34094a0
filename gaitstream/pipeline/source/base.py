"""The contract of a source: open, read until None, close."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gaitstream.data import Image
from gaitstream.errors import SourceError


class CameraRefusedError(SourceError):
    """The camera refused the credentials: trying again quickly could lock the account."""


NEARLY_SQUARE = 0.01
"""Pixels that are less than this off are left alone: what scalers round, such as 1280:1281."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded frame, not yet converted: frames that are skipped never pay for their pixels."""

    time_ns: int
    """Capture time, UTC."""
    width: int
    height: int
    to_image: Callable[[], Image]
    """Convert to BGR uint8 `[height, width, 3]`."""


def shown_size(width: int, height: int, aspect: float) -> tuple[int, int]:
    """Width and height in square pixels of a picture whose own are `aspect` times as wide as high."""
    return (width if abs(aspect - 1) < NEARLY_SQUARE else max(1, round(width * aspect))), height


def scaled_size(width: int, height: int, max_height: int | None) -> tuple[int, int]:
    """Width and height of a picture that is to be no higher than this, in the same proportions."""
    if max_height is None or height <= max_height:
        return width, height
    return max(1, round(width * max_height / height)), max_height


def scale_down(image: Image, max_height: int | None) -> Image:
    """A picture, BGR uint8 `[height, width, 3]`, no higher than this; itself where it is not."""
    height, width = image.shape[:2]
    size = scaled_size(width, height, max_height)
    if size == (width, height):
        return image
    import cv2

    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


class Source(Protocol):
    """Something that gives pictures. One thread opens, reads and closes it."""

    live: bool
    """Live sources lose what is not read in time and end only by failing; others wait and end."""
    corrupt: int
    """Packets and frames that could not be decoded since `open`."""

    def open(self) -> None:
        """Connect. Raises SourceError, whose text holds no credentials."""

    def read(self) -> Picture | None:
        """The next picture; None when the source has ended. Raises SourceError on a fault."""

    def close(self) -> None:
        """Let everything go. Allowed at any time, more than once."""

"""The contract of a source: open, read until None, close."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gaitstream.data import Image
from gaitstream.errors import SourceError


class CameraRefusedError(SourceError):
    """The camera refused the credentials: trying again quickly could lock the account."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded frame, not yet converted: frames that are skipped never pay for their pixels."""

    time_ns: int
    """Capture time, UTC."""
    width: int
    height: int
    to_image: Callable[[], Image]
    """Convert to BGR uint8 `[height, width, 3]`."""


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

"""Checksums: a store notices damage of its own structures, and none inside what it keeps."""

from __future__ import annotations

import zlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Damage:
    """A template whose bytes are not those that were enrolled."""

    template: int
    """Its number in the store."""
    person: str
    """The name; the uid where that cannot be read either."""
    model: str
    source: str
    """The video it came from; may be empty."""

    def __str__(self) -> str:
        origin = f", from {self.source}" if self.source else ""
        return f"template {self.template} of {self.person!r} ({self.model}{origin}) is damaged"


def checksum(data: bytes) -> int:
    """CRC-32: against accidents, not against malice, and quick beside the reading."""
    return zlib.crc32(data)

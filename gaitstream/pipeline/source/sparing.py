"""Decoding less: pictures that nobody will look at, and that no other picture is made from."""

from __future__ import annotations

import heapq
from typing import Literal

Skip = Literal["DEFAULT", "NONREF"]
UNEVEN = 0.2
"""Share of the distance between pictures by which a picture may be off."""
PROVEN = 10
"""Pictures in a row at even distances from which on a stream is taken to go on like that."""


class Sparing:
    """Counts the pictures that a decoder was allowed to leave out and did. Touches no clock.

    Packets go in by the order of decoding, pictures come out by the order of showing.
    """

    def __init__(self) -> None:
        self._spared: list[int] = []
        """Stream times of the packets that may be left out, the next one first."""
        self._last: int | None = None
        self._even = 0
        """Pictures in a row that kept to the stream's spacing."""

    def send(self, pts: int | None, *, needed: bool) -> Skip:
        """A packet goes in; what the decoder may leave out of it, as FFmpeg calls it."""
        if needed or pts is None or self._even < PROVEN:
            return "DEFAULT"
        heapq.heappush(self._spared, pts)
        return "NONREF"

    def come(self, pts: int | None, spacing: float) -> int:
        """A picture came out; how many that belong before it were left out.

        Args:
            pts: its stream time.
            spacing: between two pictures. While a stream does not keep to it nothing is left out: which of
                its pictures are needed cannot be told before they come.
        """
        passed = 0
        while pts is not None and self._spared and self._spared[0] <= pts:
            passed += heapq.heappop(self._spared) < pts
        if pts is not None and self._last is not None and spacing:
            missing = (pts - self._last) / spacing - 1 - passed
            self._even = self._even + 1 if abs(missing) < UNEVEN else 0
        self._last = pts
        return passed

    def end(self) -> int:
        """No more pictures come; how many were left out at the end."""
        passed = len(self._spared)
        self._spared.clear()
        return passed

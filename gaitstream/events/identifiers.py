"""Event ids and times as text."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000
LATEST_NS = (1 << 63) - 1
_COUNTS = tuple(f"-7{count:03x}-" for count in range(1 << 12))


class EventIds:
    """UUIDs of version 7 (RFC 9562, 6.2, method 1): time, a counter, then random bits. For one thread.

    They sort as they were made, up to 4,096 in a millisecond.
    """

    def __init__(self) -> None:
        self._counts: Iterator[str] = iter(())
        self._from_ns = self._to_ns = 0
        self._head = self._tail = ""

    def next(self, time_ns: int) -> str:
        """A new one for a time, UTC nanoseconds."""
        count = next(self._counts, None) if self._from_ns <= time_ns < self._to_ns else None
        if count is None:
            self._begin(time_ns // MILLISECOND_NS)
            count = next(self._counts)
        return self._head + count + self._tail

    def _begin(self, time_ms: int) -> None:
        """Another millisecond, or another random end where all numbers of this one are given."""
        self._from_ns = time_ms * MILLISECOND_NS
        self._to_ns = self._from_ns + MILLISECOND_NS
        text = f"{time_ms & 0xFFFF_FFFF_FFFF:012x}"
        self._head = f"{text[:8]}-{text[8:]}"
        end = f"{int.from_bytes(os.urandom(8)) & (1 << 62) - 1 | 1 << 63:016x}"
        self._tail = f"{end[:4]}-{end[4:]}"
        self._counts = iter(_COUNTS)


class Clock:
    """Writes UTC nanoseconds as RFC 3339 text; remembers the last second, which most calls share."""

    def __init__(self) -> None:
        self._last = (0, SECOND_NS, "1970-01-01T00:00:00.")

    def text(self, time_ns: int) -> str:
        """As `2026-11-26T03:25:21.123456789Z`; the nearest that can be written where it is out of range."""
        begin, end, text = self._last  # read at once: other threads may write it
        if not begin <= time_ns < end:
            begin, end, text = self._last = _second(time_ns // SECOND_NS)
        return f"{text}{str(time_ns - begin).zfill(9)}Z"


def _second(second: int) -> tuple[int, int, str]:
    """Where a second of UTC begins and ends, in nanoseconds, and its text up to the point."""
    clamped = min(max(second, -62_135_596_800), 253_402_300_799)  # years 1 to 9999
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(clamped)).rjust(19, "0")
    return second * SECOND_NS, (second + 1) * SECOND_NS, f"{text}."


def parse_time(text: str) -> int:
    """UTC nanoseconds of an RFC 3339 time, or of so long ago: `15m`, `2h`, `7d`, `30s`; never before 1970.

    Raises:
        ValueError: it is neither.
    """
    from datetime import UTC, datetime

    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    number = text[:-1].replace(".", "", 1)
    if number.isascii() and number.isdigit() and text[-1] in units:
        now_ns = time.time_ns()
        return now_ns - int(min(float(text[:-1]) * units[text[-1]] * SECOND_NS, now_ns - 1))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no time; give one as 2026-11-26T03:25 (UTC) or how long ago: 30s, 15m, 2h, 7d"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = int(moment.replace(microsecond=0).timestamp())
    return min(max(1, whole * SECOND_NS + moment.microsecond * 1000), LATEST_NS)

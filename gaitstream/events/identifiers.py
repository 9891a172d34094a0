"""Event ids and times as text."""

from __future__ import annotations

import os
import time

SECOND_NS = 1_000_000_000
_RANDOM_EVENTS = 512


class EventIds:
    """UUIDs of version 7 (RFC 9562): time first, so that they sort as they were made. For one thread."""

    def __init__(self) -> None:
        self._random = b""
        self._used = 0

    def next(self, time_ns: int) -> str:
        """A new one for a time, UTC nanoseconds."""
        if self._used == len(self._random):
            self._random, self._used = os.urandom(10 * _RANDOM_EVENTS), 0
        bits = int.from_bytes(self._random[self._used : self._used + 10], "big")
        self._used += 10
        stamp = time_ns // 1_000_000 & 0xFFFF_FFFF_FFFF
        return (
            f"{stamp >> 16:08x}-{stamp & 0xFFFF:04x}-7{bits & 0xFFF:03x}-"
            f"{0x8000 | bits >> 12 & 0x3FFF:04x}-{bits >> 26 & 0xFFFF_FFFF_FFFF:012x}"
        )


class Clock:
    """Writes UTC nanoseconds as RFC 3339 text; remembers the last second, which most calls share."""

    def __init__(self) -> None:
        self._last = (0, "1970-01-01T00:00:00")

    def text(self, time_ns: int) -> str:
        """As `2026-11-26T03:25:21.123456789Z`; the nearest that can be written where it is out of range."""
        second, rest = divmod(time_ns, SECOND_NS)
        known, text = self._last  # read at once: other threads may write it
        if second != known:
            clamped = min(max(second, -62_135_596_800), 253_402_300_799)  # years 1 to 9999
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(clamped)).rjust(19, "0")
            self._last = (second, text)
        return f"{text}.{rest:09d}Z"


def parse_time(text: str) -> int:
    """UTC nanoseconds of an RFC 3339 time, or of so long ago: `15m`, `2h`, `7d`, `30s`.

    Raises:
        ValueError: it is neither.
    """
    from datetime import UTC, datetime

    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    if text and text[-1] in units and text[:-1].replace(".", "", 1).isdigit():
        return time.time_ns() - int(float(text[:-1]) * units[text[-1]] * SECOND_NS)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no time; give one as 2026-11-26T03:25 (UTC) or how long ago: 30s, 15m, 2h, 7d"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * SECOND_NS + moment.microsecond * 1000

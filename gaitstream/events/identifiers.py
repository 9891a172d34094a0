"""Event ids and times as text."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

SECOND_NS = 1_000_000_000
_RANDOM_EVENTS = 512


class EventIds:
    """UUIDs of version 7 (RFC 9562): time first, so that they sort as they were made. For one thread."""

    def __init__(self) -> None:
        self._tails: Iterator[str] = iter(())
        self._time_ms = -1
        self._head = ""

    def next(self, time_ns: int) -> str:
        """A new one for a time, UTC nanoseconds."""
        time_ms = time_ns // 1_000_000
        if time_ms != self._time_ms:
            self._time_ms = time_ms
            text = f"{time_ms & 0xFFFF_FFFF_FFFF:012x}"
            self._head = f"{text[:8]}-{text[8:]}-7"
        tail = next(self._tails, None)
        if tail is None:
            self._tails = iter(_tails())
            tail = next(self._tails)
        return self._head + tail


def _tails() -> list[str]:
    """The random ends of some ids, behind the version."""
    random = os.urandom(10 * _RANDOM_EVENTS).hex()
    pieces = (random[at : at + 20] for at in range(0, len(random), 20))
    return [f"{one[:3]}-{'89ab'[int(one[3], 16) & 3]}{one[4:7]}-{one[8:20]}" for one in pieces]


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

"""A steady clock that also counts the time a machine was suspended."""

from __future__ import annotations

import time


def steady_s() -> float:
    """Seconds that only rise, at the pace of the wall clock, through suspension too (Linux' CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)

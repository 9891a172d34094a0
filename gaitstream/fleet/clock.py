"""A steady clock that also counts the time a machine was suspended."""

from __future__ import annotations

import time


def steady_s() -> float:
    """Seconds that only rise, through suspension too: CLOCK_BOOTTIME of Linux."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)

"""Progress of engine builds as log lines: a container's log has no cursor to move."""

from __future__ import annotations

import logging
import time

from gaitstream.engines.base import Progress

log = logging.getLogger(__name__)

EVERY_S = 10.0


def print_progress() -> Progress:
    """A progress that logs each new phase, and every ten seconds within one."""
    last_phase, last_s = "", 0.0

    def report(phase: str, done: float) -> bool:
        nonlocal last_phase, last_s
        now_s = time.monotonic()
        if phase != last_phase or now_s - last_s >= EVERY_S:
            log.info("building engines: %s %.0f%%", phase, done * 100)
            last_phase, last_s = phase, now_s
        return True

    return report

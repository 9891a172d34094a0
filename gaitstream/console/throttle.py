"""How often a login may fail: per user and per address, with waits that double."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FIRST_S = 2.0
LONGEST_S = 900.0
FORGOTTEN_S = 3600.0
"""After this long without a failure all is forgotten."""
MOST = 10_000
"""Names and addresses remembered; of more, the oldest are forgotten."""


class Throttle:
    """Counts failures by key; any thread.

    Args:
        free: failures without a wait.
        clock: seconds that only go forward.
    """

    def __init__(self, free: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._free = free
        self._clock = clock
        self._lock = threading.Lock()
        self._failed: dict[str, tuple[int, float]] = {}

    def wait_s(self, *keys: str) -> float:
        """How long none of these may try; 0 when they may now."""
        with self._lock:
            return max((self._wait_s(key) for key in keys), default=0.0)

    def failed(self, *keys: str) -> None:
        """Note a failure."""
        now_s = self._clock()
        with self._lock:
            for key in keys:
                count, last_s = self._failed.pop(key, (0, now_s))
                self._failed[key] = (1 if now_s - last_s > FORGOTTEN_S else count + 1, now_s)
            while len(self._failed) > MOST:
                del self._failed[next(iter(self._failed))]

    def passed(self, *keys: str) -> None:
        """Forget the failures of these."""
        with self._lock:
            for key in keys:
                self._failed.pop(key, None)

    def _wait_s(self, key: str) -> float:
        count, last_s = self._failed.get(key, (0, 0.0))
        if count < self._free:
            return 0.0
        pause_s = min(LONGEST_S, FIRST_S * 2.0 ** min(count - self._free, 20))
        return max(0.0, last_s + pause_s - self._clock())

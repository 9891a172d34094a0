"""How long to wait before a camera is tried again."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Bounded exponential waits with jitter: cameras that fell together do not come back in step.

    >>> waits = Backoff(0.5, 3.0, random=lambda: 0.0)
    >>> [waits.next() for _ in range(5)]
    [0.5, 1.0, 2.0, 3.0, 3.0]
    """

    JITTER = 0.3
    """Largest share by which a wait is shortened."""

    def __init__(self, min_s: float, max_s: float, random: Callable[[], float] = random.random) -> None:
        self._min_s = min_s
        self._max_s = max_s
        self._random = random
        self._failures = 0

    def next(self) -> float:
        """Seconds to wait now, after one more failure."""
        wait = min(self._max_s, self._min_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return wait * (1.0 - self.JITTER * self._random())

    def reset(self) -> None:
        """The camera works: the next failure starts small again."""
        self._failures = 0

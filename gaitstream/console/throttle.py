"""How often a password may be wrong: per user and per address, with waits that double."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

FIRST_S = 2.0
LONGEST_S = 900.0
FORGOTTEN_S = 3600.0
"""After this long without a failure all is forgotten."""
MOST = 10_000
"""Names and addresses remembered; of more, the oldest are forgotten."""


@dataclass
class _Failures:
    """What was tried in vain from one address, or for one name.

    Attributes:
        by: how often, by what was tried.
        last_s: the last time.
    """

    by: dict[str, int]
    last_s: float


class Throttle:
    """Counts tries by key as failures until they pass; any thread.

    Args:
        free: failures without a wait.
        clock: seconds that only go forward.
    """

    def __init__(self, free: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._free = free
        self._clock = clock
        self._lock = threading.Lock()
        self._failed: dict[str, _Failures] = {}

    def begin(self, key: str, what: str = "") -> float:
        """Note a try, unless it comes too early; how long to wait, 0 for a try that was noted.

        It is a failure until it has passed, so that of many tries at once no more get in than one by one.
        """
        with self._lock:
            now_s = self._clock()
            failures = self._failed.pop(key, None)
            if failures is None or now_s - failures.last_s > FORGOTTEN_S:
                failures = _Failures({}, now_s)
            self._failed[key] = failures
            while len(self._failed) > MOST:
                del self._failed[next(iter(self._failed))]
            wait_s = self._wait_s(failures, now_s)
            if wait_s == 0:
                failures.by[what] = failures.by.get(what, 0) + 1
                failures.last_s = now_s
            return wait_s

    def passed(self, key: str, what: str = "") -> None:
        """Forget the failures of what has passed; those of others stay: one password is no help to guess."""
        with self._lock:
            failures = self._failed.get(key)
            if failures is not None:
                failures.by.pop(what, None)

    def _wait_s(self, failures: _Failures, now_s: float) -> float:
        count = sum(failures.by.values())
        if count < self._free:
            return 0.0
        pause_s = min(LONGEST_S, FIRST_S * 2.0 ** min(count - self._free, 20))
        return max(0.0, failures.last_s + pause_s - now_s)


def network_of(address: str) -> str:
    """Whom an address counts for: an IPv6 network of 64 bits is one customer's.

    >>> network_of("10.0.0.7"), network_of("2001:db8::1:2"), network_of("")
    ('10.0.0.7', '2001:db8::/64', '')
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((int(found), 64), strict=False))
    return str(getattr(found, "ipv4_mapped", None) or found)

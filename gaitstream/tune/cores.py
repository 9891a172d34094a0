"""Whether other programs took this machine's cores while something was measured."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

MOST_OTHERS = 0.25
"""Share of this machine's cores that others may take before what pictures cost here says nothing."""


@dataclass(frozen=True, slots=True)
class CoresTaken:
    """Seconds that the cores have worked so far: for everybody, and for this process and its children."""

    all_s: float
    own_s: float
    at_s: float = field(default_factory=time.monotonic)

    @classmethod
    def now(cls) -> CoresTaken:
        """From the kernel's counters."""
        words = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        user, nice, system, _idle, _wait, irq, soft, *_ = map(int, words)
        own = os.times()
        return cls((user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK"), sum(own[:4]))

    def others_since(self, before: CoresTaken) -> float:
        """Share of the cores that others took between then and now."""
        taken = (self.all_s - before.all_s) - (self.own_s - before.own_s)
        cores = os.cpu_count() or 1
        return max(0.0, taken / cores / max(self.at_s - before.at_s, 1e-6))

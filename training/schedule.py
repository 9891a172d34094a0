"""The learning rate of a training run that is given minutes, not steps."""

from __future__ import annotations

import math

from torch.optim import Optimizer


def follow_clock(
    optimizer: Optimizer, rate: float, step: int, elapsed: float, warm: int = 50, floor: float = 0.01
) -> float:
    """Set the rate of this step, and return it.

    Args:
        optimizer: whose parameter groups all get it.
        rate: the highest.
        step: steps done.
        elapsed: share of the time that is over, 0 to 1: from the highest rate down to the floor by a cosine.
        warm: steps of a linear start.
        floor: lowest share of `rate`.
    """
    cosine = 0.5 * (1 + math.cos(math.pi * elapsed))
    now = rate * min(1.0, (step + 1) / warm) * (floor + (1 - floor) * cosine)
    for group in optimizer.param_groups:
        group["lr"] = now
    return now

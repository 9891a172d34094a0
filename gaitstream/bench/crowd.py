"""People by the thousand for the gallery's benchmarks: random embeddings, the same for the same numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
PARTS, DIM = 16, 256
TEMPLATES_EACH = 4
BATCH = 16
"""Probes searched for together."""
_BLOCK = 1000
"""People made at a time."""


def people_of(first: int, count: int) -> Floats:
    """Templates of some people, float32 `[count, TEMPLATES_EACH, PARTS, DIM]`."""
    rng = np.random.default_rng(first)
    centres = rng.standard_normal((count, 1, PARTS, DIM), dtype=np.float32)
    noise = rng.standard_normal((count, TEMPLATES_EACH, PARTS, DIM), dtype=np.float32)
    return centres + np.float32(0.5) * noise


def probes_of(count: int, persons: int) -> Floats:
    """As many probes near known people as of strangers, `[count, PARTS, DIM]`."""
    rng = np.random.default_rng(7)
    known = people_of(0, min(_BLOCK, persons))[: count // 2, 0]
    near = known + np.float32(0.5) * rng.standard_normal(known.shape, dtype=np.float32)
    strangers = rng.standard_normal((count - len(near), PARTS, DIM), dtype=np.float32)
    return np.concatenate([near, np.float32(1.1) * strangers])


def blocks(persons: int) -> list[tuple[int, int]]:
    """First number and size of the blocks that people are made in."""
    return [(first, min(_BLOCK, persons - first)) for first in range(0, persons, _BLOCK)]

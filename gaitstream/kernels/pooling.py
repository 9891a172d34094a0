"""Running maxima: which rows go into which slots, and in which launches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaitstream.kernels.arguments import POOL_ENTRIES, PoolParams


class Merge(NamedTuple):
    """A row of features on its way into a slot; both are addresses.

    Attributes:
        row: float32 or float16.
        slot: float32.
        fresh: the slot holds nothing yet.
    """

    row: int
    slot: int
    fresh: bool


def rounds(merges: Sequence[Merge]) -> list[list[Merge]]:
    """Merges in launches: as many as fit, none with a slot twice, each slot's in the order given."""
    turns: dict[int, int] = {}
    made: list[list[Merge]] = []
    for merge in merges:
        turn = turns.get(merge.slot, 0)
        while turn < len(made) and len(made[turn]) == POOL_ENTRIES:
            turn += 1
        if turn == len(made):
            made.append([])
        made[turn].append(merge)
        turns[merge.slot] = turn + 1
    return made


def pool_params(merges: Sequence[Merge], size: int, *, half_rows: bool) -> PoolParams:
    """The argument of one launch."""
    params = PoolParams(size=size, count=len(merges), half_rows=int(half_rows))
    for index, (row, slot, fresh) in enumerate(merges):
        params.rows[index], params.slots[index], params.fresh[index] = row, slot, fresh
    return params


def pool_numpy(
    slots: NDArray[np.float32], rows: NDArray[Any], into: Sequence[int], fresh: Sequence[bool]
) -> None:
    """The oracle: rows `[n, size]` into `slots[into]`, one after the other."""
    for row, slot, first in zip(rows.astype(np.float32), into, fresh, strict=True):
        slots[slot] = row if first else np.maximum(slots[slot], row)

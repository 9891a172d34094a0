"""Engines fed in chunks of the size that suits them, several under way at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gaitstream.data import Floats
from gaitstream.engines import Engine
from gaitstream.engines.base import Feeds


def run_chunked(engine: Engine, feeds: Feeds, outputs: Sequence[str], chunk: int) -> list[Floats]:
    """Run any number of rows.

    Args:
        engine: what runs.
        feeds: arrays by input name, with as many rows each.
        outputs: names of those wanted.
        chunk: rows per inference.

    Returns:
        The outputs in the order of their names, a row per row of the feeds.
    """
    count = len(next(iter(feeds.values())))
    if count == 0:
        return [np.empty((0, *engine.outputs[name].shape[1:]), np.float32) for name in outputs]
    pending = [
        engine.submit({name: array[start : start + chunk] for name, array in feeds.items()})
        for start in range(0, count, chunk)
    ]
    results = [one.result() for one in pending]
    if len(results) == 1:
        return [results[0][name] for name in outputs]
    return [np.concatenate([result[name] for result in results]) for name in outputs]

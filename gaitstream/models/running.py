"""Engines fed in chunks of the size that suits them, several under way at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.engines import Engine
from gaitstream.engines.base import Feeds
from gaitstream.errors import EngineError


def run_chunked(engine: Engine, feeds: Feeds, outputs: Sequence[str], chunk: int) -> list[NDArray[Any]]:
    """Run any number of rows.

    Args:
        engine: what runs.
        feeds: arrays by input name, with as many rows each.
        outputs: names of those wanted.
        chunk: most rows per inference.

    Returns:
        The outputs in the order of their names, a row per row of the feeds.

    Raises:
        EngineError: the feeds have different numbers of rows.
    """
    rows = {name: len(array) if array.ndim else 0 for name, array in feeds.items()}
    if len(set(rows.values())) > 1:
        given = ", ".join(f"{count} of {name}" for name, count in rows.items())
        raise EngineError(f"inputs have a row for every frame each; given are {given}")
    chunks = engine.chunks(len(next(iter(feeds.values()))), chunk)
    parts = ({name: array[rows] for name, array in feeds.items()} for rows in chunks)
    return run_parts(engine, parts, chunks, outputs)


def run_parts(
    engine: Engine, parts: Iterable[Feeds], chunks: Sequence[slice], outputs: Sequence[str]
) -> list[NDArray[Any]]:
    """Run rows whose feeds are made chunk by chunk.

    Args:
        engine: what runs.
        parts: what each chunk feeds.
        chunks: the rows of each, as `Engine.chunks` gives them.
        outputs: names of those wanted.

    Returns:
        As `run_chunked`.
    """
    if len(chunks) == 1:
        (part,) = parts
        found = engine.infer(part)
        return [found[name] for name in outputs]
    shapes = [engine.outputs[name].shape[1:] for name in outputs]
    if chunks and any(-1 in shape for shape in shapes):
        results = [one.result() for one in [engine.submit(part) for part in parts]]
        return [np.concatenate([result[name] for result in results]) for name in outputs]
    count = chunks[-1].stop if chunks else 0
    types = [engine.outputs[name].dtype for name in outputs]
    whole = [np.empty((count, *shape), dtype) for shape, dtype in zip(shapes, types, strict=True)]
    places = [{name: one[rows] for name, one in zip(outputs, whole, strict=True)} for rows in chunks]
    for pending in [engine.submit_into(part, into) for part, into in zip(parts, places, strict=True)]:
        pending.result()
    return whole

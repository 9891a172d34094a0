"""What else could compare a probe with a gallery: numpy in full, and FAISS's flat index."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gaitstream.bench.crowd import BATCH, DIM, PARTS, TEMPLATES_EACH, Floats, blocks, people_of, probes_of
from gaitstream.bench.machine import memory_bandwidth_gbps
from gaitstream.bench.measure import figure, time_ms
from gaitstream.bench.result import Row


def numpy_full(persons: int) -> list[Row]:
    """The same metric by inner products in BLAS, float32, of everybody."""
    templates = _templates(persons)
    by_part = np.ascontiguousarray(templates.transpose(1, 2, 0))
    squares = np.einsum("npd,npd->pn", templates, templates)
    half = len(templates) * PARTS * DIM * 2
    del templates

    def nearest(probes: Floats) -> object:
        total = np.zeros((len(probes), by_part.shape[2]), np.float32)
        for part in range(PARTS):
            own = np.einsum("kd,kd->k", probes[:, part], probes[:, part])[:, None]
            found = own + squares[part] - 2 * (probes[:, part] @ by_part[part])
            total += np.sqrt(np.maximum(found, 0, out=found), out=found)
        return total.argmin(axis=1)

    return [_row("numpy", persons, nearest, by_part.nbytes, half)]


def faiss_flat(persons: int) -> list[Row]:
    """The flat Euclidean distance of whole embeddings: another metric, at the same number of values."""
    import faiss

    templates = _templates(persons).reshape(-1, PARTS * DIM)
    index = faiss.IndexFlatL2(PARTS * DIM)
    index.add(templates)
    size = templates.nbytes
    del templates
    return [_row("faiss", persons, lambda p: index.search(p.reshape(len(p), -1), 5), size, size // 2)]


def _templates(persons: int) -> Floats:
    out = np.empty((persons * TEMPLATES_EACH, PARTS, DIM), np.float32)
    for first, count in blocks(persons):
        place = slice(first * TEMPLATES_EACH, (first + count) * TEMPLATES_EACH)
        out[place] = people_of(first, count).reshape(-1, PARTS, DIM)
    return out


def _row(contender: str, persons: int, nearest: Callable[[Floats], object], size: int, half: int) -> Row:
    probes = probes_of(BATCH, persons)
    one = time_ms(lambda: nearest(probes[:1]), repeats=10, warmup=2)
    many = time_ms(lambda: nearest(probes), repeats=5, warmup=1)
    floor_ms = size / (memory_bandwidth_gbps(128) * 1e9) * 1e3
    return Row(
        contender=contender,
        setting={"persons": persons},
        figures={
            "probe": figure(one, "ms"),
            "of a batch": figure([each / BATCH for each in many], "ms"),
            "memory": figure([size / half], "x float16", "lower"),
        },
        floor={"probe": floor_ms, "of a batch": floor_ms / BATCH},
    )

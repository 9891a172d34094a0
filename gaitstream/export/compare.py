"""How far one array is from another, in the ways that matter for embeddings."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import ExportError
from gaitstream.evaluate.distances import Metric, pairwise

Array = NDArray[Any]


class Distance(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate against the reference.

    Attributes:
        max_abs: largest absolute difference.
        relative: Euclidean norm of the difference over that of the reference.
        centred_relative: the same over the reference minus its mean over sequences. Untrained and weakly
            trained models give embeddings with a large common part, which hides mistakes in `relative`.
        cosine: smallest cosine between a candidate's part and the reference's.
        distance_change: largest change of a distance between two sequences, as a share of the mean distance;
            of the distances within the candidate, and of those between candidate and reference.
        order_kept: share of pairs of gallery entries that every probe still puts in the same order.
    """

    max_abs: float
    relative: float
    centred_relative: float | None = None
    cosine: float | None = None
    distance_change: float | None = None
    order_kept: float | None = None


def measure(candidate: Array, reference: Array, *, embedding: bool = False) -> Distance:
    """Compare arrays of one shape; embeddings are `[sequences, parts, dim]`.

    Values that are not finite make every figure NaN or infinite, so that no limit holds.

    Raises:
        ExportError: the shapes differ.
    """
    if candidate.shape != reference.shape:
        raise ExportError(f"a graph gives {candidate.shape} where the module gives {reference.shape}")
    a, b = candidate.astype(np.float64), reference.astype(np.float64)
    gap = a - b
    size = float(np.linalg.norm(gap))
    result = Distance(max_abs=float(np.abs(gap).max()), relative=size / max(float(np.linalg.norm(b)), 1e-30))
    if not embedding:
        return result
    centred = max(float(np.linalg.norm(b - b.mean(0))), 1e-30)
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    cosine = float(((a * b).sum(-1) / np.maximum(norms, 1e-30)).min())
    return msgspec.structs.replace(
        result,
        centred_relative=size / centred,
        cosine=cosine,
        distance_change=distance_change(a, b),
        order_kept=order_kept(a, b),
    )


def distance_change(candidate: Array, reference: Array) -> float:
    """Largest change of a distance between two sequences, as a share of the mean distance.

    A probe may meet templates of its own precision or of another: both kinds of distance count. Where no
    distance changes by more than x, only entries whose distances differ by less than 2 x can swap places.

    Args:
        candidate: embeddings `[sequences, parts, dim]`.
        reference: of the same sequences.

    Returns:
        0 for equal embeddings; infinity where a value is not finite.
    """
    if not np.isfinite(candidate).all():
        return float("inf")
    pairs = ~np.eye(len(reference), dtype=bool)
    expected = pairwise(reference, reference)[pairs]
    found = (pairwise(candidate, candidate)[pairs], pairwise(candidate, reference)[pairs])
    largest = max((float(np.abs(one - expected).max()) for one in found), default=0.0)
    return largest / max(float(expected.mean()), 1e-30)


def order_kept(candidate: Array, reference: Array, metric: Metric = "euc") -> float:
    """Share of (probe, entry, entry) triples whose order by distance is that of the reference."""
    if not np.isfinite(candidate).all():
        return 0.0
    mine, theirs = pairwise(candidate, candidate, metric), pairwise(reference, reference, metric)
    kept = total = 0
    for probe in range(len(reference)):
        others = np.delete(np.arange(len(reference)), probe)
        upper = np.triu_indices(len(others), 1)
        first, second = (np.subtract.outer(d[probe, others], d[probe, others])[upper] for d in (mine, theirs))
        kept += int((np.sign(first) == np.sign(second)).sum())
        total += len(first)
    return kept / total if total else 1.0

"""Pairwise distances between embeddings of many parts, in float64."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaitstream.errors import GaitstreamError

Metric = Literal["euc", "cos"]
PUBLISHED: dict[str, Metric] = {"mean_part_l2": "euc", "mean_part_cosine": "cos"}
"""By the metric that a bundle's manifest names."""
CONTRACTS = {metric: name for name, metric in PUBLISHED.items()}
"""The other way."""


def pairwise(probes: ArrayLike, gallery: ArrayLike, metric: Metric = "euc") -> NDArray[np.float64]:
    """Distance of every probe to every gallery entry, averaged over the parts.

    Args:
        probes: embeddings `[n, parts, dim]`.
        gallery: embeddings `[m, parts, dim]`.
        metric: `euc`, the mean over parts of the Euclidean distance; `cos`, one minus the mean cosine.

    Returns:
        float64 `[n, m]`. Computed in float64, so that ties and their order do not depend on rounding.

    Raises:
        GaitstreamError: the shapes do not fit, or the metric is unknown.

    Source: OpenGait `evaluation/metric.py`, `cuda_dist`.
    """
    x, y = np.asarray(probes, np.float64), np.asarray(gallery, np.float64)
    if x.ndim != 3 or y.ndim != 3 or x.shape[1:] != y.shape[1:]:
        raise GaitstreamError(
            f"embeddings have shapes {x.shape} and {y.shape}; both must be [count, parts, dim] of one model"
        )
    if metric not in ("euc", "cos"):
        raise GaitstreamError(f"metric {metric!r} is unknown; choose 'euc' or 'cos'")
    total = np.zeros((len(x), len(y)))
    for part in range(x.shape[1]):
        total += _one_part(x[:, part], y[:, part], metric)
    mean = total / x.shape[1]
    return np.asarray(mean if metric == "euc" else 1.0 - mean)


def _one_part(x: NDArray[np.float64], y: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """Euclidean distances, or cosines, of one part's vectors `[n, dim]` and `[m, dim]`."""
    if metric == "cos":
        x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        y = y / np.maximum(np.linalg.norm(y, axis=1, keepdims=True), 1e-12)
        return np.asarray(x @ y.T)
    squared = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2.0 * (x @ y.T)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))

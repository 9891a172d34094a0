"""Closed-set retrieval: rank-k, mean average precision, mean inverse negative penalty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaitstream.errors import GaitstreamError

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What one set of probes found; percentages."""

    cmc: Matrix
    """Share of probes whose match is among the first k, `[max_rank]`, k from 1."""
    mean_ap: float
    """Mean over probes of the mean precision at the hits."""
    mean_inp: float
    """Mean over probes of hits divided by the rank of the hardest hit."""
    probes: int
    """Probes that had a match to find."""

    @property
    def rank1(self) -> float:
        """First entry of `cmc`."""
        return float(self.cmc[0])


def retrieve(
    distances: ArrayLike,
    probe_ids: ArrayLike,
    gallery_ids: ArrayLike,
    probe_views: ArrayLike | None = None,
    gallery_views: ArrayLike | None = None,
    *,
    max_rank: int = 50,
) -> Retrieval:
    """The re-identification protocol.

    Args:
        distances: `[n, m]`, smaller is nearer.
        probe_ids: identities `[n]`.
        gallery_ids: identities `[m]`.
        probe_views: cameras or view angles `[n]`. When given, gallery entries with the probe's identity *and*
            view are removed before ranking.
        gallery_views: the same for the gallery, `[m]`.
        max_rank: length of `cmc`, cut to the size of the gallery.

    Raises:
        GaitstreamError: no probe has a match in the gallery.
    """
    dist = np.asarray(distances, np.float64)
    same = np.asarray(probe_ids)[:, None] == np.asarray(gallery_ids)[None]
    keep = np.ones_like(same)
    if probe_views is not None and gallery_views is not None:
        keep = ~(same & (np.asarray(probe_views)[:, None] == np.asarray(gallery_views)[None]))
    max_rank = min(max_rank, dist.shape[1])
    cmc = np.zeros(max_rank)
    precisions: list[float] = []
    penalties: list[float] = []
    for row, match, kept in zip(dist, same, keep, strict=True):
        order = np.argsort(row, kind="stable")
        ranks = np.flatnonzero(match[order][kept[order]]) + 1
        if not len(ranks):
            continue
        cmc[ranks[0] - 1 :] += 1
        hits = np.arange(1, len(ranks) + 1)
        precisions.append(float(np.mean(hits / ranks)))
        penalties.append(float(len(ranks) / ranks[-1]))
    if not precisions:
        raise GaitstreamError("no probe has a match in the gallery; check identities and views")
    scale = 100.0 / len(precisions)
    return Retrieval(cmc * scale, sum(precisions) * scale, sum(penalties) * scale, len(precisions))


def rank_k(distances: Matrix, probe_ids: ArrayLike, gallery_ids: ArrayLike, ranks: int) -> Matrix:
    """Share of the probes that are found among the first k entries, for k from 1 to `ranks`.

    Returns:
        Percentages rounded to two decimals as the published protocol does, `[ranks]`.
    """
    order = np.argsort(distances, axis=1, kind="stable")[:, :ranks]
    found = np.cumsum(np.asarray(probe_ids)[:, None] == np.asarray(gallery_ids)[order], axis=1) > 0
    hits = np.pad(found.sum(0), (0, ranks - found.shape[1]), mode="edge")
    return np.asarray(np.round(hits * 100.0 / len(distances), 2))


def exclude_identical(matrix: ArrayLike) -> Matrix:
    """Mean over the other views, `[..., views, views]` to `[..., views]` per probe view."""
    values = np.asarray(matrix, np.float64)
    off_diagonal = np.where(np.eye(values.shape[-1], dtype=bool), np.nan, values)
    return np.asarray(np.nanmean(off_diagonal, axis=-1))

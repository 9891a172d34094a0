"""The published protocols: CASIA-B, SUSTech1K, CCPG, CCGR. Percentages throughout.

Source: OpenGait `evaluation/evaluator.py` at 0efafd4, and for CCGR `CCGR_EVA.py` of its authors
(ShinanZou/CCGR, which compares every condition with every other one); names of conditions as published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaitstream.errors import GaitstreamError
from gaitstream.evaluate.distances import Metric, pairwise
from gaitstream.evaluate.retrieval import Matrix, Retrieval, exclude_identical, rank_k, retrieve

CASIA_B_PROBES = {"NM": ("nm-05", "nm-06"), "BG": ("bg-01", "bg-02"), "CL": ("cl-01", "cl-02")}
CASIA_B_GALLERY = ("nm-01", "nm-02", "nm-03", "nm-04")
CASIA_B_CROSS_PROBES = {"NM": ("nm-01",), "BG": ("bg-01",), "CL": ("cl-01",)}
CASIA_B_CROSS_GALLERY = ("nm-02", "bg-02", "cl-02")
SUSTECH1K_PROBES = {
    "Normal": ("01-nm",),
    "Bag": ("bg",),
    "Clothing": ("cl",),
    "Carrying": ("cr",),
    "Umberalla": ("ub",),  # spelt as published
    "Uniform": ("uf",),
    "Occlusion": ("oc",),
    "Night": ("nt",),
    "Overall": ("01", "02", "03", "04"),
}
SUSTECH1K_GALLERY = ("00-nm",)
CCPG = {
    "CL": (("U0_D0_BG", "U0_D0"), ("U1_D1", "U2_D2", "U3_D3")),
    "UP": (("U3_D3",), ("U0_D3",)),
    "DN": (("U1_D0",), ("U1_D1",)),
    "BG": (("U0_D0_BG",), ("U0_D0",)),
}

CCGR_EASY = "NM1"
"""The condition of the gallery that CCGR's easy figures are of."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """Embeddings of walking sequences with their labels, all of length n."""

    embeddings: NDArray[np.floating]
    """`[n, parts, dim]`."""
    ids: NDArray[np.str_]
    types: NDArray[np.str_]
    """Walking condition, such as `nm-01`."""
    views: NDArray[np.str_]
    """View angle or camera."""

    @classmethod
    def of(cls, embeddings: ArrayLike, ids: ArrayLike, types: ArrayLike, views: ArrayLike) -> Sequences:
        """From anything array-like, checked for equal length."""
        result = cls(np.asarray(embeddings), *(np.asarray(a, np.str_) for a in (ids, types, views)))
        lengths = {len(result.embeddings), len(result.ids), len(result.types), len(result.views)}
        if len(lengths) != 1:
            raise GaitstreamError(f"embeddings, ids, types and views differ in length: {sorted(lengths)}")
        return result

    def where(self, mask: NDArray[np.bool_]) -> Sequences:
        """The sequences of a mask `[n]`."""
        return Sequences(self.embeddings[mask], self.ids[mask], self.types[mask], self.views[mask])

    def of_types(self, names: tuple[str, ...], *, substring: bool = False) -> Sequences:
        """The sequences whose condition is one of `names`, or contains one of them."""
        if substring:
            return self.where(np.array([any(n in t for n in names) for t in self.types], bool))
        return self.where(np.isin(self.types, names))


@dataclass(frozen=True, slots=True)
class ViewPairs:
    """Rank-k by pair of views for one walking condition."""

    matrix: Matrix
    """`[ranks, probe views, gallery views]`, rounded to two decimals."""

    @property
    def per_probe_view(self) -> Matrix:
        """Mean over the other views, `[ranks, views]`."""
        return exclude_identical(self.matrix)

    @property
    def rank_mean(self) -> Matrix:
        """Mean over all pairs of different views, `[ranks]`."""
        return np.asarray(np.nanmean(self.per_probe_view, axis=-1))

    @property
    def rank1(self) -> float:
        """The figure tables quote."""
        return float(self.rank_mean[0])


@dataclass(frozen=True, slots=True)
class CrossView:
    """Rank-1 and mean average precision over a gallery of all views, for one walking condition."""

    per_view: Matrix
    """`[views, 2]` (rank-1, mean average precision) as fractions; NaN where no probe has a match."""

    @property
    def rank1(self) -> float:
        """Mean over views of the percentages rounded to two decimals."""
        return float(np.nanmean(np.round(self.per_view[:, 0] * 100.0, 2)))

    @property
    def mean_ap(self) -> float:
        """Mean over views of the percentages rounded to two decimals."""
        return float(np.nanmean(np.round(self.per_view[:, 1] * 100.0, 2)))


def single_view(
    data: Sequences,
    probes: Mapping[str, tuple[str, ...]],
    gallery: tuple[str, ...],
    *,
    metric: Metric = "euc",
    ranks: int = 1,
    substring: bool = False,
) -> dict[str, ViewPairs]:
    """Probe and gallery of one view each, for every pair of views."""
    views = sorted(set(data.views.tolist()))
    entries = data.of_types(gallery, substring=substring)
    return {
        condition: _view_pairs(data.of_types(names, substring=substring), entries, views, metric, ranks)
        for condition, names in probes.items()
    }


def _view_pairs(
    asked: Sequences,
    entries: Sequences,
    views: list[str],
    metric: Metric,
    ranks: int = 1,
    distances: Matrix | None = None,
) -> ViewPairs:
    """Rank-k of each pair of views, nothing removed; NaN where a view has no probes or no gallery.

    Distances that are not given are computed for one pair of views at a time: all of them would not fit into
    memory for OU-MVLP.
    """
    matrix = np.full((ranks, len(views), len(views)), np.nan)
    for i, probe_view in enumerate(views):
        rows = np.flatnonzero(asked.views == probe_view)
        for j, gallery_view in enumerate(views):
            columns = np.flatnonzero(entries.views == gallery_view)
            if not len(rows) or not len(columns):
                continue
            if distances is None:
                found = pairwise(asked.embeddings[rows], entries.embeddings[columns], metric)
            else:
                found = distances[np.ix_(rows, columns)]
            matrix[:, i, j] = rank_k(found, asked.ids[rows], entries.ids[columns], ranks)
    return ViewPairs(matrix)


def casia_b(data: Sequences, metric: Metric = "euc") -> dict[str, ViewPairs]:
    """CASIA-B and CASIA-B*: rank-1 by view pair for NM, BG and CL."""
    return single_view(data, CASIA_B_PROBES, CASIA_B_GALLERY, metric=metric)


def sustech1k(data: Sequences, metric: Metric = "euc") -> dict[str, ViewPairs]:
    """SUSTech1K: rank-1 to rank-5 by view pair for nine conditions, matched by substring."""
    return single_view(data, SUSTECH1K_PROBES, SUSTECH1K_GALLERY, metric=metric, ranks=5, substring=True)


def casia_b_cross_view(data: Sequences, metric: Metric = "euc") -> dict[str, CrossView]:
    """CASIA-B against a gallery of all views; the probe's own view of the same person is removed."""
    entries = data.of_types(CASIA_B_CROSS_GALLERY)
    views = sorted(set(data.views.tolist()))
    result = {}
    for condition, names in CASIA_B_CROSS_PROBES.items():
        asked = data.of_types(names)
        rows = []
        for view in views:
            found = _retrieve(asked.where(asked.views == view), entries, metric)
            rows.append((np.nan, np.nan) if found is None else (found.rank1 / 100.0, found.mean_ap / 100.0))
        result[condition] = CrossView(np.array(rows))
    return result


def _retrieve(probe: Sequences, gallery: Sequences, metric: Metric) -> Retrieval | None:
    """Retrieval without the probe's own view; None where no probe has a match."""
    same = probe.ids[:, None] == gallery.ids[None]
    if not (same & (probe.views[:, None] != gallery.views[None])).any():
        return None
    dist = pairwise(probe.embeddings, gallery.embeddings, metric)
    return retrieve(dist, probe.ids, gallery.ids, probe.views, gallery.views)


@dataclass(frozen=True, slots=True)
class ClothChange:
    """CCPG's two ways of counting, for one change of clothes."""

    retrieval: Retrieval
    """Gallery entries with the probe's identity and camera removed."""
    cameras: ViewPairs
    """Rank-1 by pair of cameras, nothing removed."""

    @property
    def rank1_include_identical(self) -> float:
        """Mean over all pairs of cameras."""
        return float(np.nanmean(self.cameras.matrix))


def ccpg(data: Sequences, metric: Metric = "euc") -> dict[str, ClothChange]:
    """CCPG: full (CL), upper (UP) and lower (DN) change of clothes and bags (BG)."""
    cameras = np.array([view.partition("_")[0] for view in data.views.tolist()], np.str_)
    data = Sequences(data.embeddings, data.ids, data.types, cameras)
    views = sorted(set(cameras.tolist()))
    result = {}
    for condition, (probe_types, gallery_types) in CCPG.items():
        asked, entries = data.of_types(probe_types), data.of_types(gallery_types)
        dist = pairwise(asked.embeddings, entries.embeddings, metric)
        found = retrieve(dist, asked.ids, entries.ids, asked.views, entries.views, max_rank=20)
        pairs = _view_pairs(asked, entries, views, metric, distances=dist)
        result[condition] = ClothChange(found, pairs)
    return result


@dataclass(frozen=True, slots=True)
class CrossCovariate:
    """CCGR: probes of every condition against galleries of one condition each, by pairs of views."""

    conditions: tuple[str, ...]
    """Of the probes."""
    galleries: tuple[str, ...]
    """Conditions of the galleries."""
    rank_k: Matrix
    """Mean over all pairs of different views, `[galleries, probe conditions, ranks]`; NaN without pairs."""

    def hard(self, k: int) -> float:
        """Rank-k over all galleries, each searched by probes of all other conditions."""
        return float(np.mean([self._of(gallery, k) for gallery in self.galleries]))

    def easy(self, k: int) -> float:
        """Rank-k in the gallery of normal walking, searched by probes of all other conditions."""
        return self._of(CCGR_EASY, k)

    def _of(self, gallery: str, k: int) -> float:
        others = np.array([condition != gallery for condition in self.conditions])
        return float(np.nanmean(self.rank_k[self.galleries.index(gallery), others, k - 1]))


def ccgr(
    data: Sequences, metric: Metric = "euc", galleries: tuple[str, ...] | None = None, ranks: int = 5
) -> CrossCovariate:
    """CCGR: rank-k for every pair of conditions.

    Args:
        data: the test set.
        metric: of the embeddings.
        galleries: conditions of the galleries; all there are when None, which takes long on the whole set.
        ranks: how many.

    Raises:
        GaitstreamError: the data set lacks a gallery's condition, or has but one.
    """
    conditions = tuple(sorted(set(data.types.tolist())))
    galleries = conditions if galleries is None else galleries
    if CCGR_EASY not in conditions or len(conditions) < 2:
        raise GaitstreamError(
            f"CCGR's gallery of normal walking has the type {CCGR_EASY}, and probes have others: the data "
            f"set has {', '.join(conditions)}"
        )
    probes = {condition: (condition,) for condition in conditions}
    found = [single_view(data, probes, (gallery,), metric=metric, ranks=ranks) for gallery in galleries]
    means = [[pairs[condition].rank_mean for condition in conditions] for pairs in found]
    return CrossCovariate(conditions, galleries, np.array(means))

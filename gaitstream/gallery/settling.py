"""Which visitors are one stranger: average linkage over all of them, on normalised distances.

One walk at a time is joined to what is near enough for sure; that leaves a stranger in several visitors. Seen
together they can be told apart better: a distance between two windows is divided by how far each is from the
nearest windows of other visitors, so that an ordinary gait needs to be nearer than a rare one (a symmetric
score normalisation, as in Auckenthaler et al. 2000, with the site's own visitors as the cohort). Then the
two nearest visitors are joined, again and again, while their mean distance is at most `LIMIT`. No store, no
clock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gaitstream.gallery.searches import Floats, part_distances

LIMIT = 0.9
"""Largest mean distance of one stranger's windows, in that of the cohort."""
SKIPPED, COHORT = 0.015, 0.06
"""The cohort, as shares of all other visitors by their distance: the nearest may be the same stranger."""
SAME = 3
"""Of the nearest, so many are left out at least."""
FEWEST = 180
"""Visitors from which on there is a cohort to speak of."""

Windows = Mapping[str, Floats]
"""float32 `[n, parts, dim]` by model."""


def same_strangers(
    visitors: Sequence[Windows], weights: Mapping[str, float], apart: Collection[tuple[int, int]] = ()
) -> list[list[int]]:
    """Groups of visitors, by their places, that are one stranger each; nothing of those who are alone.

    Args:
        visitors: their windows.
        weights: of the models.
        apart: pairs who are never joined.
    """
    if len(visitors) < FEWEST:
        return []
    total, shares = np.zeros((len(visitors),) * 2), np.zeros((len(visitors),) * 2)
    for model in sorted({model for held in visitors for model in held}):
        means = _relative(visitors, model)
        known = np.isfinite(means)
        total[known] += weights.get(model, 1.0) * means[known]
        shares[known] += weights.get(model, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(shares > 0, total / shares, np.inf)
    for one, other in apart:
        means[one, other] = means[other, one] = np.inf
    counts = np.array([sum(len(windows) for windows in held.values()) for held in visitors], np.float64)
    return _join(means, counts)


def _relative(visitors: Sequence[Windows], model: str) -> NDArray[np.float64]:
    """Mean distance between visitors in that of their cohorts, `[v, v]`; infinite where there is none."""
    places = [place for place, held in enumerate(visitors) if len(held.get(model, ()))]
    out = np.full((len(visitors),) * 2, np.inf)
    if len(places) < FEWEST:
        return out
    held = [visitors[place][model] for place in places]
    windows = np.concatenate(held)
    starts = np.cumsum([0, *map(len, held)])[:-1]
    counts = np.array([len(one) for one in held], np.float64)
    each = part_distances(windows, windows)
    nearest = np.minimum.reduceat(each, starts, axis=1)
    nearest[np.arange(len(windows)), np.repeat(np.arange(len(held)), counts.astype(int))] = np.inf
    first, last = max(SAME, round(SKIPPED * len(held))), round(COHORT * len(held))
    cohort = np.sort(nearest, axis=1)[:, first:last].mean(axis=1)
    each /= np.sqrt(np.outer(cohort, cohort))
    sums = np.add.reduceat(np.add.reduceat(each, starts, axis=1), starts, axis=0)
    out[np.ix_(places, places)] = sums / np.outer(counts, counts)
    return out


def _join(means: NDArray[np.float64], counts: NDArray[np.float64]) -> list[list[int]]:
    """Average linkage until nothing is near enough."""
    groups = [[place] for place in range(len(counts))]
    np.fill_diagonal(means, np.inf)
    while True:
        one, other = sorted(divmod(int(means.argmin()), len(counts)))
        if means[one, other] > LIMIT:
            return [group for group in groups if len(group) > 1]
        row = (counts[one] * means[one] + counts[other] * means[other]) / (counts[one] + counts[other])
        row[[one, other]] = np.inf
        means[one], means[:, one] = row, row
        means[other], means[:, other] = np.inf, np.inf
        counts[one] += counts[other]
        groups[one] += groups[other]
        groups[other] = []

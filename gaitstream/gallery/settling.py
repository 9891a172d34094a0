"""Which walks are one stranger's: average linkage over all of them, on normalised distances.

One walk at a time is given to the nearest visitor; that leaves a stranger in several visitors, and now and
then two in one. Seen together walks can be told apart better: the distance between two of them is divided by
how far each is from the walks nearest to it, so that an ordinary gait needs to be nearer than a rare one (a
symmetric score normalisation, as in Auckenthaler et al. 2000, with the site's own walks as the cohort). Then
the two nearest groups are joined, again and again, while their mean distance is small enough (Sokal and
Michener 1958). No store, no clock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from gaitstream.gallery.searches import Floats, part_distances

LIMIT = 0.95
"""Largest mean distance of one stranger's walks, in that of the cohort."""
REACH = 1.3
"""And in linking distances: where everybody is far from everybody, the nearest are still two."""
SKIPPED, COHORT = 0.008, 0.055
"""The cohort, as shares of all other walks by their distance: the nearest may be the same stranger's."""
FEWEST = 150
"""Walks from which on there is a cohort to speak of."""
_NEVER = 1e6
"""Stands for an infinite distance; a mean with one of them is beyond the limit in any group."""

Windows = Mapping[str, Floats]
"""float32 `[n, parts, dim]` by model."""


def same_strangers(
    walks: Sequence[Windows],
    linking: Mapping[str, float],
    weights: Mapping[str, float],
    together: Collection[Collection[int]] = (),
    apart: Collection[tuple[int, int]] = (),
) -> list[list[int]]:
    """Groups of walks, by their places, that are one stranger each; none where there are too few to tell.

    Args:
        walks: their windows.
        linking: the linking distance by model; a model without one takes no part.
        weights: of the models.
        together: walks that are one stranger's, whatever their distances are.
        apart: pairs of walks that are never one stranger's.
    """
    if len(walks) < FEWEST:
        return []
    total, shares = np.zeros((len(walks),) * 2), np.zeros((len(walks),) * 2)
    for model in sorted(linking):
        means = _scores(walks, model, linking[model])
        known = np.isfinite(means)
        total[known] += weights.get(model, 1.0) * means[known]
        shares[known] += weights.get(model, 1.0)
    means = np.divide(total, shares, out=np.full_like(total, _NEVER), where=shares > 0)
    for group in together:
        means[np.ix_(list(group), list(group))] = 0
    for one, other in apart:
        means[one, other] = means[other, one] = _NEVER
    labels = fcluster(linkage(squareform(means, checks=False), "average"), 1.0, "distance")
    groups: dict[int, list[int]] = {}
    for place, label in enumerate(labels.tolist()):
        groups.setdefault(label, []).append(place)
    return list(groups.values())


def _scores(walks: Sequence[Windows], model: str, linking: float) -> NDArray[np.float64]:
    """Mean distance between walks in that of the limits, `[n, n]`; infinite where there is none."""
    places = [place for place, held in enumerate(walks) if len(held.get(model, ()))]
    out = np.full((len(walks),) * 2, np.inf)
    if len(places) < FEWEST:
        return out
    held = [walks[place][model] for place in places]
    windows = np.concatenate(held)
    starts = np.cumsum([0, *map(len, held)])[:-1]
    counts = np.array([len(one) for one in held], np.float64)
    sums = np.add.reduceat(np.add.reduceat(part_distances(windows, windows), starts, axis=1), starts, axis=0)
    means = sums / np.outer(counts, counts)
    np.fill_diagonal(means, np.inf)
    first = max(1, round(SKIPPED * len(held)))
    last = max(first + 3, round(COHORT * len(held)))
    cohort = np.sort(means, axis=1)[:, first:last].mean(axis=1)
    relative = means / np.sqrt(np.outer(cohort, cohort))
    out[np.ix_(places, places)] = np.maximum(relative / LIMIT, means / (REACH * linking))
    return out

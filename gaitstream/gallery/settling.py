"""Which walks are one stranger's: average linkage over all of them, on distances in relation to strangers.

One walk at a time is given to the nearest visitor; that leaves a stranger in several visitors, and now and
then two in one. Seen together walks can be told apart better: distances are put in relation to how near
strangers' walks come (see `cohorts`), and the two nearest groups are joined, again and again, while their
mean distance is small enough (Sokal and Michener 1958). How small depends on how often somebody came for
sure: a single walk that is like another is more likely another stranger's than one that is like many. What
came for sure is what was grouped before, beginning with the linking distance alone. No store, no clock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gaitstream.gallery.cohorts import Doubles, Labels, in_cohorts, linking_unit
from gaitstream.gallery.searches import Floats, part_distances

ONCE, OFTEN = 0.76, 0.95
"""Largest mean distance of one stranger's walks, in that of strangers: who came once, and often."""
OFTEN_WALKS = 8
"""Walks from which on somebody came often."""
ROUNDS = 3
"""Times that walks are grouped, each time by how often everybody came in the one before."""
_NEVER = 1e6
"""Stands for an infinite distance; a mean with one of them is beyond the limit in any group."""

Windows = Mapping[str, Floats]
"""float32 `[n, parts, dim]` by model."""


@dataclass(frozen=True)
class SeenWalks:
    """Walks that are looked at together.

    Attributes:
        windows: of each.
        cameras: which saw each.
        together: walks, by their places, that are one stranger's, whatever their distances are.
        apart: pairs of walks that are never one stranger's.
    """

    windows: Sequence[Windows]
    cameras: Sequence[str]
    together: Collection[Collection[int]] = ()
    apart: Collection[tuple[int, int]] = ()


def same_strangers(
    walks: SeenWalks, linking: Mapping[str, float], weights: Mapping[str, float]
) -> list[list[int]]:
    """Groups of walks, by their places, that are one stranger each.

    Args:
        walks: all that are looked at.
        linking: the linking distance by model; a model without one takes no part.
        weights: of the models.
    """
    count = len(walks.windows)
    if count < 2:
        return [[place] for place in range(count)]
    means = {model: _means(walks.windows, model) for model in sorted(linking)}
    near = {model: means[model] / linking[model] for model in means}
    labels = _grouped(walks, _fused(count, near, weights))
    for model in means:
        means[model] /= linking_unit(means[model], labels, linking[model])
    labels = _grouped(walks, _fused(count, means, weights))
    cohorts = {model: in_cohorts(means[model], labels, walks.cameras) for model in means}
    relative = _fused(count, cohorts, weights)
    for _ in range(ROUNDS):
        labels = _grouped(walks, relative / _limits(labels))
    groups: dict[int, list[int]] = {}
    for place, label in enumerate(labels.tolist()):
        groups.setdefault(label, []).append(place)
    return list(groups.values())


def _limits(labels: Labels) -> Doubles:
    """Largest mean distance for each two walks `[n, n]`, by how often the one who came more often came."""
    walks = np.bincount(labels)[labels]
    often = np.minimum(np.log(walks) / np.log(OFTEN_WALKS), 1)
    return np.asarray(ONCE + (OFTEN - ONCE) * np.maximum.outer(often, often), np.float64)


def _fused(count: int, distances: Mapping[str, Doubles], weights: Mapping[str, float]) -> Doubles:
    """Weighted mean of the models' distances, `[count, count]` each; `_NEVER` where no model has one."""
    total, shares = np.zeros((count, count)), np.zeros((count, count))
    for model, each in distances.items():
        known = np.isfinite(each)
        total[known] += weights.get(model, 1.0) * each[known]
        shares[known] += weights.get(model, 1.0)
    return np.divide(total, shares, out=np.full_like(total, _NEVER), where=shares > 0)


def _grouped(walks: SeenWalks, distances: Doubles) -> Labels:
    """Average linkage on distances in those of the limit; the array is changed."""
    # Here: it takes a quarter of a second, and every run has this module, whether it links strangers or not.
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    for group in walks.together:
        distances[np.ix_(list(group), list(group))] = 0
    for one, other in walks.apart:
        distances[one, other] = distances[other, one] = _NEVER
    tree = linkage(squareform(distances, checks=False), "average")
    return np.asarray(fcluster(tree, 1.0, "distance"), np.intp)


def _means(walks: Sequence[Windows], model: str) -> Doubles:
    """Mean distances between walks, `[n, n]`; infinite where there is none, and of a walk with itself."""
    places = [place for place, held in enumerate(walks) if len(held.get(model, ()))]
    out = np.full((len(walks),) * 2, np.inf)
    if not places:
        return out
    held = [walks[place][model] for place in places]
    windows = np.concatenate(held)
    starts = np.cumsum([0, *map(len, held)])[:-1]
    counts = np.array([len(one) for one in held], np.float64)
    sums = np.add.reduceat(np.add.reduceat(part_distances(windows, windows), starts, axis=1), starts, axis=0)
    means = sums / np.outer(counts, counts)
    np.fill_diagonal(means, np.inf)
    out[np.ix_(places, places)] = means
    return out

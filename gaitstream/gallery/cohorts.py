"""How near a stranger's walks usually come to a walk: the measure of distances between walks.

An ordinary gait has many that are like it, a rare one has none, and before one camera everybody looks more
like each other than before two. So a distance between two walks is divided by how far each is from the walks
nearest to it before the other's camera (a symmetric score normalisation, as in Auckenthaler et al. 2000, with
the site's own walks as the cohort). Where few people make most of the walks, those nearest are the same
person's: a cohort is never nearer than strangers usually are, and counts less the fewer walks it is of. No
store, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SKIPPED, COHORT = 0.008, 0.055
"""The cohort, as shares of all other walks by their distance: the nearest may be the same stranger's."""
USUAL, NEAREST, FARTHEST = 1.3, 1.15, 1.45
"""Mean distance of a cohort of strangers, in linking distances: mostly, and at least and at most."""
MEDIAN = 1.67
"""Median distance between two strangers' walks, in linking distances."""
WALKS, CAMERA_WALKS, PEOPLE = 50, 20, 10
"""A cohort of so many walks, in all and before one camera, and a median among so many people count half."""

Doubles = NDArray[np.float64]


def linking_unit(means: Doubles, labels: NDArray[np.intp], linking: float) -> float:
    """The linking distance, or what the site's strangers say it should be where that is less.

    Args:
        means: mean distances between walks `[n, n]`.
        labels: of groups of walks that are one stranger's for sure, `[n]`.
        linking: the linking distance.
    """
    strangers = means[labels[:, None] != labels[None]]
    strangers = strangers[np.isfinite(strangers)]
    if not len(strangers):
        return linking
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    others = 1 / float((shares**2).sum()) - 1  # how many people there were if all came equally often
    told = float(np.median(strangers)) / MEDIAN
    return min(linking, (PEOPLE * linking + others * told) / (PEOPLE + others))


def in_cohorts(means: Doubles, cameras: Sequence[str]) -> Doubles:
    """Distances in relation to how near strangers come.

    Args:
        means: mean distances between walks `[n, n]`, in linking distances; infinite where there is none, and of
            a walk with itself.
        cameras: which saw each walk.
    """
    known = np.isfinite(means).any(axis=1)
    usual = np.full(len(means), USUAL)
    usual[known] = _cohort(means[np.ix_(known, known)], usual[known], WALKS)
    towards = np.empty_like(means)
    for camera in sorted(set(cameras)):
        before = np.array([one == camera for one in cameras])
        towards[:, before] = usual[:, None]
        if (known & before).any():
            seen = means[np.ix_(known, known & before)]
            towards[np.ix_(known, before)] = _cohort(seen, usual[known], CAMERA_WALKS)[:, None]
    towards = towards.clip(NEAREST, FARTHEST)
    return means / np.sqrt(towards * towards.T)


def _cohort(means: Doubles, usual: Doubles, half: int) -> Doubles:
    """Mean distance of walks to the nearest of others `[n, others]`, drawn towards a usual one; `[n]`.

    Args:
        means: infinite on the diagonal, of a walk with itself.
        usual: mean distance where nothing is known, `[n]`.
        half: others that count as much as it.
    """
    count = means.shape[1]
    first = max(1, round(SKIPPED * count))
    last = min(max(first + 3, round(COHORT * count)), count - 1)
    if last <= first:
        return usual
    nearest = np.partition(means, range(first, last), axis=1)[:, first:last].mean(axis=1)
    return np.asarray((count * nearest + half * usual) / (count + half), np.float64)

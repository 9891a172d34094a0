"""How near a stranger's walks usually come to a walk: the measure of distances between walks.

An ordinary gait has many that are like it, a rare one has none, and before one camera everybody looks more
like each other than before two. So a distance between two walks is divided by how far each is from the walks
nearest to it before the other's camera (a symmetric score normalisation, as in Auckenthaler et al. 2000, with
the site's own walks as the cohort). Where few people make most of the walks, those nearest are the same
person's: a cohort is never nearer than strangers usually are, and counts less the fewer people it is of. No
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
SITE_PEOPLE, CAMERA_PEOPLE, MEDIAN_PEOPLE = 30, 15, 10
"""Other people of whom a cohort, one before a camera, and a median count as much as what is usual."""

Doubles = NDArray[np.float64]
Labels = NDArray[np.intp]
"""Of each walk's group, `[n]`."""


def linking_unit(means: Doubles, labels: Labels, linking: float) -> float:
    """The linking distance, or what the site's strangers say it should be where that is less.

    Args:
        means: mean distances between walks `[n, n]`; infinite where there is none.
        labels: of walks that are one stranger's for sure.
        linking: the linking distance.
    """
    strangers = means[labels[:, None] != labels[None]]
    strangers = strangers[np.isfinite(strangers)]
    if not len(strangers):
        return linking
    told, share = float(np.median(strangers)) / MEDIAN, _share(labels, MEDIAN_PEOPLE)
    return min(linking, share * told + (1 - share) * linking)


def in_cohorts(means: Doubles, labels: Labels, cameras: Sequence[str]) -> Doubles:
    """Distances in relation to how near strangers come.

    Args:
        means: mean distances between walks `[n, n]`, in linking distances; infinite where there is none, and
            of a walk with itself.
        labels: of walks that are one stranger's for sure.
        cameras: which saw each walk.
    """
    known = np.isfinite(means).any(axis=1)
    towards = np.full_like(means, USUAL)
    usual = _cohort(
        means[np.ix_(known, known)], np.full(known.sum(), USUAL), _share(labels[known], SITE_PEOPLE)
    )
    for camera in sorted(set(cameras)):
        before = known & np.array([one == camera for one in cameras])
        here = np.ix_(known, before)
        towards[here] = _cohort(means[here], usual, _share(labels[before], CAMERA_PEOPLE))[:, None]
    towards = towards.clip(NEAREST, FARTHEST)
    return means / np.sqrt(towards * towards.T)


def _share(labels: Labels, half: int) -> float:
    """How much walks count beside what is usual, of which so many people count as much as it."""
    if not len(labels):
        return 0.0
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    others = 1 / float((shares**2).sum()) - 1  # how many others there were if all came equally often
    return others / (others + half)


def _cohort(means: Doubles, usual: Doubles, share: float) -> Doubles:
    """Mean distance of walks to the nearest of others `[n, others]`, drawn towards the usual one; `[n]`.

    Args:
        means: infinite for a walk with itself.
        usual: mean distance where nothing is known, `[n]`.
        share: what others count beside it, up to 1.
    """
    count = means.shape[1]
    first = max(1, round(SKIPPED * count))
    last = min(max(first + 3, round(COHORT * count)), count - 1)
    if last <= first:
        return usual
    nearest = np.partition(means, range(first, last), axis=1)[:, first:last].mean(axis=1)
    return np.asarray(share * nearest + (1 - share) * usual, np.float64)

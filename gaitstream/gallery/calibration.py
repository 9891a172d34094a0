"""A threshold and a margin from the gallery's own templates, and what they can be trusted with.

Every template is searched for in the gallery as if it came from outside. Left out its own person, it is a
stranger: its distance to the nearest template of anybody else is an impostor distance, and the share of
impostor distances at or under a threshold estimates the false positive identification rate (FPIR), the share
of strangers' searches that end with a name. Its distance to the nearest other template of its own person is
a genuine distance. What was enrolled from one walk lies closer together than two walks on different days:
genuine distances say too little about people who come back, so with people enough the FPIR alone decides.

The guarantee, in full: strangers who are drawn as the enrolled people were (same cameras, same kind of walks)
and search with one window against the nearest template of everybody have an FPIR inside `fpir_range` for
about 95 of 100 galleries. Averaging several windows or templates and the margin lower it. It says nothing
about the distances of two fused models, nor about strangers of another population.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream.gallery.matching import Matcher
from gaitstream.gallery.searches import Search, search_all

Floats = NDArray[np.float32]
AIM = 0.01
"""The FPIR aimed for."""
MOST_AIM = 0.5
"""An FPIR that may be aimed for is lower."""
ENOUGH = 500
"""Persons from which on the FPIR sets the threshold. A false match names two persons, so at the aim 500 have
two: with fewer, a single person enrolled under two names would set it."""
_Z95 = 1.96


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """The values to decide with, and how they were found.

    Attributes:
        threshold: largest distance at which a person is known.
        margin: smallest lead over the second person.
        genuine: how many genuine distances it rests on.
        impostor: how many impostor distances it rests on.
        persons: whose templates gave the impostor distances.
        aim: the FPIR the threshold was chosen for; None below `ENOUGH` persons, by a rule of thumb.
        fpir: estimated at the threshold; None without impostor distances.
        fpir_range: its 95% interval; `(0, 1)` without impostor distances.
        fnir: share of genuine distances over the threshold, optimistic where they are from one walk; None
            without genuine distances.
    """

    threshold: float
    margin: float
    genuine: int
    impostor: int
    persons: int
    aim: float | None
    fpir: float | None
    fpir_range: tuple[float, float]
    fnir: float | None


def calibrate(matcher: Matcher) -> Calibration | None:
    """Choose a threshold and a margin from a gallery's templates; see `conclude`."""
    return conclude(search_all(matcher, range(len(matcher.templates))).found)


def conclude(searches: Sequence[Search], target: float | None = None) -> Calibration | None:
    """Choose a threshold and a margin.

    From `ENOUGH` persons on, the threshold is the largest at which the estimated FPIR is at most `AIM`. With
    fewer it is a rule of thumb that aims for no rate: midway between the 95th percentile of the genuine and
    the 5th of the impostor distances; with one template each, 3/4 of the 5th percentile of the impostor
    distances; with one person of several templates, 1.5 times the largest genuine distance. The margin is
    always a rule of thumb: a tenth of the room between the medians.

    Args:
        searches: what it rests on.
        target: the FPIR to aim for instead, with any number of persons.

    Returns:
        None when there is neither a second person nor a second template.
    """
    genuine = np.array([one.genuine for one in searches if one.genuine is not None], np.float32)
    strangers = [one for one in searches if one.others]
    impostor = np.array([one.others[0][0] for one in strangers], np.float32)
    owner = np.array([one.person for one in strangers])
    if not len(genuine) and not len(impostor):
        return None
    persons, weights = per_person(owner)
    aim = target or (AIM if persons >= ENOUGH else None)
    threshold = (
        largest_threshold(impostor, weights, aim) if aim and persons else _rule_of_thumb(genuine, impostor)
    )
    room = float(np.median(impostor) - np.median(genuine)) if len(genuine) and len(impostor) else 0.0
    share = fpir_at(impostor, weights, threshold) if persons else None
    return Calibration(
        threshold=threshold,
        margin=0.1 * max(0.0, room),
        genuine=len(genuine),
        impostor=len(impostor),
        persons=persons,
        aim=aim,
        fpir=share,
        fpir_range=(0.0, 1.0) if share is None else fpir_interval(share, persons / 2),
        fnir=float((genuine > threshold).mean()) if len(genuine) else None,
    )


def describe(calibration: Calibration) -> list[str]:
    """What the threshold aims for and what it rests on, a sentence a line."""
    aim, share = calibration.aim, calibration.fpir
    if aim is not None:
        lines = [f"chosen for a false positive rate (FPIR) of {aim:.1%} of strangers' searches"]
    else:
        lines = [f"by a rule of thumb; from {ENOUGH} people on it aims for a false positive rate (FPIR)"]
    if share is not None:
        low, high = calibration.fpir_range
        lines.append(
            f"FPIR {share:.1%}, 95% interval {low:.1%} to {high:.1%}, from {calibration.impostor} searches "
            f"of {calibration.persons} people among the others"
        )
    else:
        lines.append("FPIR unknown: it takes a second person")
    if calibration.fnir is not None:
        lines.append(
            f"{calibration.fnir:.1%} of {calibration.genuine} searches miss the person's other templates; on "
            "another day more will"
        )
    return lines


def _rule_of_thumb(genuine: Floats, impostor: Floats) -> float:
    if len(genuine) and len(impostor):
        return float(np.percentile(genuine, 95) + np.percentile(impostor, 5)) / 2
    return 0.75 * float(np.percentile(impostor, 5)) if len(impostor) else 1.5 * float(genuine.max())


def largest_threshold(impostor: Floats, weights: NDArray[np.float64], aim: float) -> float:
    """Largest impostor distance at or under which lies a share of at most `aim`; below all when none does."""
    order = np.argsort(impostor)
    # The two distances of a pair may differ in their last bits and must stay together.
    ordered = impostor[order] * np.float32(1 + 1e-5)
    shares = np.cumsum(weights[order])[np.searchsorted(impostor[order], ordered, side="right") - 1]
    within = int((shares <= aim + 1e-9).sum())
    return float(ordered[within - 1]) if within else float(impostor[order[0]]) * (1 - 1e-5)


def least_aim(count: int) -> str:
    """What else may be aimed for with so many people, as the end of a message; nothing for too few."""
    share = math.ceil(1e4 / count) / 1e4 if count else 1.0  # rounded up: it has to be enough as it is shown
    return f", or aim for {share:.2%} or more" if share < MOST_AIM else ""


def per_person(owner: NDArray[np.str_]) -> tuple[int, NDArray[np.float64]]:
    """How many persons searched, and the weight of each search: every person counts the same."""
    _, index, counts = np.unique(owner, return_inverse=True, return_counts=True)
    return len(counts), 1 / (counts[index] * max(1, len(counts)))


def fpir_at(distances: Floats, weights: NDArray[np.float64], threshold: float) -> float:
    """Weighted share of strangers' searches at or under a threshold."""
    return float(weights[distances <= threshold].sum())


def fpir_interval(share: float, strangers: float) -> tuple[float, float]:
    """95% interval of the FPIR: of a Poisson count, by Byar's approximation (Breslow and Day 1987, eq. 2.13).

    It holds for a threshold that was chosen to let this share through, too.

    Args:
        share: of the searches that were false positives, every stranger counting the same.
        strangers: how many there are who do not depend on each other. Two who are enrolled count as one: when
            A is taken for B, B is taken for A, so false matches come in pairs.
    """
    count = share * strangers
    more = count + 1
    low = count * max(0.0, 1 - 1 / (9 * count) - _Z95 / (3 * math.sqrt(count))) ** 3 if count else 0.0
    high = more * (1 - 1 / (9 * more) + _Z95 / (3 * math.sqrt(more))) ** 3
    return low / strangers, min(1.0, high / strangers)

"""A threshold and a margin to begin with: the gallery's own, the packaged model's, or from the walks seen.

Before anybody is enrolled nothing says who is who, but two things are sure: windows of one track that share
no frame are of one person, and tracks that one camera sees at the same time are of different ones. The rule
of thumb of `gallery.calibration` makes a threshold of these distances. It lasts until a gallery of enrolled
people has one of its own: two days of one person are further apart than two windows of one walk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gaitstream import zoo
from gaitstream.errors import GalleryError
from gaitstream.gallery.calibration import Calibration, conclude
from gaitstream.gallery.searches import Search, part_distances
from gaitstream.pipeline.known import open_configured
from gaitstream.tune.finding import Finding
from gaitstream.tune.seen import SiteSeen, WindowSeen

ENOUGH_TRACKS = 10
"""Tracks that must have two windows apart, and as many that must have company, for a rule of thumb."""
AT = ("gallery",)


def advise_thresholds(site: SiteSeen) -> Iterator[Finding]:
    """Threshold and margin to begin with, or why there are none."""
    models = list(site.config.models.recognizers)
    if len(models) != 1:
        how = "no recognizer is configured" if not models else f"distances of {len(models)} models are fused"
        yield Finding(AT, f"threshold: {how}: none is set")
        return
    if (known := _of_gallery(site, models[0])) is not None:
        yield known
        return
    if site.config.gallery.threshold is not None:
        yield Finding(AT, "threshold: the file's own stays")
        return
    packaged = zoo.advice()
    if site.fingerprints.get(models[0]) == packaged.fingerprint:
        said = f"of the packaged model: {packaged.fpir:.1%} of strangers are given a name at it"
        yield from _set(said, packaged.threshold, packaged.margin)
        gained = "several windows of a track may be so much further, at the same rate of wrong names"
        yield Finding((*AT, "threshold_gain"), gained, packaged.gain)
        return
    yield from _from_walks(site.windows.get(models[0], []))


def _of_gallery(site: SiteSeen, model: str) -> Finding | None:
    """What the gallery says, where there is one that has a threshold."""
    try:
        gallery = open_configured(site.config)
    except GalleryError as error:
        return Finding(AT, f"threshold: the gallery was not asked: {error}")
    if gallery is None:
        return None
    with gallery:
        threshold, _ = gallery.thresholds(model)
    if threshold is None:
        return None
    return Finding(
        AT, f"threshold: the gallery has its own, {threshold:.4f}; 'gallery info' says how good it is"
    )


def _from_walks(windows: Sequence[WindowSeen]) -> Iterator[Finding]:
    searches = searches_of(windows)
    apart, company = (
        sum(one.genuine is not None for one in searches),
        sum(bool(one.others) for one in searches),
    )
    if min(apart, company) < ENOUGH_TRACKS:
        yield Finding(
            AT,
            f"threshold: {apart} tracks with two windows apart and {company} with company are too few to "
            f"choose by, it takes {ENOUGH_TRACKS} of each; a gallery has its own once people are enrolled",
        )
        return
    found = conclude(searches)
    if found is None or not _divides(searches, found):
        yield Finding(
            AT, "threshold: windows of one walk and of different people are about as far apart: none is set"
        )
        return
    said = (
        f"midway between {apart} distances within one walk and {company} between people seen together; to "
        "begin with: take it out once people are enrolled, then the gallery has its own"
    )
    yield from _set(said, found.threshold, found.margin)


def searches_of(windows: Sequence[WindowSeen]) -> list[Search]:
    """One search a track: its first window among its later ones, and among those of tracks seen with it."""
    by_track: dict[tuple[str, int], list[WindowSeen]] = {}
    for window in windows:
        by_track.setdefault((window.camera, window.track), []).append(window)
    found = []
    for number, (track, mine) in enumerate(by_track.items()):
        apart = [one for one in mine if one.first_ns > mine[0].last_ns]
        others = [
            (_nearest(mine[0], theirs), f"{other[0]} {other[1]}")
            for other, theirs in by_track.items()
            if other[0] == track[0] and other != track and _meet(mine, theirs)
        ]
        genuine = _nearest(mine[0], apart) if apart else None
        found.append(Search(number, f"{track[0]} {track[1]}", genuine, sorted(others), None))
    return found


def _divides(searches: Sequence[Search], found: Calibration) -> bool:
    """Whether most windows of one walk lie within the threshold, and most of others beyond it."""
    within = [one.genuine <= found.threshold for one in searches if one.genuine is not None]
    beyond = [one.others[0][0] > found.threshold for one in searches if one.others]
    return bool(np.mean(within) > 0.9 and np.mean(beyond) > 0.9)


def _nearest(window: WindowSeen, others: Sequence[WindowSeen]) -> float:
    return float(part_distances(window.parts[None], np.stack([one.parts for one in others])).min())


def _meet(mine: Sequence[WindowSeen], theirs: Sequence[WindowSeen]) -> bool:
    return mine[0].first_ns <= theirs[-1].last_ns and theirs[0].first_ns <= mine[-1].last_ns


def _set(said: str, threshold: float, margin: float) -> Iterator[Finding]:
    yield Finding((*AT, "threshold"), said, round(threshold, 4))
    yield Finding((*AT, "margin"), "least lead over the second person, from the same", round(margin, 4))

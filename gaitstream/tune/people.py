"""How large people are, which of their frames are worth having, and why the others are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from gaitstream.data import Reason
from gaitstream.pipeline.verdict import SMALL_PX
from gaitstream.telemetry.display import HINTS
from gaitstream.tune.finding import Finding
from gaitstream.tune.seen import CameraSeen, SiteSeen

ENOUGH_PEOPLE = 10
"""Tracks of a camera below which its people's height sets nothing."""
KEPT = 0.95
"""Share of the tracks that fill a window which must go on to do so with a higher limit."""
WORTH = 0.05
"""Share of the frames that a higher limit must leave out to be worth setting."""
STEP_PX = 4
MANY_LOST = 0.25
"""Share of the person-frames from which on the reason why they are lost is worth a line."""
LEFT_OUT = (Reason.SPACED, Reason.SETTLED, Reason.OVERLOAD)
"""Reasons that say nothing of the camera."""


def advise_people(site: SiteSeen) -> Iterator[Finding]:
    """What to know of each camera's people, and their least height where enough of them were seen."""
    for index, seen in site.watched:
        persons = seen.persons
        if not persons:
            short = len(seen.tracks)
            brief = f"; {short} tracks were too short to be anybody" if short else ""
            yield Finding(
                ("cameras", index),
                f"nobody was seen in {_minutes(seen)}{brief}: nothing is set by people",
            )
            continue
        yield Finding(("cameras", index), _describe(seen))
        yield from _least_height(site, index, seen)
        yield from _lost(index, seen)


def _describe(seen: CameraSeen) -> str:
    heights = seen.heights()
    said = f"{len(seen.persons)} tracks of people in {_minutes(seen)}"
    if not len(heights):
        return f"{said}, never whole: their height is not known"
    low, middle, high = np.percentile(heights, [5, 50, 95])
    said += f"; they are {low:.0f} to {high:.0f} px high (5 to 95%), half of the time over {middle:.0f}"
    if middle < SMALL_PX:
        said += (
            f". Under {SMALL_PX:.0f} px a gait is hard to tell: a nearer camera, or a stream with "
            f"{SMALL_PX / middle:.1f} times the resolution"
        )
    return said


def _least_height(site: SiteSeen, index: int, seen: CameraSeen) -> Iterator[Finding]:
    """The highest limit that costs no walks, at most the height from which on gaits are told well."""
    at = ("cameras", index, "thresholds", "min_height_px")
    if len(seen.persons) < ENOUGH_PEOPLE:
        yield Finding(
            ("cameras", index),
            f"min_height_px: {len(seen.persons)} tracks are too few to set it, it takes {ENOUGH_PEOPLE}",
        )
        return
    length = site.config.tracklets.length
    now_px = site.config.quality_for(seen.camera).min_height_px
    evidence = [np.array([one.height_px for one in track.evidence]) for track in seen.persons]
    full = [heights for heights in evidence if len(heights) >= length]
    if len(full) < ENOUGH_PEOPLE:
        return
    for least in np.arange(SMALL_PX, now_px, -STEP_PX):
        kept = sum(int((heights >= least).sum()) >= length for heights in full)
        if (np.concatenate(full) < least).mean() < WORTH:
            return
        if kept >= KEPT * len(full):
            yield Finding(
                at,
                f"{kept} of the {len(full)} tracks that fill a window of {length} frames still do without "
                f"frames of people under {least:.0f} px, whose gait is hard to tell",
                float(round(least)),
            )
            return


def _lost(index: int, seen: CameraSeen) -> Iterator[Finding]:
    """Why many person-frames are no evidence, with the setting to look at."""
    reasons = Counter(sight.reason for track in seen.persons for sight in track.sights)
    total = sum(reasons.values())
    for reason, count in reasons.most_common():
        if reason is None or reason in LEFT_OUT or count < MANY_LOST * total:
            continue
        yield Finding(
            ("cameras", index), f"{count / total:.0%} of the person-frames are {reason}: {HINTS[reason]}"
        )


def _minutes(seen: CameraSeen) -> str:
    return f"{seen.seconds / 60:.1f} min"

"""Where in a picture people are never evidence: the strips at its sides that a region can leave out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gaitstream.tune.finding import Finding
from gaitstream.tune.seen import CameraSeen, SiteSeen

ENOUGH_WALKS = 20
"""Tracks with evidence below which nothing is said of where people walk."""
USELESS_TRACKS, USELESS_FRAMES = 5, 100
"""What must have been seen in a strip, none of it evidence, before it is left out."""
ROOM = 0.02
"""Of the picture's side: distance from the outermost evidence."""
SIDES = ("left", "top", "right", "bottom")


def advise_regions(site: SiteSeen) -> Iterator[Finding]:
    """A region for each camera that has none, where parts of its picture give people but no evidence."""
    for index, seen in site.watched:
        if seen.camera.regions or seen.size is None:
            continue
        walks = sum(bool(track.evidence) for track in seen.persons)
        if walks < ENOUGH_WALKS:
            if walks:
                yield Finding(
                    ("cameras", index),
                    f"regions: {walks} tracks with evidence are too few to draw any, it takes {ENOUGH_WALKS}",
                )
            continue
        yield from _region(index, seen, seen.size)


def _region(index: int, seen: CameraSeen, size: tuple[int, int]) -> Iterator[Finding]:
    bounds, cut = cut_sides(seen, size)
    if not cut:
        return
    left, top, right, bottom = bounds
    yield Finding(
        ("cameras", index, "regions"),
        f"people whose feet are at the {' and '.join(cut)} of the picture were never evidence; look at it, "
        "and widen it where somebody may walk",
        [[[left, top], [right, top], [right, bottom], [left, bottom]]],
    )
    yield Finding(("cameras", index, "region_size"), "the size the region is drawn on", list(size))


def cut_sides(seen: CameraSeen, size: tuple[int, int]) -> tuple[list[int], list[str]]:
    """The rectangle that is left of a picture, `[left, top, right, bottom]`, and the sides that were cut."""
    good = np.array([one.feet for track in seen.persons for one in track.evidence])
    low, high = good.min(axis=0), good.max(axis=0)
    room = ROOM * np.array(size)
    lines = [*(low - room), *(high + room)]
    bounds, cut = [0, 0, *size], []
    for side, name in enumerate(SIDES):
        tracks, frames = _beyond(seen, side, lines[side])
        if tracks >= USELESS_TRACKS and frames >= USELESS_FRAMES:
            bounds[side] = int(np.clip(lines[side], 0, size[side % 2]))
            cut.append(name)
    return bounds, cut


def _beyond(seen: CameraSeen, side: int, line: float) -> tuple[int, int]:
    """How many tracks lie wholly beyond a line, and in how many frames."""
    sign = -1 if side < 2 else 1
    counts = []
    for track in seen.persons:
        feet: NDArray[np.float64] = np.array([one.feet[side % 2] for one in track.sights])
        if (sign * feet > sign * line).all():
            counts.append(len(feet))
    return len(counts), sum(counts)

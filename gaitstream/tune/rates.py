"""How many frames a second to analyse: what walks need, what cameras send, and what this machine carries."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from gaitstream.bench.plan import HEADROOM
from gaitstream.tune.cores import MOST_OTHERS
from gaitstream.tune.finding import Finding
from gaitstream.tune.load import MeasuredLoad
from gaitstream.tune.people import ENOUGH_PEOPLE
from gaitstream.tune.seen import CameraSeen, SiteSeen

LEAST_FPS = 8.0
"""Fewer show a step, half a second long, in under four pictures."""
DETECT_EVERY = (1, 2, 3)
"""How rarely people may be looked for, before fewer frames are analysed than walks need."""
MOST_RARELY = 30
"""The most that `detect_every` takes."""


def advise_rates(site: SiteSeen, load: MeasuredLoad | None) -> Iterator[Finding]:
    """What to set so that windows fill, and that the machine carries them."""
    if load is None:
        yield Finding(("cameras",), f"{_why_unknown(site)}: no rate is set")
        return
    share = load.share()
    yield Finding(("cameras",), _describe(load, share))
    if share > HEADROOM:
        yield from _lower(site, load)
    else:
        yield from _raise(site, load)
    for index, seen in site.watched:
        sent, asked = seen.sent_fps, seen.camera.fps
        if sent is not None and asked is not None and sent < 0.9 * asked:
            yield Finding(
                ("cameras", index), f"sends {sent:.1f} frames a second of the {asked:g} that are asked for"
            )


def least_fps(site: SiteSeen, seen: CameraSeen) -> float | None:
    """Frames a second at which half of the walks that fill a window now still do; None after few walks."""
    length = site.config.tracklets.length
    counts = [n for track in seen.persons if (n := len(track.evidence)) >= length]
    fps = seen.analysed_fps
    if len(counts) < ENOUGH_PEOPLE or fps is None:
        return None
    return max(LEAST_FPS, fps * length / float(np.median(counts)))


def _describe(load: MeasuredLoad, share: float) -> str:
    frames = sum(one.fps for one in load.cameras.values())
    people = sum(one.fps * one.people for one in load.cameras.values())
    carried = "which it carries" if share <= HEADROOM else f"more than the {HEADROOM:.0%} it should have"
    return (
        f"{frames:.0f} pictures with {people:.0f} people a second, all {len(load.cameras)} cameras busy at "
        f"once, take {share:.0%} of this machine, {carried} ({load.detect_ms:.1f} ms to detect in a picture, "
        f"{load.person_ms:.1f} ms a person)"
    )


def _why_unknown(site: SiteSeen) -> str:
    if site.others > MOST_OTHERS:
        return (
            f"other programs took {site.others:.0%} of this machine meanwhile, so that what pictures cost "
            "here is not known"
        )
    return "too few pictures came to know what they cost here"


def _lower(site: SiteSeen, load: MeasuredLoad) -> Iterator[Finding]:
    """Fewer frames where walks allow it, else rarer detection, until the machine carries them."""
    seen = [(index, one) for index, one in site.watched if one.camera.id in load.cameras]
    least = {one.camera.id: least_fps(site, one) or LEAST_FPS for _, one in seen}
    for every in DETECT_EVERY:
        rates = _carried(load, least, every)
        if rates is not None:
            break
    else:
        yield Finding(
            ("cameras",),
            f"no rate of at least {LEAST_FPS:g} frames a second fits, with detection on every "
            f"{DETECT_EVERY[-1]}rd: fewer cameras here, a faster detector, or more machines: gaitstream plan",
        )
        return
    for index, one in seen:
        fps = rates[one.camera.id]
        if fps < load.cameras[one.camera.id].fps:
            yield Finding(("cameras", index, "fps"), _why_lower(site, one), fps)
        if every > 1:
            yield Finding(
                ("cameras", index, "detect_every"),
                "people are looked for less often, and followed in between",
                min(MOST_RARELY, every * one.camera.detect_every),
            )


def _carried(load: MeasuredLoad, least: Mapping[str, float], every: int) -> dict[str, float] | None:
    """Rates of all cameras, lowered alike and none under its least, that this machine carries, if any."""
    for percent in range(100, 0, -5):
        rates = {
            name: min(one.fps, max(least[name], math.floor(percent / 50 * one.fps) / 2))
            for name, one in load.cameras.items()
        }
        if load.with_fps(rates).share(every=every) <= HEADROOM:
            return rates
    return None


def _why_lower(site: SiteSeen, seen: CameraSeen) -> str:
    least = least_fps(site, seen)
    said = "so many of all cameras fit this machine"
    if least is None:
        return f"{said}; too few walks were seen to say what they need"
    return f"{said}; half of the walks still fill a window at {least:.1f}"


def _raise(site: SiteSeen, load: MeasuredLoad) -> Iterator[Finding]:
    """More frames where most walks are too short to fill a window and the camera sends more."""
    rule = site.config.tracklets
    for index, seen in site.watched:
        fps, sent = seen.analysed_fps, seen.sent_fps
        counts = [n for track in seen.persons if (n := len(track.evidence)) >= rule.provisional_from]
        if fps is None or sent is None or len(counts) < ENOUGH_PEOPLE:
            continue
        middle = float(np.median(counts))
        if middle >= rule.length:
            continue
        needed = float(math.ceil(fps * rule.length / middle))
        said = f"half of the people give fewer than {middle + 1:.0f} frames, and a window takes {rule.length}"
        more = load.with_fps({seen.camera.id: needed})
        if needed <= sent and more.share() <= HEADROOM:
            load = more
            yield Finding(("cameras", index, "fps"), f"{said}: at {needed:g} half of them fill one", needed)
        else:
            yield Finding(
                ("cameras", index),
                f"{said}: a longer view, or a smaller tracklets.length for provisional answers",
            )

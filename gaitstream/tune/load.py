"""What a site asks of this machine, from what its own pictures cost while it was watched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gaitstream.tune.cores import MOST_OTHERS
from gaitstream.tune.seen import SiteSeen

ENOUGH_FRAMES = 100
"""Analysed frames below which costs are not known."""
BUSY = 95
"""Percentile of the people in a picture that is planned for."""


@dataclass(frozen=True, slots=True)
class CameraDemand:
    """What one camera asks: frames a second, people in a busy picture, detection on every how many frames."""

    fps: float
    people: float
    detect_every: int


@dataclass(frozen=True, slots=True)
class MeasuredLoad:
    """Costs of this machine and what the cameras ask of it.

    Attributes:
        detect_ms: of a picture that is detected on.
        track_ms: of a picture.
        person_ms: of a person in a picture, evidence or not.
        cameras: by id.
    """

    detect_ms: float
    track_ms: float
    person_ms: float
    cameras: Mapping[str, CameraDemand]

    def with_fps(self, rates: Mapping[str, float]) -> MeasuredLoad:
        """The same with other rates of some cameras."""
        changed = {name: replace(self.cameras[name], fps=fps) for name, fps in rates.items()}
        return replace(self, cameras={**self.cameras, **changed})

    def share(self, *, every: int = 1, detect_ms: float | None = None) -> float:
        """Share of this machine's time when all cameras are busy at once; over 1 frames are dropped.

        Args:
            every: detection on every k-th of the pictures that are detected on now.
            detect_ms: of another detector.
        """
        detect = self.detect_ms if detect_ms is None else detect_ms
        return sum(
            one.fps / 1e3
            * (detect / (one.detect_every * every) + self.track_ms + one.people * self.person_ms)
            for one in self.cameras.values()
        )  # fmt: skip


def measured_load(site: SiteSeen) -> MeasuredLoad | None:
    """The load of the cameras that gave pictures; None where costs are not known."""
    seen = [one for _, one in site.watched if one.analysed_fps]
    frames = sum(len(one.people) for one in seen)
    if frames < ENOUGH_FRAMES or site.others > MOST_OTHERS:
        return None
    detected = sum(len(one.people) / one.camera.detect_every for one in seen)
    persons = sum(sum(one.people) for one in seen)
    totals = {name: histogram.total for name, histogram in site.counters.stages.items()}
    detect, track = totals.pop("detect", 0.0), totals.pop("track", 0.0)
    return MeasuredLoad(
        detect_ms=detect / detected,
        track_ms=track / frames,
        person_ms=sum(totals.values()) / persons if persons else 0.0,
        cameras={
            one.camera.id: CameraDemand(
                one.analysed_fps or 0.0, float(np.percentile(one.people, BUSY)), one.camera.detect_every
            )
            for one in seen
        },
    )

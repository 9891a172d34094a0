"""Pieces of one person's way: tracks that belong together, by how they walk.

Clothes and motion say that a track may go on with an earlier one; the walks of both must agree before the
earlier one's windows count again. No clock and no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gaitstream.gallery.linking import LinkRule
from gaitstream.gallery.searches import part_distances
from gaitstream.pipeline.known import DecisionLimits
from gaitstream.pipeline.ranking import ComparedWindow, ScoreScale, Windows

REMEMBERED_NS = 30_000_000_000
"""How long the windows of a track that ended are kept for its person."""
MOST_TRACKS, MOST_WINDOWS = 12, 3
"""Of a camera, and of each track and model: the latest ones. A window takes 16 KB."""
SAME = 1.05
"""Mean distance, in units of the threshold of decisions, up to which two walks are one person's. In four
crowds of the synthetic world none of 687 windows was nearer to another person's than 1.08."""


class Pieces:
    """The windows of a camera's tracks that ended a short while ago."""

    def __init__(self) -> None:
        self._left: dict[int, tuple[int, Windows]] = {}

    def keep(self, track: int, last_ns: int, windows: Windows) -> None:
        """Remember a track that ended, without whom its windows were compared with."""
        fresh = {model: [_fresh(one) for one in held[-MOST_WINDOWS:]] for model, held in windows.items()}
        if any(fresh.values()):
            self._left[track] = (last_ns, fresh)
        old = [one for one, (then_ns, _) in self._left.items() if last_ns - then_ns > REMEMBERED_NS]
        for one in old + list(self._left)[: -MOST_TRACKS or None]:
            self._left.pop(one, None)

    def of(self, track: int) -> Windows | None:
        """What is remembered of a track; None when it is nothing."""
        return self._left.get(track, (0, None))[1]


def unlikeness(
    one: Windows, other: Windows, scales: Mapping[str, ScoreScale], limits: DecisionLimits
) -> float | None:
    """Mean distance between the windows of two walks in units of the threshold; None where none is known."""
    if limits.threshold is None:
        return None
    rule = LinkRule(
        {model: limits.threshold * scale.unit for model, scale in scales.items()},
        {model: scale.weight for model, scale in scales.items()},
    )
    means = {
        model: float(part_distances(_stack(held), _stack(other[model])).mean())
        for model, held in one.items()
        if held and other.get(model)
    }
    score = rule.score(means)
    return score if np.isfinite(score) else None


def _stack(windows: Sequence[ComparedWindow]) -> np.ndarray:
    return np.stack([window.parts for window in windows])


def _fresh(window: ComparedWindow) -> ComparedWindow:
    return ComparedWindow(
        window.parts, first_ns=window.first_ns, last_ns=window.last_ns, frames=window.frames
    )

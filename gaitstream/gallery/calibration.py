"""A threshold and a margin from the gallery's own templates.

Genuine distances are those of a template to the nearest other template of its person; impostor distances
those to the nearest template of anybody else. What was enrolled from one walk lies closer together than two
walks on different days, so calibrate on several videos per person, or set the threshold from an evaluation
on your site.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaitstream.gallery.matching import Matcher, mean_part_distance

Floats = NDArray[np.float32]
PROBES = 500
"""Templates compared with all others; more change the percentiles little and cost quadratic time."""


class Calibration(NamedTuple):
    """The values to decide with.

    Attributes:
        threshold: largest distance at which a person is known.
        margin: smallest lead over the second person.
        genuine: how many genuine distances it rests on.
        impostor: how many impostor distances it rests on.
    """

    threshold: float
    margin: float
    genuine: int
    impostor: int


def calibrate(matcher: Matcher) -> Calibration | None:
    """Place the threshold between genuine and impostor distances.

    With both: midway between the 95th percentile of the genuine and the 5th of the impostor distances. With
    impostors alone: 3/4 of their 5th percentile. With one person of two or more templates: 1.5 times the
    largest genuine distance. The margin is a tenth of the room between the medians.

    Returns:
        None when there is neither a second person nor a second template.
    """
    genuine, impostor = _distances(matcher)
    if len(genuine) and len(impostor):
        threshold = (np.percentile(genuine, 95) + np.percentile(impostor, 5)) / 2
        margin = 0.1 * max(0.0, float(np.median(impostor) - np.median(genuine)))
    elif len(impostor):
        threshold, margin = 0.75 * np.percentile(impostor, 5), 0.0
    elif len(genuine):
        threshold, margin = 1.5 * genuine.max(), 0.0
    else:
        return None
    return Calibration(float(threshold), margin, len(genuine), len(impostor))


def _distances(matcher: Matcher) -> tuple[Floats, Floats]:
    """Genuine and impostor distances, at most one of each for up to `PROBES` templates."""
    owner = np.repeat(
        np.arange(len(matcher.names)), np.diff([*matcher.starts.tolist(), len(matcher.templates)])
    )
    genuine, impostor = [], []
    step = max(1, len(matcher.templates) // PROBES)
    for index in range(0, len(matcher.templates), step):
        distances = mean_part_distance(matcher.templates[index], matcher.templates)
        distances[index] = np.inf
        same = owner == owner[index]
        genuine += [distances[same].min()] if same.sum() > 1 else []
        impostor += [distances[~same].min()] if not same.all() else []
    return np.array(genuine, np.float32), np.array(impostor, np.float32)

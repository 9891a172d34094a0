"""How well a person's templates agree: one that is far from all others may be of somebody else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from gaitstream.gallery.matching import mean_part_distance
from gaitstream.gallery.vault import Template

MOST = 500
"""Templates of a model that are compared with each other; of more nothing is said."""


def nearest_others(templates: Iterable[Template]) -> dict[int, float]:
    """By number the distance of each template to the nearest other one of the same person and model.

    Those that are alone, or among more than `MOST`, are left out.
    """
    groups = defaultdict(list)
    for template in templates:
        groups[template.person, template.model].append(template)
    found: dict[int, float] = {}
    for group in groups.values():
        if 1 < len(group) <= MOST:
            found |= _nearest(group)
    return found


def _nearest(group: list[Template]) -> dict[int, float]:
    parts = np.stack([one.parts for one in group])
    found = {}
    for index, one in enumerate(group):
        others = np.delete(parts, index, axis=0)
        found[one.number] = float(mean_part_distance(one.parts, others).min())
    return found

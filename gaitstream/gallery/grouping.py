"""Which rows of a table are whose, as of one moment: a person's are found without a look at all others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gaitstream.gallery.quantise import Floats

Indices = NDArray[np.int64]


class RowsByPerson:
    """Rows grouped by the person they are of; rows of nobody are left out.

    Args:
        owners: the person of each row, int32 `[n]`; -1 for nobody.

    Attributes:
        count: rows looked at.
        persons: indices of everybody who has a row, int64 `[m]`, rising; their places in it name them below.
    """

    def __init__(self, owners: NDArray[np.int32]) -> None:
        self.count = len(owners)
        held = np.flatnonzero(owners >= 0)
        self._rows = held[np.argsort(owners[held], kind="stable")]
        found, self._starts, each, self._counts = np.unique(
            owners[self._rows], return_index=True, return_inverse=True, return_counts=True
        )
        self.persons: Indices = found.astype(np.int64)
        self._place_of_row = np.full(self.count, len(found), np.intp)
        self._place_of_row[self._rows] = each

    def least(self, values: Floats) -> Floats:
        """The smallest value of each person's rows, float32 `[m]`, of values `[count]`."""
        out = np.full(len(self.persons) + 1, np.inf, np.float32)  # nobody comes last
        np.minimum.at(out, self._place_of_row, values)
        return out[:-1]

    def places_of(self, persons: Indices) -> tuple[Indices, Indices]:
        """Where some people are in `persons`, and which of those asked for they are: not all have rows."""
        places = np.searchsorted(self.persons, persons)
        known = np.flatnonzero(places < len(self.persons))
        known = known[self.persons[places[known]] == persons[known]]
        return places[known], known

    def rows_at(self, places: Indices) -> tuple[Indices, Indices]:
        """The rows of some people, one person after the other, and where each person's begin."""
        counts = self._counts[places]
        begins = np.cumsum(counts) - counts
        steps = np.arange(counts.sum()) + np.repeat(self._starts[places] - begins, counts)
        return self._rows[steps], begins

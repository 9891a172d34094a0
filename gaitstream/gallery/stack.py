"""Windows of many visitors in one array, so that a walk is compared with all of them at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gaitstream.gallery.searches import Floats, part_distances

_FIRST = 256
_BLOCK = 4096
"""Windows compared at a time, 64 MB of 16 x 256 in float32."""
_NOBODY = -1


class WindowStack:
    """Windows of one model, in half precision, each with whose it is and the walk it is of."""

    def __init__(self) -> None:
        self._rows: NDArray[np.float16] = np.empty((0, 0, 0), np.float16)
        self._owners = np.empty(0, np.int64)
        self._walks = np.empty(0, np.int64)
        self._count = 0

    def add(self, owner: int, walk: int, windows: Floats) -> None:
        """Add a walk's windows `[n, parts, dim]`; numbers are 0 or more."""
        end = self._count + len(windows)
        if end > len(self._owners):
            self._make_room(max(_FIRST, 2 * end), windows.shape[1:])
        end = self._count + len(windows)
        self._rows[self._count : end] = windows
        self._owners[self._count : end] = owner
        self._walks[self._count : end] = walk
        self._count = end

    def drop(self, owner: int) -> None:
        """Take out all windows of an owner."""
        self._blank(self._owners[: self._count] == owner)

    def drop_walk(self, walk: int) -> None:
        """Take out the windows of a walk."""
        self._blank(self._walks[: self._count] == walk)

    def of(self, owner: int) -> Floats:
        """An owner's windows, float32 `[n, parts, dim]`."""
        return self._read(self._owners[: self._count] == owner)

    def of_walk(self, walk: int) -> Floats:
        """A walk's windows, float32 `[n, parts, dim]`."""
        return self._read(self._walks[: self._count] == walk)

    def mean_distances(self, probes: Floats) -> dict[int, float]:
        """Mean distance of some windows `[n, parts, dim]` to those of each owner."""
        owners = self._owners[: self._count]
        held = np.flatnonzero(owners != _NOBODY)
        if not len(held):
            return {}
        each = np.concatenate(
            [
                part_distances(probes, self._rows[block].astype(np.float32)).mean(axis=0)
                for block in np.split(held, range(_BLOCK, len(held), _BLOCK))
            ]
        )
        names, index = np.unique(owners[held], return_inverse=True)
        means = np.bincount(index, each) / np.bincount(index)
        return dict(zip(names.tolist(), means.tolist(), strict=True))

    def _read(self, wanted: NDArray[np.bool_]) -> Floats:
        return np.asarray(self._rows[: self._count][wanted], np.float32)

    def _blank(self, gone: NDArray[np.bool_]) -> None:
        self._rows[: self._count][gone] = 0
        self._owners[: self._count][gone] = _NOBODY
        self._walks[: self._count][gone] = _NOBODY

    def _make_room(self, room: int, shape: tuple[int, ...]) -> None:
        """Larger arrays, without the windows that were taken out."""
        held = np.flatnonzero(self._owners[: self._count] != _NOBODY)
        rows = np.empty((room, *shape), np.float16)
        owners, walks = np.full(room, _NOBODY), np.full(room, _NOBODY)
        self._count = len(held)
        if len(held):
            rows[: self._count] = self._rows[held]
            owners[: self._count], walks[: self._count] = self._owners[held], self._walks[held]
        self._rows, self._owners, self._walks = rows, owners, walks

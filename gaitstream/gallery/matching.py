"""Distances between a probe and the templates of a gallery.

The metric of both models: the mean over the parts of the Euclidean distance of each part (OpenGait's and
FastPoseGait's evaluators). It is computed from differences, not from inner products, so that near ties are
not decided by cancellation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import GalleryError

Floats = NDArray[np.float32]
_CHUNK = 16
"""Templates per step: their differences (16 x 256 floats each) stay in the cache, and in place."""


def mean_part_distance(probe: Floats, templates: Floats) -> Floats:
    """Mean over the parts of the per-part L2 distance.

    Args:
        probe: float32 `[parts, dim]`.
        templates: float32 `[n, parts, dim]`.

    Returns:
        float32 `[n]`.

    Raises:
        GalleryError: the shapes do not fit.
    """
    if probe.ndim != 2 or templates.shape[1:] != probe.shape:
        raise GalleryError(
            f"a probe of shape {probe.shape} cannot be compared with templates of shape {templates.shape}: "
            "[parts, dim] and [n, parts, dim] are needed; they come from different models"
        )
    squares = np.empty((len(templates), len(probe)), np.float32)
    room = np.empty((_CHUNK, *probe.shape), np.float32)
    for start in range(0, len(templates), _CHUNK):
        some = templates[start : start + _CHUNK]
        difference = np.subtract(some, probe, out=room[: len(some)])
        np.einsum("npd,npd->np", difference, difference, out=squares[start : start + _CHUNK])
    return np.asarray(np.sqrt(squares, out=squares).mean(axis=1), np.float32)


@dataclass(frozen=True)
class Matcher:
    """One model's templates, arranged by person; a snapshot that does not change.

    Attributes:
        names: the persons, `[n]`.
        templates: float32 `[m, parts, dim]`, those of one person side by side.
        starts: index of each person's first template, `[n]`, increasing.
        nearest: how many of a person's nearest templates are averaged.
    """

    names: tuple[str, ...]
    templates: Floats
    starts: NDArray[np.intp]
    nearest: int = 1

    @classmethod
    def build(cls, persons: Sequence[tuple[str, Floats]], nearest: int = 1) -> Matcher:
        """From each person's templates `[k, parts, dim]`, k >= 1.

        Raises:
            GalleryError: none of the nearest are wanted.
        """
        if nearest < 1:
            raise GalleryError(f"nearest is {nearest}: average 1 or more of a person's templates")
        if not persons:
            return cls((), np.empty((0, 0, 0), np.float32), np.empty(0, np.intp), nearest)
        counts = [len(templates) for _, templates in persons]
        starts = np.cumsum([0, *counts[:-1]], dtype=np.intp)
        stacked = np.ascontiguousarray(np.concatenate([t for _, t in persons]), np.float32)
        return cls(tuple(name for name, _ in persons), stacked, starts, nearest)

    def distances(self, probe: Floats) -> Floats:
        """Distance of a probe `[parts, dim]` to each person, float32 `[n]`.

        Raises:
            GalleryError: the probe is no embedding of this model, or holds NaN or infinity.
        """
        if not self.names:
            return np.empty(0, np.float32)
        if not np.isfinite(probe).all():  # the nearest by `argmin` would be whoever comes first
            raise GalleryError("the probe holds NaN or infinity: nobody is near to it or far from it")
        each = mean_part_distance(probe, self.templates)
        if self.nearest == 1:
            return np.minimum.reduceat(each, self.starts)
        groups = np.split(each, self.starts[1:])
        return np.array([np.sort(group)[: self.nearest].mean() for group in groups], np.float32)

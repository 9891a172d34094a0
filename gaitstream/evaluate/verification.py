"""Verification: is this the claimed person? False acceptance and rejection over all thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaitstream.errors import GaitstreamError


@dataclass(frozen=True, slots=True)
class Verification:
    """Error rates (fractions) by threshold; a pair is accepted when its distance is at most the threshold."""

    thresholds: NDArray[np.float64]
    """Ascending."""
    far: NDArray[np.float64]
    """False acceptance rate: share of impostor pairs accepted."""
    frr: NDArray[np.float64]
    """False rejection rate: share of genuine pairs rejected."""
    genuine: int
    impostor: int

    @property
    def eer(self) -> float:
        """Equal error rate: where the two curves cross, between thresholds linearly interpolated."""
        return _crossing(self.far, self.frr)[1]

    @property
    def eer_threshold(self) -> float:
        """The threshold at the crossing."""
        position = _crossing(self.far, self.frr)[0]
        return float(np.interp(position, np.arange(len(self.thresholds)), self.thresholds))

    def frr_at_far(self, far: float) -> tuple[float, float]:
        """Lowest false rejection rate at a false acceptance rate of at most `far`, and its threshold."""
        allowed = np.flatnonzero(self.far <= far)
        if not len(allowed):
            return 1.0, float("-inf")
        return float(self.frr[allowed[-1]]), float(self.thresholds[allowed[-1]])


def verify(genuine: ArrayLike, impostor: ArrayLike) -> Verification:
    """Curves from the distances of genuine pairs and of impostor pairs, both one-dimensional.

    Raises:
        GaitstreamError: either is empty or holds a value that is not finite.
    """
    g, i = np.sort(np.ravel(genuine).astype(np.float64)), np.sort(np.ravel(impostor).astype(np.float64))
    if not len(g) or not len(i):
        raise GaitstreamError(f"{len(g)} genuine and {len(i)} impostor pairs: both kinds are needed")
    if not (np.isfinite(g).all() and np.isfinite(i).all()):
        raise GaitstreamError("distances must be finite; check the embeddings for NaN")
    values = np.unique(np.concatenate([g, i]))
    # One threshold below every distance, so that the curves begin at FAR 0 and FRR 1.
    thresholds = np.concatenate([[np.nextafter(values[0], -np.inf)], values])
    far = np.searchsorted(i, thresholds, side="right") / len(i)
    frr = 1.0 - np.searchsorted(g, thresholds, side="right") / len(g)
    return Verification(thresholds, far, frr, len(g), len(i))


def pairs(
    distances: ArrayLike, probe_ids: ArrayLike, gallery_ids: ArrayLike, allowed: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Split distances `[n, m]` into genuine and impostor ones, where `allowed` `[n, m]` is true."""
    dist = np.asarray(distances, np.float64)
    same = np.asarray(probe_ids)[:, None] == np.asarray(gallery_ids)[None]
    usable = np.ones_like(same) if allowed is None else np.asarray(allowed, bool)
    return dist[same & usable], dist[~same & usable]


def _crossing(far: NDArray[np.float64], frr: NDArray[np.float64]) -> tuple[float, float]:
    """Fractional index and height of the point where `far` (rising) meets `frr` (falling)."""
    after = int(np.argmax(far >= frr))
    before = max(after - 1, 0)
    gap_before, gap_after = frr[before] - far[before], far[after] - frr[after]
    weight = gap_before / (gap_before + gap_after) if gap_before + gap_after > 0 else 1.0
    return before + weight * (after - before), float(far[before] + weight * (far[after] - far[before]))

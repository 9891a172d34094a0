"""Open-set identification: find the enrolled, call everyone else unknown.

Terms of ISO/IEC 19795-1: FPIR is the share of searches by people who are not enrolled that return
somebody; FNIR the share of searches by enrolled people that do not return them at rank 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaitstream.errors import GaitstreamError


@dataclass(frozen=True, slots=True)
class OpenSet:
    """The nearest person of every search."""

    mated_distance: NDArray[np.float64]
    """Nearest distance of the searches by enrolled people, `[n]`."""
    mated_right: NDArray[np.bool_]
    """Whether that nearest entry is the right person, `[n]`."""
    nonmated_distance: NDArray[np.float64]
    """Nearest distance of the searches by people who are not enrolled, `[m]`."""

    def fpir(self, threshold: float) -> float:
        """Share of strangers who are given a name at this threshold."""
        return float(np.mean(self.nonmated_distance <= threshold))

    def fnir(self, threshold: float) -> float:
        """Share of enrolled people who are missed or misnamed at this threshold."""
        return float(1.0 - np.mean(self.mated_right & (self.mated_distance <= threshold)))

    def misidentified(self, threshold: float) -> float:
        """Share of enrolled people who are given somebody else's name at this threshold."""
        return float(np.mean(~self.mated_right & (self.mated_distance <= threshold)))

    def threshold_at_fpir(self, fpir: float) -> float:
        """Largest threshold that names at most a share `fpir` of the strangers."""
        ordered = np.sort(self.nonmated_distance)
        allowed = int(np.floor(fpir * len(ordered) + 1e-9))
        return float(np.nextafter(ordered[allowed], -np.inf)) if allowed < len(ordered) else float("inf")

    def fnir_at_fpir(self, fpir: float) -> float:
        """FNIR at the threshold where the false positive identification rate is at most `fpir`."""
        return self.fnir(self.threshold_at_fpir(fpir))


def search(distances: ArrayLike, probe_ids: ArrayLike, gallery_ids: ArrayLike) -> OpenSet:
    """Every probe against the gallery; probes whose identity is not in the gallery are strangers.

    Args:
        distances: `[n, m]`, smaller is nearer.
        probe_ids: identities `[n]`.
        gallery_ids: identities `[m]`.

    Raises:
        GaitstreamError: there are no strangers, or nobody enrolled, among the probes.
    """
    dist = np.asarray(distances, np.float64)
    probes, gallery = np.asarray(probe_ids), np.asarray(gallery_ids)
    best = dist.argmin(axis=1)
    nearest = dist[np.arange(len(dist)), best]
    mated = np.isin(probes, gallery)
    if mated.all() or not mated.any():
        raise GaitstreamError(
            f"{int(mated.sum())} of {len(probes)} probes are enrolled: an open-set test needs both kinds"
        )
    return OpenSet(nearest[mated], (gallery[best] == probes)[mated], nearest[~mated])

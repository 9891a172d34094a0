"""From a ranking to a verdict: the rule by which a track is known, ambiguous or unknown, and why.

No state, no clock and no gallery: the same ranking, limits and sightings give the same verdict anywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from gaitstream.data import Reason, Status
from gaitstream.pipeline.known import DecisionLimits

K = TypeVar("K")
"""What names a person: an index of the running gallery, or an id."""

FAR = 1.35
"""Distances beyond this many thresholds are those of strangers, and of people whose gait is not seen: fewer
than 1 in 200 of enrolled people's tracklets are (`scripts/derive_limits.py`, docs/tuning.md)."""
SMALL_PX = 85.0
"""Under a third of the 256 pixels of height that the models look at distances grow; where is measured by the
same script, and depends on the pose model."""
SPOILS_GAIT = frozenset(
    (Reason.LEGS_HIDDEN, Reason.TOO_DARK, Reason.BLURRED, Reason.TRUNCATED, Reason.OCCLUDED,
     Reason.LOW_POSE_SCORE, Reason.TOO_SMALL)
)  # fmt: skip
"""Rejections of most frames that leave the accepted ones in doubt."""


@dataclass(frozen=True, slots=True)
class Sightings:
    """What of a track's frames has a say in the reason.

    Attributes:
        accepted: frames that were evidence.
        rejections: frames that were not, by reason, in the order in which the reasons came up.
        height_px: mean height of the accepted boxes; 0 without any.
        switched: what was known was given up because somebody else may walk here now.
    """

    accepted: int
    rejections: Mapping[str, int] = field(default_factory=dict)
    height_px: float = 0.0
    switched: bool = False

    @property
    def usable(self) -> int:
        """Frames that nothing speaks against, encoded or not."""
        return self.accepted + self.rejections.get(Reason.SPACED, 0)

    @property
    def most_rejected(self) -> tuple[str, int]:
        """The most frequent rejection, the first of equals; empty and 0 without any."""
        held_against = (entry for entry in self.rejections.items() if entry[0] != Reason.SPACED)
        return max(held_against, key=lambda entry: entry[1], default=("", 0))


@dataclass(frozen=True, slots=True)
class Verdict(Generic[K]):
    """What a ranking says.

    Attributes:
        reason: why nobody is known; None when somebody is.
        person: who it is; None unless known.
        distance: to the nearest, or to whoever is known.
        margin: lead of the nearest who is free over the next.
    """

    status: Status
    reason: Reason | None
    person: K | None = None
    distance: float | None = None
    margin: float | None = None


def weigh(
    ranked: Sequence[tuple[np.float32, K]],
    taken: Collection[K],
    limits: DecisionLimits,
    seen: Sightings,
    visitors: Collection[K] = (),
) -> Verdict[K]:
    """The verdict on a track that was compared with a gallery that has people.

    Args:
        ranked: fused distances and people, nearest first; two who are not taken, if there are as many.
        taken: people whom tracks seen together with this one have a better claim to.
        limits: of the camera.
        seen: for the reason.
        visitors: strangers of whom somebody said that they are not a person they were taken for.
    """
    threshold = limits.threshold
    free = [(distance, person) for distance, person in ranked if person not in taken]
    margin = float(free[1][0] - free[0][0]) if len(free) > 1 else None
    if threshold is None or not ranked or not ranked[0][0] <= threshold:
        nearest = float(ranked[0][0]) if ranked else None
        reason = _why_far(seen) if is_far(nearest, threshold) else Reason.BELOW_THRESHOLD
        return Verdict(Status.UNKNOWN, reason, None, nearest, margin)
    if not free or free[0][0] > threshold or (margin is not None and margin < limits.margin):
        # The nearest person walks elsewhere in this picture, or a second one is as near.
        return Verdict(Status.AMBIGUOUS, Reason.AMBIGUOUS, None, float(ranked[0][0]), margin)
    if free[0][1] in visitors:
        # Somebody said of this visitor that it is not the person it was taken for.
        return Verdict(Status.UNKNOWN, Reason.REJECTED, None, float(ranked[0][0]), margin)
    return Verdict(Status.KNOWN, None, free[0][1], float(free[0][0]), margin)


def is_far(distance: float | None, threshold: float | None) -> bool:
    """Whether a distance is so far beyond the threshold that no other threshold would help."""
    return distance is not None and threshold is not None and distance > FAR * threshold


def why_none(seen: Sightings, *, has_models: bool = True) -> Reason:
    """Why a track gave no window: no model, a switch, the most frequent rejection, or too few frames."""
    if not has_models:
        return Reason.NO_RECOGNIZER
    if seen.switched:
        return Reason.ID_SWITCH_SUSPECTED
    reason, count = seen.most_rejected
    return Reason(reason) if reason and count >= seen.usable else Reason.TOO_SHORT


def _why_far(seen: Sightings) -> Reason:
    """Why a track is like nobody: little of its gait was seen, or else it is somebody who is not enrolled."""
    reason, count = seen.most_rejected
    if count > seen.usable and Reason(reason) in SPOILS_GAIT:
        return Reason(reason)
    if seen.accepted and seen.height_px < SMALL_PX:
        return Reason.TOO_SMALL
    return Reason.BELOW_THRESHOLD

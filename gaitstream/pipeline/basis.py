"""What a decision rests on: enough to tell why it was made, and to make it again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gaitstream.data import Decision, Floats
from gaitstream.pipeline.known import DecisionLimits, KnownPeople
from gaitstream.pipeline.ranking import ComparedWindow, ScoreScale, Windows
from gaitstream.pipeline.verdict import Sightings


@dataclass(frozen=True, slots=True)
class Basis:
    """A decision and everything that had a say in it; names nobody but in the decision itself.

    Attributes:
        decision: as it was published.
        limits: threshold and margin it was held against.
        seen: what of the track's frames enters the reason.
        windows: by model; a model without a scale takes no part.
        scales: how each model's distances are fused.
        ranked: ids of the nearest people with their fused distances, nearest first, as far as they matter.
        each: by model the distances of each window to each of these, float32 `[windows, ranked]`; infinite
            where somebody has no template.
        taken: ids of those among them whom tracks seen together with this one have a better claim to.
        people: how many were enrolled.
        gallery_models: fingerprints of the bundles that filled the gallery, by model.
    """

    decision: Decision
    limits: DecisionLimits
    seen: Sightings
    windows: Mapping[str, Sequence[ComparedWindow]]
    scales: Mapping[str, ScoreScale]
    ranked: tuple[tuple[str, np.float32], ...]
    each: Mapping[str, Floats]
    taken: tuple[str, ...]
    people: int
    gallery_models: Mapping[str, str]


def make_basis(
    known: KnownPeople,
    decision: Decision,
    windows: Windows,
    ranked: Sequence[tuple[np.float32, int]],
    taken: Collection[int],
    limits: DecisionLimits,
    seen: Sightings,
    *,
    least: int,
) -> Basis:
    """The basis of a decision that was just made.

    Args:
        known: whom it was made with.
        decision: the decision.
        windows: of the track, by model.
        ranked: distances and indices of the nearest people, nearest first.
        taken: indices of those that others have a better claim to.
        limits: of the camera.
        seen: of the track.
        least: how many of the ranked are kept at least, if there are as many.
    """
    near = [person for _, person in _that_matter(ranked, taken, least)]
    uids = known.people.uids
    return Basis(
        decision=decision,
        limits=limits,
        seen=seen,
        windows={model: tuple(held) for model, held in windows.items() if held},
        scales={model: scale for model, scale in known.scales.items() if windows.get(model)},
        ranked=tuple((uids.get(person, ""), distance) for distance, person in ranked[: len(near)]),
        each={
            model: _distances(held, near)
            for model, held in windows.items()
            if held and model in known.scales and near
        },
        taken=tuple(uids.get(person, "") for person in near if person in taken),
        people=len(known.people.names),
        gallery_models=dict(known.people.fingerprints),
    )


def _that_matter(
    ranked: Sequence[tuple[np.float32, int]], taken: Collection[int], least: int
) -> Sequence[tuple[np.float32, int]]:
    """The nearest up to the second one who is free, and no fewer than `least`."""
    free = [index for index, (_, person) in enumerate(ranked) if person not in taken]
    reach = free[1] + 1 if len(free) > 1 else len(ranked)
    return ranked[: max(least, reach)]


def _distances(held: Sequence[ComparedWindow], persons: Sequence[int]) -> Floats:
    far = np.float32(np.inf)
    return np.array([[window.exact.get(person, far) for person in persons] for window in held], np.float32)

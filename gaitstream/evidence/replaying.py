"""The decision of a bundle, made again on any machine by the rule and the arithmetic that the run used.

Distances are computed again wherever the bundle has the template; where it has none, because it is somebody
else's, the distance is taken as it was signed. Fusing, ranking and the verdict are computed in any case.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gaitstream.data import Floats, Reason, Status
from gaitstream.errors import EvidenceError
from gaitstream.evidence.bundles import EvidenceBundle
from gaitstream.evidence.reading import as_embedding
from gaitstream.evidence.records import KeptDecision
from gaitstream.gallery.matching import mean_part_distance
from gaitstream.pipeline.known import DecisionLimits
from gaitstream.pipeline.ranking import ScoreScale, fuse
from gaitstream.pipeline.verdict import Sightings, Verdict, weigh, why_none

TOLERANCE = 1e-5
"""Relative: sums of float32 may be rounded otherwise on another processor."""
Templates = Mapping[tuple[str, str], Floats]
"""By person and model, float32 `[n, parts, dim]`."""


@dataclass(frozen=True)
class Compared:
    """One value of the decision: as it was, and as it came out again."""

    name: str
    before: object
    again: object
    same: bool


@dataclass(frozen=True)
class Replayed:
    """What came out.

    Attributes:
        values: what was compared.
        computed: distances of windows to people that were computed again.
        recorded: those that were taken as they were signed.
    """

    values: tuple[Compared, ...]
    computed: int
    recorded: int

    @property
    def same(self) -> bool:
        """Whether the decision is the same."""
        return all(value.same for value in self.values)


def replay(bundle: EvidenceBundle) -> Replayed:
    """Make a bundle's decision again.

    Raises:
        EvidenceError: its parts do not fit each other.
    """
    try:
        return _replay(bundle)
    except (ValueError, OverflowError) as error:
        raise EvidenceError(f"the bundle's parts do not fit each other: {error}") from error


def _replay(bundle: EvidenceBundle) -> Replayed:
    manifest = bundle.manifest
    windows = {
        window.number: (window.model, as_embedding(bundle.parts[part], window.shape))
        for window, part in zip(manifest.evidence.windows, manifest.windows, strict=True)
    }
    stacks: dict[tuple[str, str], list[Floats]] = {}
    for one in manifest.templates:
        stacks.setdefault((one.person, one.model), []).append(as_embedding(bundle.parts[one.part], one.shape))
    templates = {key: np.stack(parts) for key, parts in stacks.items()}
    decision = manifest.evidence.decisions[manifest.decision]
    used = [windows[number] for number in decision.used if number in windows]
    return decide_again(decision, used, templates, has_models=bool(manifest.evidence.models))


def decide_again(
    decision: KeptDecision,
    used: Sequence[tuple[str, Floats]],
    templates: Templates,
    *,
    has_models: bool = True,
) -> Replayed:
    """Make a kept decision again.

    Args:
        decision: as it was kept.
        used: model and embedding of each window it was made with.
        templates: of the people near it, as far as they are at hand.
        has_models: whether any recognizer ran.
    """
    each, computed = distances(decision, used, templates)
    verdict, ranked = _verdict(decision, each, [model for model, _ in used], has_models=has_models)
    values = [
        Compared("status", decision.status, verdict.status.value, decision.status == verdict.status.value),
        Compared("person", decision.person_id, verdict.person, decision.person_id == verdict.person),
        Compared("reason", decision.reason, _text(verdict.reason), decision.reason == _text(verdict.reason)),
        _near("distance", decision.distance, verdict.distance),
        _near("margin", decision.margin, verdict.margin),
    ]
    again = {person: float(distance) for distance, person in ranked}
    values += [
        _near(f"distance to {person}", distance, again.get(person)) for person, distance in decision.nearest
    ]
    return Replayed(tuple(values), computed, each.size - computed)


def distances(
    decision: KeptDecision, used: Sequence[tuple[str, Floats]], templates: Templates
) -> tuple[Floats, int]:
    """Distances of people to windows, float32 `[people, windows]`, and how many of them were computed."""
    kept = [[math.inf if one is None else one for one in row] for row in decision.each]
    each = np.array(kept, np.float32).reshape(len(decision.nearest), len(used))
    computed = 0
    for row, (person, _) in enumerate(decision.nearest):
        for column, (model, parts) in enumerate(used):
            known = templates.get((person, model))
            if known is not None:
                each[row, column] = mean_part_distance(parts, known).min()
                computed += 1
    return each, computed


def _verdict(
    decision: KeptDecision, each: Floats, models: Sequence[str], *, has_models: bool
) -> tuple[Verdict[str], list[tuple[np.float32, str]]]:
    seen = Sightings(decision.frames, decision.rejections, decision.height_px, decision.switched)
    if not models:
        return Verdict(Status.INSUFFICIENT, why_none(seen, has_models=has_models)), []
    if not decision.people:
        return Verdict(Status.UNKNOWN, Reason.NO_GALLERY), []
    scales = {model: ScoreScale(weight, unit) for model, (weight, unit) in decision.scales.items()}
    columns = {
        model: each[:, [index for index, other in enumerate(models) if other == model]].T for model in scales
    }
    fused = fuse(columns, scales) if decision.nearest else np.empty(0, np.float32)
    people = [person for person, _ in decision.nearest]
    ranked = sorted(zip(fused, people, strict=True), key=lambda entry: entry[0])
    limits = DecisionLimits(decision.threshold, decision.least_margin)
    return weigh(ranked, decision.taken, limits, seen, decision.visitors), ranked


def _near(name: str, before: float | None, again: float | None) -> Compared:
    same = before == again or (
        before is not None
        and again is not None
        and math.isclose(before, again, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    )
    return Compared(name, before, again, same)


def _text(reason: Reason | None) -> str | None:
    return None if reason is None else reason.value

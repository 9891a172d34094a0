"""Counts what was right: pure functions of a record."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream.demo.record import DemoRecord, TrackRecord, WindowRecord

Array = NDArray[np.float64]

FUSED = "fused"
"""Name of the curve over all recognizers."""
PURE = 0.8
"""Least share of one person's frames in a track that counts as that person's."""


class TrackOutcome(StrEnum):
    """What a final decision was worth."""

    IDENTIFIED = "identified"
    REJECTED = "stranger rejected"
    MISSED = "missed"
    WRONG = "wrong name"
    NO_EVIDENCE = "too little evidence"
    UNCLEAR = "no single person"


MEANINGS = {
    TrackOutcome.IDENTIFIED: "An enrolled person was given the right name.",
    TrackOutcome.REJECTED: "A stranger was given no name, on the evidence of at least one window.",
    TrackOutcome.MISSED: "An enrolled person was given no name, although there was evidence.",
    TrackOutcome.WRONG: "Somebody was given another person's name.",
    TrackOutcome.NO_EVIDENCE: "No window could be formed; the table below says why.",
    TrackOutcome.UNCLEAR: "The track passed from one person to another, or shows nobody.",
}


def verdict(record: DemoRecord, track: TrackRecord) -> TrackOutcome:
    """Judge one track's final decision."""
    enrolled = {person.name for person in record.people if person.enrolled}
    if track.truth is None or track.purity < PURE:
        return TrackOutcome.UNCLEAR if track.person is None or track.truth is None else _named(track)
    if track.person is not None:
        return _named(track)
    if track.status == "insufficient_evidence":
        return TrackOutcome.NO_EVIDENCE
    return TrackOutcome.MISSED if track.truth in enrolled else TrackOutcome.REJECTED


def _named(track: TrackRecord) -> TrackOutcome:
    return TrackOutcome.IDENTIFIED if track.person == track.truth else TrackOutcome.WRONG


@dataclass(frozen=True, slots=True)
class DemoScore:
    """The result of a demo.

    Attributes:
        verdicts: tracks by verdict.
        reasons: tracks without a name, by the pipeline's reason.
        identified_on: cameras on which each enrolled person was recognised.
        completed_on: cameras on which each person's tracks filled at least one window.
        strangers_named: each stranger who was given a name in the end, with the tracks.
    """

    verdicts: Counter[TrackOutcome]
    reasons: Counter[str]
    identified_on: dict[str, tuple[str, ...]]
    completed_on: dict[str, tuple[str, ...]]
    strangers_named: dict[str, tuple[str, ...]]

    @property
    def decided(self) -> int:
        """Tracks with evidence that show one person."""
        kinds = (
            TrackOutcome.IDENTIFIED,
            TrackOutcome.REJECTED,
            TrackOutcome.MISSED,
            TrackOutcome.WRONG,
        )
        return sum(self.verdicts[kind] for kind in kinds)

    @property
    def right(self) -> int:
        """Tracks decided rightly."""
        return self.verdicts[TrackOutcome.IDENTIFIED] + self.verdicts[TrackOutcome.REJECTED]


def score(record: DemoRecord) -> DemoScore:
    """Judge all tracks of a record."""
    enrolled = [person.name for person in record.people if person.enrolled]
    full = {(window.camera, window.track) for window in record.windows}
    judged = [(track, verdict(record, track)) for track in record.tracks]
    right: dict[str, set[str]] = {name: set() for name in enrolled}
    completed: dict[str, set[str]] = {person.name: set() for person in record.people}
    named: dict[str, list[str]] = {}
    for track, kind in judged:
        if track.truth is None:
            continue
        if track.truth not in enrolled and track.person is not None:
            as_whom = f"{track.person} ({track.camera} #{track.track})"
            named.setdefault(track.truth, []).append(as_whom)
        if kind is TrackOutcome.IDENTIFIED:
            right[track.truth].add(track.camera)
        if (track.camera, track.track) in full and track.purity >= PURE:
            completed[track.truth].add(track.camera)
    return DemoScore(
        verdicts=Counter(kind for _, kind in judged),
        reasons=Counter(track.reason for track in record.tracks if track.reason),
        identified_on={name: tuple(sorted(cameras)) for name, cameras in right.items()},
        completed_on={name: tuple(sorted(cameras)) for name, cameras in completed.items()},
        strangers_named={name: tuple(tracks) for name, tracks in named.items()},
    )


@dataclass(frozen=True, slots=True)
class Roc:
    """Verification over all pairs of a window and an enrolled person.

    Attributes:
        false_accept: share of impostor pairs at most as far apart as each threshold, `[k]`.
        true_accept: share of genuine pairs, `[k]`.
        eer: equal error rate, a share.
        genuine: distances of genuine pairs.
        impostor: distances of impostor pairs.
    """

    false_accept: Array
    true_accept: Array
    eer: float
    genuine: Array
    impostor: Array


def curves(record: DemoRecord) -> dict[str, Roc]:
    """The ROC curves of each recognizer's windows and, where there are several, of the fused ones, the last.

    A curve without genuine and impostor pairs is left out.
    """
    if len(record.models) < 2:
        found = {name: roc(record.windows) for name in record.models}
    else:
        each = {name: [one for one in record.windows if one.model == name] for name in record.models}
        found = {name: roc(windows) for name, windows in (each | {FUSED: fuse(record)}).items()}
    return {name: curve for name, curve in found.items() if curve is not None}


def fuse(record: DemoRecord) -> list[WindowRecord]:
    """Windows of all recognizers over the same frames, fused as decisions are, in units of thresholds."""
    together: dict[tuple[str, int, float], dict[str, WindowRecord]] = defaultdict(dict)
    for window in record.windows:
        together[window.camera, window.track, window.last_s][window.model] = window
    whole = (list(each.values()) for each in together.values() if each.keys() == record.models.keys())
    return [msgspec.structs.replace(each[0], model=FUSED, distances=_fused(record, each)) for each in whole]


def _fused(record: DemoRecord, each: Sequence[WindowRecord]) -> dict[str, float]:
    """Weighted mean distances to everybody, in units of each recognizer's threshold."""
    weights = [record.weights.get(one.model, 1.0) for one in each]
    return {
        name: float(
            np.average([one.distances[name] / record.units[one.model] for one in each], weights=weights)
        )
        for name in each[0].distances
    }


def roc(windows: Iterable[WindowRecord]) -> Roc | None:
    """The ROC curve of windows; None without genuine and impostor pairs."""
    genuine: list[float] = []
    impostor: list[float] = []
    for window in windows:
        if window.truth is None:
            continue
        for name, distance in window.distances.items():
            (genuine if name == window.truth else impostor).append(distance)
    if not genuine or not impostor:
        return None
    good, bad = np.sort(genuine), np.sort(impostor)
    thresholds = np.unique(np.concatenate([good, bad]))
    accept = np.searchsorted(good, thresholds, side="right") / len(good)
    wrong = np.searchsorted(bad, thresholds, side="right") / len(bad)
    gap = np.argmin(np.abs((1 - accept) - wrong))
    eer = float(((1 - accept)[gap] + wrong[gap]) / 2)
    return Roc(np.concatenate([[0.0], wrong]), np.concatenate([[0.0], accept]), eer, good, bad)

"""Tracking metrics by the `trackers` library, whose numbers agree with TrackEval's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class TrackedFrame:
    """Truth and tracks of one frame."""

    truth_ids: NDArray[np.int64]
    truth_boxes: NDArray[np.float32]
    """xyxy pixels `[n, 4]`."""
    track_ids: NDArray[np.int64]
    track_boxes: NDArray[np.float32]
    """xyxy pixels `[m, 4]`."""


@dataclass(frozen=True, slots=True)
class TrackingScore:
    """Fractions, except the counts.

    Attributes:
        id_switches: how often a person is found in another track than before, also after an absence.
        misses: truths without a track.
        strays: boxes of tracks without a truth.
        fragments: how often a person's track was interrupted.
        truths: persons to be found, over all frames.
    """

    hota: float
    idf1: float
    mota: float
    id_switches: int
    frames: int
    misses: int
    strays: int
    fragments: int
    truths: int

    @property
    def switches_per_1000(self) -> float:
        """Identity switches per 1,000 person-frames."""
        return 1000 * self.id_switches / max(1, self.truths)


def frame(
    truth_ids: ArrayLike, truth_boxes: ArrayLike, track_ids: ArrayLike, track_boxes: ArrayLike
) -> TrackedFrame:
    """One frame from anything array-like; no boxes may be given as an empty list."""
    return TrackedFrame(
        np.asarray(truth_ids, np.int64).reshape(-1),
        np.asarray(truth_boxes, np.float32).reshape(-1, 4),
        np.asarray(track_ids, np.int64).reshape(-1),
        np.asarray(track_boxes, np.float32).reshape(-1, 4),
    )


def score_tracks(cameras: Sequence[Sequence[TrackedFrame]], iou: float = 0.5) -> TrackingScore:
    """Score the tracks of several cameras together.

    Track and identity numbers are taken per camera: the same number on two cameras is two tracks.

    Args:
        cameras: one sequence of frames per camera.
        iou: overlap a match needs for IDF1 and MOTA; HOTA averages over its own thresholds.

    Source: Luiten et al., "HOTA", IJCV 2021; Ristani et al., ECCV Workshops 2016 (IDF1).
    """
    from trackers.eval import (
        aggregate_clear_metrics,
        aggregate_hota_metrics,
        aggregate_identity_metrics,
        compute_clear_metrics,
        compute_hota_metrics,
        compute_identity_metrics,
    )

    sequences = [_sequence(frames) for frames in cameras]
    clear = aggregate_clear_metrics([compute_clear_metrics(*s, threshold=iou) for s in sequences])
    identity = aggregate_identity_metrics([compute_identity_metrics(*s, threshold=iou) for s in sequences])
    hota = aggregate_hota_metrics([compute_hota_metrics(*s) for s in sequences])
    return TrackingScore(
        hota=float(hota["HOTA"]),
        idf1=float(identity["IDF1"]),
        mota=float(clear["MOTA"]),
        id_switches=int(clear["IDSW"]),
        frames=sum(len(frames) for frames in cameras),
        misses=int(clear["CLR_FN"]),
        strays=int(clear["CLR_FP"]),
        fragments=int(clear["Frag"]),
        truths=int(clear["CLR_TP"] + clear["CLR_FN"]),
    )


_Sequence = tuple[list[NDArray[np.int64]], list[NDArray[np.int64]], list[NDArray[np.float64]]]


def _sequence(frames: Sequence[TrackedFrame]) -> _Sequence:
    """Identities renumbered from 0 and the overlap of every pair, frame by frame."""
    from trackers.eval import box_iou

    truth = np.unique(np.concatenate([f.truth_ids for f in frames] or [np.empty(0, np.int64)]))
    tracks = np.unique(np.concatenate([f.track_ids for f in frames] or [np.empty(0, np.int64)]))
    return (
        [np.searchsorted(truth, f.truth_ids) for f in frames],
        [np.searchsorted(tracks, f.track_ids) for f in frames],
        [np.asarray(box_iou(f.truth_boxes, f.track_boxes), np.float64) for f in frames],
    )

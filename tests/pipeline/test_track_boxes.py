"""The library's trackers say the same of our boxes as of supervision's."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from gaitstream.config.track_sections import Tracking
from gaitstream.data import Detections
from gaitstream.pipeline.track import TrackerBoxes, create_library_tracker


def crowd(frame: int) -> Detections:
    """Six people who cross, jitter and are missed now and then; nobody in some frames."""
    rng = np.random.default_rng(frame)
    count = 0 if frame % 50 < 3 else 6
    left = 100 + 90.0 * np.arange(count) + 150 * np.sin(frame / 15 + 2 * np.arange(count))
    boxes = np.stack([left, np.full(count, 100.0), left + 60, np.full(count, 260.0)], axis=1)
    seen = rng.random(count) > 0.1
    boxes += rng.normal(0, 2, boxes.shape)
    scores = rng.uniform(0.3, 1.0, count)
    return Detections(boxes[seen].astype(np.float32), scores[seen].astype(np.float32))


def supervise(found: Detections) -> Any:
    import supervision as sv

    classes = np.zeros(len(found.scores), int)
    return sv.Detections(xyxy=found.boxes, confidence=found.scores, class_id=classes)


@pytest.mark.parametrize("algorithm", ["bytetrack", "ocsort", "sort"])
def test_tracks_are_the_same(algorithm: Literal["bytetrack", "ocsort", "sort"]) -> None:
    ours, theirs = (create_library_tracker(Tracking(algorithm=algorithm), 15.0) for _ in range(2))
    ids = set()
    for frame in range(300):
        found = crowd(frame)
        mine = ours.update(TrackerBoxes(found.boxes, found.scores), timestamp=frame / 15)
        other = theirs.update(supervise(found), timestamp=frame / 15)
        for name in ("xyxy", "confidence", "tracker_id"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(other, name))
        ids |= set(mine.tracker_id)
    assert len(ids) > 6

"""Tracking scores of the demo detector and the pipeline's tracker on unseen crowds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from gaitstream.config.track_sections import Tracking
from gaitstream.evaluate.tracking import TrackedFrame, frame, score_tracks
from gaitstream.models.detector import DetectorModel
from gaitstream.pipeline.track import CameraTracker
from gaitstream.synth.address import parse_address
from gaitstream.synth.source import SyntheticCamera
from gaitstream.synth.truth import Truth

CAMERAS = tuple(
    f"synth://{site}?camera={camera}&people=8&seed={424240 + camera}&day=30"
    for site, camera in (("plaza", 1), ("plaza", 3), ("lobby", 2), ("yard", 4))
)
SECONDS = 20
VISIBLE = 0.25
"""People of whom less can be seen are left out of the truth, and tracks on them out of the count."""
SMALLEST_PX = 40


def measure_tracking(demo: Path, threads: int = 1, precision: str = "auto") -> dict[str, float]:
    """HOTA, IDF1 and MOTA over all cameras, and the detector's recall and precision on the same pictures."""
    detector = DetectorModel.load(demo / "detector.json", threads=threads, precision=precision)
    sequences, counts = [], np.zeros(3, int)
    for address in CAMERAS:
        frames, more = follow(SyntheticCamera(parse_address(address)), detector)
        sequences.append(frames)
        counts += more
    score = asdict(score_tracks(sequences))
    for name in ("hota", "idf1", "mota"):
        score[name] *= 100
    return {**score, "recall": 100 * counts[0] / counts[1], "precision": 100 * counts[0] / counts[2]}


def follow(camera: SyntheticCamera, detector: DetectorModel) -> tuple[list[TrackedFrame], np.ndarray]:
    """Tracks and truth of each frame; hits, people and detections counted over all frames."""
    tracker = CameraTracker(camera.camera.name, Tracking(), camera.fps)
    frames, counts = [], np.zeros(3, int)
    for index in range(int(SECONDS * camera.fps)):
        image, truth = camera.image(index), camera.truth(index)
        wanted, ignored = split(truth, image.shape[1], image.shape[0])
        found = detector.detect([image])[0]
        people = tracker.update(
            index, camera.time_ns(index), (image.shape[1], image.shape[0]), found, image
        ).persons
        boxes = np.array([person.box for person in people], np.float32).reshape(-1, 4)
        kept = ~on_ignored(boxes, ignored, wanted[1])
        frames.append(frame(*wanted, [p.track for p, k in zip(people, kept, strict=True) if k], boxes[kept]))
        solid = found.boxes[~on_ignored(found.boxes, ignored, wanted[1])]
        hits = int((_overlap(wanted[1], solid).max(1, initial=0) > 0.5).sum())
        counts += (hits, len(wanted[0]), max(len(solid), hits))
    return frames, counts


def split(truth: Truth, width: int, height: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Identities and boxes of the people who count, cut at the border, and boxes of those who do not."""
    boxes = np.clip(truth.boxes, 0, np.array([width, height] * 2, np.float32))
    counts = (truth.visibility >= VISIBLE) & (boxes[:, 3] - boxes[:, 1] >= SMALLEST_PX)
    return (truth.people[counts], boxes[counts]), boxes[~counts]


def on_ignored(boxes: np.ndarray, ignored: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Which boxes lie on people who do not count rather than on one who does."""
    there, here = _overlap(boxes, ignored).max(1, initial=0), _overlap(boxes, wanted).max(1, initial=0)
    return np.asarray((there > 0.3) & (here < 0.5))


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU `[n, m]`."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(-1), (b[:, 2:] - b[:, :2]).prod(-1)
    return np.asarray(shared / np.maximum(area_a[:, None] + area_b[None] - shared, 1e-6))

"""Evidence as a run keeps it, with drawn pictures: for the tests of the pages that show it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gaitstream.config.reading import load_config
from gaitstream.events import IdentityFinal
from gaitstream.evidence.reading import EvidenceReader
from gaitstream.evidence.recent import RecentPieces
from gaitstream.evidence.records import (
    KeptDecision,
    KeptWindow,
    RecentFrame,
    RecentPerson,
    Shot,
    TrackEvidence,
    TrackKey,
)
from gaitstream.gallery.upstream import UpstreamModel

MODEL, FINGERPRINT = "gaitheat", "9c1d4a77e03b5f61" * 4
UPSTREAM = (UpstreamModel("pose", "demo", "9c1d4a77e03b"),)
Floats = NDArray[np.float32]
S_NS = 10**9


def keep_evidence(cameras: Path, event: IdentityFinal, windows: Floats, *, shots: int = 8) -> None:
    """Write what a run keeps of a track: pictures of somebody who walks, and the windows."""
    reader = EvidenceReader.open(load_config(cameras), cameras)
    pictures = [jpeg for step in range(shots) for jpeg in _pictures(event.track, step)]
    moments = [event.first_ns + step * (event.time_ns - event.first_ns) // shots for step in range(shots)]
    evidence = TrackEvidence(
        key=TrackKey(event.camera, event.run, event.track),
        gallery=reader.folder.gallery,
        gallery_models={MODEL: FINGERPRINT},
        models={MODEL: FINGERPRINT},
        upstream={MODEL: UPSTREAM},
        config_hash="77aa12bc90ef" * 5,
        complete=True,
        shots=tuple(
            Shot(time_ns, 3 * step, event.box, None, {"crop": 2 * step, "heatmaps": 2 * step + 1})
            for step, time_ns in enumerate(moments)
        ),
        windows=tuple(
            KeptWindow(number, MODEL, event.first_ns, event.time_ns, 30, windows.shape[1:])
            for number in range(len(windows))
        ),
        decisions=(_kept(event),),
    )
    reader.folder.write(evidence, [one.astype("<f4").tobytes() for one in windows], pictures)


def keep_minutes(cameras: Path, camera: str, person: str, since_ns: int) -> None:
    """Write what a run keeps of a camera's last minutes: thirty pictures that somebody walks through."""
    folder, pieces = EvidenceReader.open(load_config(cameras), cameras).folder, RecentPieces(5)
    for second in range(30):
        box = (10.0 * second, 100.0, 10.0 * second + 40, 220.0)
        people = (RecentPerson(1, box, "known", person), RecentPerson(2, box, rejected="truncated"))
        image = np.full((360, 640, 3), 8 * second, np.uint8)
        pieces.add(folder, camera, image, RecentFrame(since_ns + second * S_NS, 640, 360, people))


def _kept(event: IdentityFinal) -> KeptDecision:
    nearest = tuple(zip(event.candidate_ids, (distance for _, distance in event.candidates), strict=True))
    return KeptDecision(
        time_ns=event.time_ns, first_ns=event.first_ns, status=event.status, person_id=event.person_id,
        reason=event.reason, distance=event.distance, margin=event.margin, threshold=event.threshold,
        least_margin=0.05, frames=event.frames, windows=event.windows, provisional=False, final=True,
        nearest=nearest, people=len(nearest), rejections=event.rejections,
    )  # fmt: skip


def _pictures(track: int, step: int) -> tuple[bytes, bytes]:
    """Somebody in a stride, and a heatmap of it."""
    random = np.random.default_rng(track)
    image = np.full((160, 80, 3), random.integers(70, 150), np.uint8)
    coat, trousers = (tuple(map(int, random.integers(40, 220, 3))) for _ in range(2))
    swing = round(16 * np.sin(0.8 * step))
    for side in (swing, -swing):
        cv2.line(image, (40, 92), (40 + side, 152), trousers, 11)
        cv2.line(image, (40, 48), (40 - side, 88), coat, 8)
    cv2.rectangle(image, (28, 40), (52, 94), coat, -1)
    cv2.circle(image, (40, 24), 12, (150, 180, 215), -1)
    glow = cv2.GaussianBlur(cv2.absdiff(image[..., 1], np.full((160, 80), image[0, 0, 1])), (21, 21), 0)
    small = cv2.resize(glow, (48, 64))
    heat = cv2.normalize(small, small, 0, 255, cv2.NORM_MINMAX)
    return cv2.imencode(".jpg", image)[1].tobytes(), cv2.imencode(".png", heat)[1].tobytes()

"""What a good user would assemble: OpenCV decoding, a detector, `trackers`, pose, a gait model per window.

Both baselines share this loop and differ in what runs the networks. It is written for speed where that costs
no cleverness: cameras share the detector's and the pose model's batches, joints are found once per frame, and
only the gait model is called on whole windows of 30 frames, as the published code is.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from gaitstream.bench.measure import figure, peak_memory
from gaitstream.bench.pipeline import SHARES
from gaitstream.bench.result import Figure, Row
from gaitstream.models.crops import crop_windows

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

WINDOW = 30
NET_HEIGHT, NET_WIDTH = 192, 320
SCORE, IOU = 0.3, 0.5
FPS = 15.0
WARM_UP_FRAMES = 5
"""The first calls load kernels and allocate; they are not measured."""


class Models(Protocol):
    """The networks, on whatever runs them."""

    def detect(self, pictures: Floats) -> Floats:
        """RGB 0..255 `[n, 3, 192, 320]` to candidates `[n, 5, cells]`: centre, size, score."""

    def heatmaps(self, crops: Bytes) -> Floats:
        """RGB `[n, 3, 256, 192]` to joint heatmaps `[n, 17, 64, 48]`."""

    def embed(self, heatmaps: Floats, keypoints: Floats) -> Floats:
        """A window `[30, 17, 64, 48]` with joints `[30, 17, 3]` to an embedding `[16, dim]`."""


@dataclass
class Track:
    """The last frames of one person."""

    heatmaps: deque[Floats] = field(default_factory=lambda: deque(maxlen=WINDOW))
    keypoints: deque[Floats] = field(default_factory=lambda: deque(maxlen=WINDOW))
    seen: int = 0


@dataclass
class Result:
    """What a run showed."""

    frames: int = 0
    people: int = 0
    elapsed_s: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    last_window: tuple[Floats, Floats, Floats] | None = None
    """Heatmaps, joints and embedding of the last window, for the comparison of results."""


def assemble(clips: list[str], models: Models, stride: int) -> Result:
    """Run the clips side by side, as fast as it goes."""
    from trackers import ByteTrackTracker

    videos = [cv2.VideoCapture(clip) for clip in clips]
    # The detector's threshold and the tracker's settings are those of the pipeline.
    followers = [
        ByteTrackTracker(
            lost_track_buffer=30,
            frame_rate=FPS,
            minimum_consecutive_frames=2,
            minimum_iou_threshold=0.1,
            track_activation_threshold=0.6,
            high_conf_det_threshold=0.6,
        )
        for _ in clips
    ]
    tracks: dict[tuple[int, int], Track] = defaultdict(Track)
    result, started = Result(), 0.0
    for index in range(10**9):
        if index == WARM_UP_FRAMES:
            started = time.perf_counter()
            result = Result()
        reads = [video.read() for video in videos]
        if not all(good for good, _ in reads):
            break
        taken = time.perf_counter()
        step([image for _, image in reads], models, followers, tracks, stride, result, taken)
    result.elapsed_s = time.perf_counter() - started
    return result


def step(
    images: list[Any],
    models: Models,
    followers: list[Any],
    tracks: dict[tuple[int, int], Track],
    stride: int,
    result: Result,
    taken: float,
) -> None:
    """One picture of every camera."""
    import supervision as sv

    found = read_boxes(models.detect(prepare(images)), [image.shape for image in images])
    people, crops = [], []
    for camera, (image, (boxes, scores), follower) in enumerate(zip(images, found, followers, strict=True)):
        detections = sv.Detections(xyxy=boxes, confidence=scores, class_id=np.zeros(len(boxes), int))
        tracked = follower.update(detections)
        tracked = tracked[tracked.tracker_id >= 0]
        people += [(camera, int(number)) for number in tracked.tracker_id]
        if len(tracked):
            crops.append(cut(image, np.asarray(tracked.xyxy, np.float32)))
    result.frames += len(images)
    result.people += len(people)
    if not people:
        return
    heatmaps = models.heatmaps(np.concatenate(crops))
    joints = find_joints(heatmaps)
    for key, maps, points in zip(people, heatmaps, joints, strict=True):
        track = tracks[key]
        track.heatmaps.append(maps)
        track.keypoints.append(points)
        track.seen += 1
        if track.seen >= WINDOW and (track.seen - WINDOW) % stride == 0:
            window = np.stack(track.heatmaps), np.stack(track.keypoints)
            embedding = models.embed(*window)
            result.latencies_ms.append((time.perf_counter() - taken) * 1e3)
            result.last_window = (*window, embedding)


def prepare(images: list[Any]) -> Floats:
    """Scale into the top left corner of the network's input."""
    canvases = []
    for image in images:
        scale = min(NET_WIDTH / image.shape[1], NET_HEIGHT / image.shape[0])
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        canvas = np.full((NET_HEIGHT, NET_WIDTH, 3), 114, np.uint8)
        canvas[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        canvases.append(canvas)
    return np.asarray(cv2.dnn.blobFromImages(canvases, swapRB=True), np.float32)


def read_boxes(
    outputs: Floats, shapes: list[tuple[int, ...]]
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Boxes xyxy in pixels and scores of every picture."""
    found = []
    for rows, (height, width, _) in zip(outputs, shapes, strict=True):
        rows = rows[:, rows[4] > SCORE].T
        scale = min(NET_WIDTH / width, NET_HEIGHT / height)
        low = (rows[:, :2] - rows[:, 2:4] / 2) / scale
        size = rows[:, 2:4] / scale
        kept = cv2.dnn.NMSBoxes(np.concatenate([low, size], 1).tolist(), rows[:, 4].tolist(), SCORE, IOU)
        order = np.asarray(kept, int).reshape(-1)
        boxes = np.concatenate([low, low + size], 1)[order].astype(np.float32)
        boxes = boxes.clip(0, np.array([width, height, width, height], np.float32))
        found.append((boxes, rows[order, 4].astype(np.float32)))
    return found


def cut(image: Any, boxes: Floats) -> Bytes:
    """The pose model's crops: box x 1.25, aspect kept, black outside."""
    crops = np.empty((len(boxes), 3, 256, 192), np.uint8)
    for crop, (left, top, scale) in zip(crops, crop_windows(boxes, (256, 192)), strict=True):
        matrix = np.array(
            [[scale, 0, (0.5 - left) * scale - 0.5], [0, scale, (0.5 - top) * scale - 0.5]], np.float64
        )
        crop[:] = cv2.warpAffine(image, matrix, (192, 256))[:, :, ::-1].transpose(2, 0, 1)
    return crops


def find_joints(heatmaps: Floats) -> Floats:
    """The highest pixel of every joint's map: x, y, score `[n, 17, 3]`."""
    flat = heatmaps.reshape(*heatmaps.shape[:2], -1)
    best = flat.argmax(2)
    score = np.take_along_axis(flat, best[..., None], 2)[..., 0]
    return np.stack([best % 48, best // 48, score], 2).astype(np.float32)


def report(name: str, result: Result, bundle: str, stride: int) -> list[Row]:
    """A row of the comparison, with the proof that the embeddings are the same as the package's."""
    latency = {
        key: figure([float(np.quantile(result.latencies_ms, share))], "ms")
        for key, share in SHARES.items()
        if result.latencies_ms
    }
    row = contender_row(
        f"{name}, stride {stride}",
        result.frames / result.elapsed_s,
        result.people / max(result.frames, 1),
        latency,
        len(result.latencies_ms) / result.elapsed_s,
        difference(result, bundle),
    )
    return [row]


def contender_row(
    name: str, fps: float, people: float, latency: dict[str, Figure], windows: float, note: str = ""
) -> Row:
    """A row of the comparison; latencies run from frame in hand to embedding."""
    figures = {
        "analysed": figure([fps], "frames/s", "higher"),
        "people": figure([people], "people/frame", "neither"),
        **latency,
        "windows": figure([windows], "1/s", "neither"),
        **peak_memory(),
    }
    return Row(contender=name, figures=figures, note=note)


def difference(result: Result, bundle: str) -> str:
    """How far the last embedding is from what gaitstream makes of the same heatmaps in fp32."""
    from gaitstream.models.recognizer import Recognizer

    if result.last_window is None:
        return "no full window"
    heatmaps, joints, embedding = result.last_window
    ours = Recognizer.load(bundle, "openvino", "fp32").embed(heatmaps, joints)
    return f"embedding differs by at most {np.abs(ours - embedding).max():.1e} from gaitstream's"

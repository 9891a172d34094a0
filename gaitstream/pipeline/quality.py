"""How good a person-frame is as evidence of gait: measures of boxes, motion and pixels, without state.

`judge` decides by them. Boxes are a handful of numbers per person and frame: where no array is needed, plain
floats are several times faster here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gaitstream.config.camera_sections import Camera
from gaitstream.config.track_sections import Quality
from gaitstream.data import Floats, Image, areas, shared_areas
from gaitstream.errors import ConfigError
from gaitstream.kernels import cpu
from gaitstream.kernels.sharpness import laplacian_variances
from gaitstream.pipeline.source.clock import SECOND_NS

JUMP_S = 0.1
"""Time for which `max_jump` is given; a longer gap allows more."""
MAX_COMPARED_S = 1.0
"""After a longer gap a box is not compared with the last one."""
ABOVE, KNEES_AND_ANKLES = slice(5, 13), slice(13, 17)
LEG_SHARE = 0.65
LEG_SCORE = 0.6
"""Legs with this share of the upper body's score, and less than this score, are hidden."""

BoxPx = Sequence[float]
"""xyxy pixels."""


class Regions:
    """A camera's polygons, scaled to its stream.

    Args:
        camera: the camera's entry.
        size: width and height of the stream.

    Raises:
        ConfigError: a polygon reaches outside the frame.
    """

    def __init__(self, camera: Camera, size: tuple[int, int]) -> None:
        drawn_on = camera.region_size or size
        scale = np.array(size, np.float64) / np.array(drawn_on, np.float64)
        polygons = [np.asarray(polygon, np.float64) * scale for polygon in camera.regions]
        for index, polygon in enumerate(polygons):
            outside = (polygon > np.array(size)).any(axis=1)
            if outside.any():
                x, y = camera.regions[index][int(outside.argmax())]
                raise ConfigError(
                    f"camera {camera.id}: regions[{index}]: point [{x:g}, {y:g}] lies outside the frame of "
                    f"{size[0]} x {size[1]}; set region_size to the size the polygon was drawn on"
                )
        self._outlines = [polygon.astype(np.float32)[:, None] for polygon in polygons]

    def contain(self, points: Floats) -> NDArray[np.bool_]:
        """Which points `[n, 2]`, in pixels, lie in any polygon by the even-odd rule; all without one."""
        import cv2

        if not self._outlines:
            return np.ones(len(points), bool)
        return np.array(
            [
                any(cv2.pointPolygonTest(outline, point, False) >= 0 for outline in self._outlines)
                for point in points.tolist()
            ],
            bool,
        )


def truncated(boxes: Floats, size: tuple[int, int], quality: Quality) -> NDArray[np.bool_]:
    """Which boxes `[n, 4]` touch the border of a frame (width, height), or show no whole body."""
    border = quality.border_px
    left, top, right, bottom = boxes.T
    near = (left < border) | (top < border) | (right > size[0] - border) | (bottom > size[1] - border)
    return np.asarray(near | (right - left > quality.max_aspect * (bottom - top)))


def covered(boxes: Floats) -> Floats:
    """Largest share of each box `[n, 4]` that a single nearer person's box covers, float32 `[n]`.

    Of two people on one floor, the one whose feet are lower in the picture is nearer. Written here because
    the libraries' overlaps are symmetric: shares of the union, or of the smaller box.
    """
    share = shared_areas(boxes, boxes) / np.maximum(areas(boxes), 1e-6)[:, None]
    nearer = boxes[:, 3] > boxes[:, None, 3]
    return np.asarray(np.where(nearer, share, 0.0).max(axis=1, initial=0.0), np.float32)


def jumped(last: BoxPx, box: BoxPx, elapsed_s: float, quality: Quality) -> bool:
    """Whether a track's box moved or grew faster than a person does: it may be on somebody else now."""
    if elapsed_s > MAX_COMPARED_S:
        return False
    before, after = max(last[3] - last[1], 1.0), max(box[3] - box[1], 1.0)
    taller, smaller = (before, after) if before > after else (after, before)
    slack = max(1.0, elapsed_s / JUMP_S)
    moved = math.hypot(*_shift(last, box)) / taller
    return moved > quality.max_jump * slack or taller / smaller > quality.max_scale_jump ** min(slack, 3.0)


def box_motion(first: BoxPx, last: BoxPx, elapsed_s: float) -> float:
    """Speed of a box in body heights per second: of its centre, or its growth when somebody comes nearer."""
    before, after = first[3] - first[1], last[3] - last[1]
    speed_px = max(math.hypot(*_shift(first, last)), abs(after - before)) / max(elapsed_s, 1e-3)
    return speed_px / max((before + after) / 2, 1.0)


def leg_motion(times_ns: Sequence[int], strides: Sequence[float]) -> float:
    """Range of the ankles against each other in body heights per second; 0 when unknown.

    Args:
        times_ns: capture times.
        strides: signed horizontal distance of the ankles in body heights; NaN where unknown.

    It tells somebody who walks on the spot, or towards the camera far away, from somebody who stands.
    """
    known = [(time_ns, value) for time_ns, value in zip(times_ns, strides, strict=True) if value == value]
    if len(known) < 4:
        return 0.0
    values = [value for _, value in known]
    # Three frames together: the jitter of keypoints from frame to frame is no step.
    smooth = [sum(values[index : index + 3]) for index in range(len(values) - 2)]
    elapsed_s = (known[-1][0] - known[0][0]) / SECOND_NS
    return (max(smooth) - min(smooth)) / 3 / max(elapsed_s, 0.5)


def legs_hidden(joints: Floats) -> NDArray[np.bool_]:
    """Whose knees and ankles a pose model is much less sure of than of shoulders, arms and hips.

    Args:
        joints: score of each COCO joint in the last column, float32 `[n, 17, 3]`.

    Returns:
        bool `[n]`. Of people seen whole in the synthetic world 1% are taken for hidden, of those behind a
        counter up to the hips two thirds.
    """
    scores = joints[:, :, 2]
    legs, above = scores[:, KNEES_AND_ANKLES].mean(axis=1), scores[:, ABOVE].mean(axis=1)
    return np.asarray((legs < LEG_SHARE * above) & (legs < LEG_SCORE))


def _shift(last: BoxPx, box: BoxPx) -> tuple[float, float]:
    """Way of a box's centre."""
    return (box[0] + box[2] - last[0] - last[2]) / 2, (box[1] + box[3] - last[1] - last[3]) / 2


def brightness(image: Image, box: Floats) -> float:
    """Mean grey level of a person's part of a picture, 0 to 255.

    Args:
        image: BGR uint8 `[height, width, 3]`.
        box: xyxy pixels `[4]`; the part inside the image counts.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = np.clip(np.rint(box), 0, [width, height, width, height]).astype(int)
    part = image[y1:y2, x1:x2]
    return float(part.mean()) if part.size else 0.0


def sharpness(image: Image, boxes: Floats) -> list[float]:
    """Variance of the Laplacian of each person at 64 pixels height: detail that blur takes away.

    Args:
        image: BGR uint8 `[height, width, 3]`.
        boxes: xyxy pixels `[n, 4]`; the parts inside the image count.
    """
    height, width = image.shape[:2]
    compiled = image.strides[1:] == (3, 1) and cpu.available()
    found = [0.0] * len(boxes)
    spans: list[tuple[int, int, int, int, int]] = []
    at: list[int] = []
    for index, (left, top, right, bottom) in enumerate(boxes.tolist()):
        x1, y1, x2, y2 = max(int(left), 0), max(int(top), 0), min(int(right), width), min(int(bottom), height)
        if x2 - x1 < 2 or y2 - y1 < 2:
            continue
        columns = max(8, round(64 * (x2 - x1) / (y2 - y1)))
        if compiled and y2 - y1 >= 64 and x2 - x1 >= columns:
            spans.append((x1, y1, x2, y2, columns))
            at.append(index)
        else:
            found[index] = shrunk_sharpness(image[y1:y2, x1:x2], columns)
    if spans:
        for index, variance in zip(
            at, laplacian_variances(image, np.array(spans, np.int32), 64), strict=True
        ):
            found[index] = variance
    return found


def shrunk_sharpness(person: Image, columns: int) -> float:
    """The same with OpenCV: for boxes that have to grow, and machines without a compiler."""
    import cv2

    grey = cv2.cvtColor(person, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (columns, 64), interpolation=cv2.INTER_AREA)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(small, cv2.CV_32F))
    return float(deviation[0, 0]) ** 2

"""Which part of the frame an encoder sees, so that nvinfer's crop equals the pipeline's own.

nvinfer fits a rectangle into the network's input and fills the rest with black, centred. For people not wider
than the input that is the rule `pad_to_aspect`. Wider ones the rule cuts in the middle, and nvinfer would
shrink: their rectangle is narrowed before. The rules `pose` and `segment` enlarge the box; nvinfer's
rectangles end at the frame's border, where the rules go on in black, so joints are moved back from the
rectangle that was cut.

nvinfer also rounds rectangles inwards to even pixels (`get_converted_buffer` in gstnvinfer.cpp): they are
rounded outwards first, and nothing is left for it to round.
"""

from __future__ import annotations

from math import ceil, floor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaitstream.deepstream.plan import EncoderPlan
from gaitstream.models.crops import PADDING
from gaitstream.models.pose_outputs import CROP_HEIGHT, CROP_WIDTH, HEAT_WIDTH

POSE_ASPECT = CROP_WIDTH / CROP_HEIGHT

SMALLEST_PX = 16
"""Sides of a rectangle under which nvinfer encodes nothing: it divides by them."""


class Rect(NamedTuple):
    """A box as DeepStream holds it, pixels of the muxed frame."""

    left: float
    top: float
    width: float
    height: float


class Scale(NamedTuple):
    """From the muxed frame to the camera's own, in square pixels."""

    x: float
    y: float

    def box(self, rect: Rect) -> tuple[float, float, float, float]:
        """A rectangle as xyxy pixels of the camera's frame."""
        right, bottom = rect.left + rect.width, rect.top + rect.height
        return rect.left * self.x, rect.top * self.y, right * self.x, bottom * self.y


def outwards(box: Rect, frame_width: int, frame_height: int) -> Rect:
    """The smallest rectangle of even numbers around a box, inside the frame."""
    left, right = _outwards(box.left, box.left + box.width, frame_width)
    top, bottom = _outwards(box.top, box.top + box.height, frame_height)
    return Rect(left, top, right - left, bottom - top)


def gait_rect(box: Rect, frame_width: int, frame_height: int, aspect: float = 0.5) -> Rect:
    """The rule `pad_to_aspect`: at most as wide as the input's aspect allows, around the same centre."""
    around = outwards(box, frame_width, frame_height)
    widest = _even(around.height * aspect)
    if around.width <= widest:
        return around
    left = 2.0 * round((box.left + box.width / 2 - widest / 2) / 2)
    left = min(max(left, around.left), around.left + around.width - widest)
    return Rect(left, around.top, widest, around.height)


def pose_rect(box: Rect, frame_width: int, frame_height: int, aspect: float = POSE_ASPECT) -> Rect:
    """The rules `pose` and `segment`: the input's aspect around the box, enlarged, cut at the border."""
    width = max(box.width, box.height * aspect)
    height = width / aspect
    width, height = width * PADDING, height * PADDING
    x, y = box.left + box.width / 2, box.top + box.height / 2
    return outwards(Rect(x - width / 2, y - height / 2, width, height), frame_width, frame_height)


def encoder_rect(encoder: EncoderPlan, box: Rect, frame_width: int, frame_height: int) -> Rect:
    """The rectangle an encoder should be given: even numbers inside the frame."""
    rule = gait_rect if encoder.rule == "pad_to_aspect" else pose_rect
    return rule(box, frame_width, frame_height, encoder.width / encoder.height)


def joints_in_frame(points: NDArray[np.float32], rects: NDArray[np.float64]) -> NDArray[np.float32]:
    """Move joints from heatmap pixels to the muxed frame, as nvinfer fitted rectangles into the network.

    Args:
        points: `[n, joints, 3]`, x and y in heatmap pixels (pixel centres at whole numbers), score.
        rects: `[n, 4]`, left, top, width and height of what the encoder was given, from `encoder_rect`.

    Returns:
        `[n, joints, 3]`, x and y in pixels of the muxed frame, scores unchanged.
    """
    left, top, width, height = rects.T[:, :, None]
    # nvinfer keeps the aspect ratio, cuts fractions off and centres (`get_converted_buffer`).
    full_height = np.floor(CROP_WIDTH * height / width)
    full_width = np.floor(CROP_HEIGHT * width / height)
    is_wide = CROP_WIDTH * height / width <= CROP_HEIGHT
    fitted_width = np.where(is_wide, CROP_WIDTH, full_width)
    fitted_height = np.where(is_wide, full_height, CROP_HEIGHT)
    margin_x, margin_y = (CROP_WIDTH - fitted_width) // 2, (CROP_HEIGHT - fitted_height) // 2
    stride = CROP_WIDTH / HEAT_WIDTH
    moved = points.copy()
    moved[:, :, 0] = ((points[:, :, 0] + 0.5) * stride - margin_x) * width / fitted_width + left - 0.5
    moved[:, :, 1] = ((points[:, :, 1] + 0.5) * stride - margin_y) * height / fitted_height + top - 0.5
    return moved


def _outwards(low: float, high: float, size: int) -> tuple[float, float]:
    last = _even(size)
    start = min(max(_even(low), 0.0), last)
    return start, max(min(2.0 * ceil(high / 2), last), start)


def _even(value: float) -> float:
    return 2.0 * floor(value / 2)

"""Which part of the frame an encoder sees, so that nvinfer's crop equals the pipeline's own.

nvinfer fits a rectangle into the network's input and fills the rest with black, centred. For people up to
half as wide as high that is BigGait's crop rule. Wider ones the rule cuts in the middle, and nvinfer would
shrink: their rectangle is narrowed before. The pose rule enlarges the box; nvinfer's rectangles end at the
frame's border, where the rule goes on in black.
"""

from __future__ import annotations

from typing import NamedTuple

from gaitstream.deepstream.plan import EncoderKind
from gaitstream.models.pose import CROP_HEIGHT, CROP_WIDTH
from gaitstream.models.pose import PADDING as POSE_PADDING

POSE_ASPECT = CROP_WIDTH / CROP_HEIGHT


class Rect(NamedTuple):
    """A box as DeepStream holds it, pixels of the muxed frame."""

    left: float
    top: float
    width: float
    height: float


def gait_rect(box: Rect) -> Rect:
    """BigGait: at most half as wide as high, around the same centre."""
    width = min(box.width, box.height / 2)
    return Rect(box.left + (box.width - width) / 2, box.top, width, box.height)


def pose_rect(box: Rect, frame_width: int, frame_height: int) -> Rect:
    """The pose model: the network's aspect around the box, enlarged by a quarter, cut at the border."""
    width = max(box.width, box.height * POSE_ASPECT)
    height = width / POSE_ASPECT
    width, height = width * POSE_PADDING, height * POSE_PADDING
    x, y = box.left + box.width / 2, box.top + box.height / 2
    left, right = max(x - width / 2, 0.0), min(x + width / 2, float(frame_width))
    top, bottom = max(y - height / 2, 0.0), min(y + height / 2, float(frame_height))
    return Rect(left, top, max(right - left, 0.0), max(bottom - top, 0.0))


def encoder_rect(kind: EncoderKind, box: Rect, frame_width: int, frame_height: int) -> Rect:
    """The rectangle an encoder of this kind should be given."""
    return gait_rect(box) if kind == "biggait" else pose_rect(box, frame_width, frame_height)

"""Cutting people out of pictures, by the two rules there are.

`pad_to_aspect`, for recognizers on crops and their own masks: the box's height fits, the rest of the width
is black or cut off.
`around`, for pose and segmentation models: the box grows by a quarter about its centre, aspect kept, black
where the picture ends.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats
from gaitstream.errors import EngineError
from gaitstream.kernels import cpu
from gaitstream.kernels.cropping import crop, pad_windows, picture, pose_windows

PADDING = 1.25
"""A person's box grows by this before it is cut out by the rule `around`."""

Bytes = NDArray[np.uint8]
Rule = Literal["around", "pad_to_aspect"]
Size = tuple[int, int]
"""Height and width of crops."""
PeopleInFrames = Sequence[tuple[Bytes, Floats]]
"""Frames BGR uint8 `[rows, columns, 3]` with the boxes `[n, 4]` of those who are cut out of each."""


def crop_padded(image: Bytes, boxes: Floats, height: int, width: int) -> tuple[Bytes, Floats]:
    """The rule `pad_to_aspect`.

    A box is rounded to whole pixels and cut at the image's edges; what is left is resized to the crop's
    height, aspect kept, then centred in black or cut at both sides. Width over height of what is left is the
    ratio, from which a model knows the columns that hold the person. A box outside the image gives a black
    crop of ratio 0.

    Args:
        image: BGR uint8 `[rows, columns, 3]`.
        boxes: xyxy pixels `[n, 4]`.
        height: of the crops.
        width: of the crops.

    Returns:
        Crops RGB uint8 `[n, 3, height, width]`, ratios float32 `[n]`.

    Raises:
        EngineError: boxes have another shape, or are no numbers.
    """
    boxes = _checked(boxes)
    if not can_compile():
        return crop_resized(image, boxes, height, width)
    rows, columns = image.shape[:2]
    windows, ratios = pad_windows(boxes, width=columns, height=rows, crop=(height, width))
    return crop([picture(_packed(image))], windows, (height, width)), ratios


def crop_resized(image: Bytes, boxes: Floats, height: int, width: int) -> tuple[Bytes, Floats]:
    """The rule `pad_to_aspect` with OpenCV, for machines without a compiler; a quarter as fast.

    As `crop_padded`, to a level of the 255.
    """
    import cv2

    rows, columns = image.shape[:2]
    edges = np.rint(np.asarray(boxes, np.float64).reshape(-1, 4)).astype(int)
    edges = edges.clip(0, [columns, rows, columns, rows])
    crops = np.zeros((len(edges), 3, height, width), np.uint8)
    ratios = np.zeros(len(edges), np.float32)
    for index, (x1, y1, x2, y2) in enumerate(edges):
        if x2 <= x1 or y2 <= y1:
            continue
        ratios[index] = (x2 - x1) / (y2 - y1)
        fitted = max(int((x2 - x1) * height / (y2 - y1)), 1)
        person = cv2.resize(image[y1:y2, x1:x2], (fitted, height), interpolation=cv2.INTER_LINEAR)
        spare = width - fitted
        # Floor division rounds towards minus infinity: an odd surplus loses one column more on the left.
        if spare >= 0:
            left = spare // 2
            _to_planes(person, crops[index, :, :, left : left + fitted])
        else:
            first = -(spare // 2)
            _to_planes(person[:, first : first + width], crops[index])
    return crops, ratios


def crop_around(
    image: Bytes,
    boxes: Floats,
    size: Size,
    *,
    out: Bytes | None = None,
    colour: Literal["rgb", "bgr"] = "rgb",
) -> Bytes:
    """The rule `around`: box x 1.25 around its centre, aspect kept, black where the image ends.

    Args:
        image: BGR uint8 `[rows, columns, 3]`.
        boxes: xyxy pixels `[n, 4]`.
        size: of the crops.
        out: `[n, 3, height, width]` to fill; None makes a new array.
        colour: order of the crops' channels.

    Returns:
        uint8 `[n, 3, height, width]`.

    Raises:
        EngineError: boxes have another shape, or are no numbers.
    """
    boxes = _checked(boxes)
    if can_compile():
        return crop_compiled([(image, boxes)], size, out, colour)
    crops = np.empty((len(boxes), 3, *size), np.uint8) if out is None else out
    crops[...] = crop_warped(image, boxes, size)[:, :: 1 if colour == "rgb" else -1]
    return crops


def crop_frames(frames: PeopleInFrames, size: Size) -> Bytes:
    """`crop_around` in several frames at once, everybody's crops one behind the other."""
    frames = [(image, _checked(boxes)) for image, boxes in frames]
    if can_compile():
        return crop_compiled(frames, size, threads=cpu.default_threads())
    return np.concatenate([crop_warped(image, boxes, size) for image, boxes in frames])


def crop_compiled(
    frames: PeopleInFrames,
    size: Size,
    out: Bytes | None = None,
    colour: Literal["rgb", "bgr"] = "rgb",
    *,
    threads: int = 1,
) -> Bytes:
    """The rule `around` in native code, on so many threads; as `crop_around`.

    Raises:
        KernelError: nothing compiles here.
    """
    sources = [_packed(image) for image, _ in frames]
    frame = np.repeat(np.arange(len(frames)), [len(boxes) for _, boxes in frames])
    height, width = np.array([source.shape[:2] for source in sources])[frame].T
    boxes = np.concatenate([boxes for _, boxes in frames])
    windows = pose_windows(boxes, width=width, height=height, crop=size, picture=frame)
    # The kernel makes RGB of what it is told lies there.
    stored: Literal["rgb", "bgr"] = "bgr" if colour == "rgb" else "rgb"
    pictures = [picture(source, stored) for source in sources]
    return crop(pictures, windows, size, out=out, threads=threads)


def crop_warped(image: Bytes, boxes: Floats, size: Size) -> Bytes:
    """The rule `around` with OpenCV, for machines without a compiler; as `crop_around`, a third as fast."""
    import cv2

    height, width = size
    crops = np.empty((len(boxes), 3, height, width), np.uint8)
    for planes, (left, top, scale) in zip(crops, crop_windows(boxes, size), strict=True):
        # Pixel centres lie at half integers of the box's coordinates.
        matrix = np.array(
            [[scale, 0, (0.5 - left) * scale - 0.5], [0, scale, (0.5 - top) * scale - 0.5]], np.float64
        )
        _to_planes(cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR), planes)
    return crops


def crop_windows(boxes: Floats, size: Size) -> NDArray[np.float64]:
    """Left, top and scale (crop pixels per image pixel) `[n, 3]` of what `around` cuts for boxes `[n, 4]`."""
    crop_height, crop_width = size
    x1, y1, x2, y2 = np.asarray(boxes, np.float64).reshape(-1, 4).T
    aspect = crop_width / crop_height
    width = np.maximum(np.maximum(x2 - x1, (y2 - y1) * aspect), 1e-3) * PADDING
    left = (x1 + x2 - width) / 2
    top = (y1 + y2 - width / aspect) / 2
    return np.stack([left, top, crop_width / width], axis=1)


@functools.cache
def can_compile() -> bool:
    """Whether native code works here; the first call compiles it."""
    return cpu.available()


def _checked(boxes: Floats) -> Floats:
    """Boxes that something can be cut out by."""
    found = np.asarray(boxes)
    if found.ndim != 2 or found.shape[1] != 4:
        if found.size == 0:
            return np.empty((0, 4), np.float32)
        raise EngineError(f"boxes are xyxy pixels [n, 4], not {list(found.shape)}")
    if not np.isfinite(found).all():
        raise EngineError("boxes hold NaN or infinity: leave out those that do")
    return found


def _packed(image: Bytes) -> Bytes:
    """The kernel reads pixels side by side; a mirrored picture, say, is copied first."""
    return image if image.strides[1:] == (3, 1) else np.ascontiguousarray(image)


def _to_planes(image: NDArray[Any], planes: Bytes) -> None:
    """Write a BGR picture `[height, width, 3]` into RGB planes `[3, height, width]`, which may be a view."""
    import cv2

    cv2.split(image, [planes[2], planes[1], planes[0]])

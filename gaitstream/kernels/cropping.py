"""Both crop rules as windows that one kernel reads, on the GPU or the CPU.

    windows, ratios = pad_windows(boxes, width=1920, height=1080)      # recognizers on crops
    windows = pose_windows(boxes, width=1920, height=1080)             # pose model
    crops = crop([picture(image)], windows, (256, 128))                # on the CPU
    launcher().crop(pictures, windows, crops, stream=stream)           # on the GPU, frames stay there

Finding windows takes a few numbers per person and always happens on the host.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import KernelError

Structs = NDArray[np.void]
Format = Literal["rgb", "bgr", "nv12"]
FORMATS: dict[str, int] = {"rgb": 0, "bgr": 1, "nv12": 2}
COLOURIMETRY: dict[str, int] = {"bt601": 0, "bt709": 1}
POSE_PADDING = 1.25
"""A person's box grows by this before the pose model sees it."""

WINDOW = np.dtype(
    [
        *((name, "<f4") for name in ("scale_x", "offset_x", "scale_y", "offset_y")),
        *(
            (name, "<i4")
            for name in ("left", "top", "right", "bottom", "first", "last", "black_outside", "picture")
        ),
    ]
)
"""`struct CropWindow` of csrc/crop_math.cuh."""

PICTURE = np.dtype(
    [
        ("data", "<u8"),
        ("chroma", "<u8"),
        *((name, "<i4") for name in ("pitch", "chroma_pitch", "width", "height", "format", "colourimetry")),
    ]
)
"""`struct Picture` of csrc/crop_math.cuh."""


def pad_windows(
    boxes: Any, *, width: int, height: int, crop: tuple[int, int] = (256, 128), picture: Any = 0
) -> tuple[Structs, NDArray[np.float32]]:
    """The rule `pad_to_aspect`: height fits, aspect kept, centred in black or cut at both sides.

    A box is rounded to whole pixels and cut at the picture's edges first; one that lies outside gives a
    black crop of ratio 0.

    Args:
        boxes: xyxy pixels `[n, 4]`.
        width: of the picture.
        height: of the picture.
        crop: height and width of the crops.
        picture: index of each box's picture, a number or `[n]`.

    Returns:
        Windows `[n]` and width over height of what was left of each box, float32 `[n]`.
    """
    crop_height, crop_width = crop
    edges = np.rint(np.asarray(boxes, np.float64).reshape(-1, 4)).astype(np.int64)
    x1, y1, x2, y2 = edges.clip(0, [width, height, width, height]).T
    inside = (x2 > x1) & (y2 > y1)
    across, down = np.where(inside, x2 - x1, 1), np.where(inside, y2 - y1, 1)
    fitted = np.maximum(across * crop_height // down, 1)
    # Rounds towards minus infinity, as the published rule: an odd surplus loses one column more on the left.
    left = (crop_width - fitted) // 2
    scale_x, scale_y = across / fitted, down / crop_height
    windows = np.zeros(len(edges), WINDOW)
    windows["scale_x"], windows["offset_x"] = scale_x, (0.5 - left) * scale_x - 0.5 + x1
    windows["scale_y"], windows["offset_y"] = scale_y, 0.5 * scale_y - 0.5 + y1
    windows["left"], windows["top"], windows["right"], windows["bottom"] = x1, y1, x2, y2
    windows["first"] = np.maximum(left, 0)
    windows["last"] = np.where(inside, np.minimum(left + fitted, crop_width), 0)
    windows["picture"] = picture
    return windows, np.where(inside, across / down, 0).astype(np.float32)


def pose_windows(
    boxes: Any, *, width: Any, height: Any, crop: tuple[int, int] = (256, 192), picture: Any = 0
) -> Structs:
    """The pose model's rule: box x 1.25 about its centre, aspect kept, black where the picture ends.

    Args:
        boxes: xyxy pixels `[n, 4]`.
        width: of each box's picture, a number or `[n]`.
        height: of each box's picture, likewise.
        crop: height and width of the crops.
        picture: index of each box's picture, a number or `[n]`.

    Returns:
        Windows `[n]`.
    """
    crop_height, crop_width = crop
    x1, y1, x2, y2 = np.asarray(boxes, np.float64).reshape(-1, 4).T
    aspect = crop_width / crop_height
    across = np.maximum(np.maximum(x2 - x1, (y2 - y1) * aspect), 1e-3) * POSE_PADDING
    scale = across / crop_width
    windows = np.zeros(len(across), WINDOW)
    windows["scale_x"] = windows["scale_y"] = scale
    windows["offset_x"] = 0.5 * scale - 0.5 + (x1 + x2 - across) / 2
    windows["offset_y"] = 0.5 * scale - 0.5 + (y1 + y2 - across / aspect) / 2
    windows["right"], windows["bottom"], windows["last"] = width, height, crop_width
    windows["black_outside"], windows["picture"] = 1, picture
    return windows


def picture(image: NDArray[np.uint8], pixel_format: Format = "bgr", colourimetry: str = "bt709") -> Structs:
    """Describe a host picture: `[height, width, 3]`, or NV12 as `[height * 3 / 2, width]` (Y above UV).

    The array must stay alive while the description is used.

    Raises:
        KernelError: shape, dtype or a word is wrong.
    """
    if pixel_format not in FORMATS or colourimetry not in COLOURIMETRY:
        raise KernelError(
            f"pixel format {pixel_format!r} with {colourimetry!r}: choose from {', '.join(FORMATS)} "
            f"and {', '.join(COLOURIMETRY)}"
        )
    nv12 = pixel_format == "nv12"
    packed = image.ndim == 3 and image.shape[2] == 3 and image.strides[1:] == (3, 1)
    planar = image.ndim == 2 and image.shape[0] % 3 == 0 and image.strides[1] == 1
    if image.dtype != np.uint8 or not (planar if nv12 else packed):
        wanted = "[height * 3 / 2, width]" if nv12 else "[height, width, 3]"
        raise KernelError(f"a {pixel_format} picture is uint8 {wanted}, not {image.dtype} {image.shape}")
    height = image.shape[0] * 2 // 3 if nv12 else image.shape[0]
    chroma = image.ctypes.data + height * image.strides[0] if nv12 else 0
    return np.array(
        (
            image.ctypes.data,
            chroma,
            image.strides[0],
            image.strides[0],
            image.shape[1],
            height,
            FORMATS[pixel_format],
            COLOURIMETRY[colourimetry],
        ),
        PICTURE,
    )


def crop(
    pictures: Sequence[Structs],
    windows: Structs,
    size: tuple[int, int],
    *,
    half: bool = False,
    gain: Sequence[float] = (1.0, 1.0, 1.0),
    bias: Sequence[float] = (0.0, 0.0, 0.0),
    out: NDArray[Any] | None = None,
    threads: int = 1,
) -> NDArray[Any]:
    """Cut windows out of host pictures on the CPU: the check of the GPU's crops, from the same source.

    Args:
        pictures: of `picture`, in the order of the windows' `picture` field.
        windows: of `pad_windows` or `pose_windows`, `[n]`.
        size: height and width of the crops.
        half: float16 `value * gain + bias` with values in 0..255, instead of uint8.
        gain: per channel R, G, B.
        bias: per channel R, G, B.
        out: contiguous array to fill; None makes a new one.
        threads: that share the windows.

    Returns:
        RGB `[n, 3, height, width]`, uint8 or float16.

    Raises:
        KernelError: a window names a picture that is not there or reaches over it, `out` does not fit, or
            nothing compiles here.
    """
    from gaitstream.kernels.cpu import library

    table = np.array(pictures, PICTURE).reshape(-1)
    check_windows(windows, table)
    shape, dtype = (len(windows), 3, *size), np.dtype(np.float16 if half else np.uint8)
    crops = np.empty(shape, dtype) if out is None else out
    if crops.shape != shape or crops.dtype != dtype or not crops.flags.c_contiguous:
        raise KernelError(f"crops go into contiguous {dtype} {shape}, not {crops.dtype} {crops.shape}")
    gains, biases = np.asarray(gain, np.float32), np.asarray(bias, np.float32)
    library().gaitstream_crop(
        ctypes.c_void_p(table.ctypes.data),
        ctypes.c_void_p(np.ascontiguousarray(windows).ctypes.data),
        ctypes.c_int64(len(windows)),
        ctypes.c_int32(size[0]),
        ctypes.c_int32(size[1]),
        ctypes.c_int32(half),
        ctypes.c_void_p(gains.ctypes.data),
        ctypes.c_void_p(biases.ctypes.data),
        ctypes.c_void_p(crops.ctypes.data),
        ctypes.c_int32(threads),
    )
    return crops


def check_windows(windows: Structs, pictures: Structs) -> None:
    """Raise KernelError where a window would read outside its picture: the kernels trust their windows."""
    if windows.dtype != WINDOW:
        raise KernelError("windows come from pad_windows or pose_windows")
    if not len(windows):
        return
    index = windows["picture"]
    if index.min() < 0 or index.max() >= len(pictures):
        raise KernelError(f"a window names picture {index.max()}; there are {len(pictures)}")
    own = pictures[index]
    inside = (windows["left"] >= 0) & (windows["top"] >= 0)
    inside &= (windows["right"] <= own["width"]) & (windows["bottom"] <= own["height"])
    if not inside.all():
        bad = int(np.argmin(inside))
        raise KernelError(
            f"window {bad} reaches over its picture of {own['width'][bad]} x {own['height'][bad]}: "
            "give the picture's own size when windows are made"
        )

"""Pictures at another size, in native code."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from gaitstream.kernels import cpu


def resize(image: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Write a picture at another size, bilinear, as OpenCV's `resize` does with `INTER_LINEAR`.

    Every picture of every camera is made small for the detector, which takes OpenCV three times as long as
    native code with registers of 64 bytes; without these OpenCV does it. A grey level may differ by one.

    Args:
        image: uint8 `[height, width, 3]`.
        out: uint8 `[height, width, 3]`, pixels side by side; rows may lie anywhere apart.
    """
    if image.shape == out.shape:
        out[...] = image
        return
    packed = image.strides[1:] == out.strides[1:] == (3, 1)
    if packed and cpu.available() and _resized(image, out):
        return
    import cv2

    cv2.resize(image, (out.shape[1], out.shape[0]), dst=out, interpolation=cv2.INTER_LINEAR)


def _resized(image: NDArray[np.uint8], out: NDArray[np.uint8]) -> bool:
    done: int = cpu.library().gaitstream_resize(
        ctypes.c_void_p(image.ctypes.data),
        ctypes.c_int64(image.strides[0]),
        ctypes.c_int32(image.shape[0]),
        ctypes.c_int32(image.shape[1]),
        ctypes.c_void_p(out.ctypes.data),
        ctypes.c_int64(out.strides[0]),
        ctypes.c_int32(out.shape[0]),
        ctypes.c_int32(out.shape[1]),
    )
    return bool(done)

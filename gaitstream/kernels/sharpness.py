"""How much detail people's pictures hold, in native code."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from gaitstream.kernels import cpu


def laplacian_variances(image: NDArray[np.uint8], boxes: NDArray[np.int32], rows: int) -> list[float]:
    """Variances of the Laplacian of boxes that are made grey and shrunk by area: one pass, no copies.

    The steps, their weights and their rounding are OpenCV's (`cvtColor`, `resize` with `INTER_AREA`,
    `Laplacian`); it is written here because it is asked of every person in every frame, and those make three
    pictures on the way.

    Args:
        image: BGR uint8 `[height, width, 3]`, pixels side by side; rows may lie anywhere apart.
        boxes: left, top, right and bottom inside the image, right and bottom excluded, and the columns of
            each one's small picture, at most those of the box; `[n, 5]`.
        rows: of the small pictures, at most those of any box.

    Raises:
        KernelError: nothing compiles here.
    """
    boxes = np.ascontiguousarray(boxes, np.int32)
    found = np.empty(len(boxes), np.float64)
    cpu.library().gaitstream_sharpness(
        ctypes.c_void_p(image.ctypes.data),
        ctypes.c_int64(image.strides[0]),
        ctypes.c_void_p(boxes.ctypes.data),
        ctypes.c_int32(len(boxes)),
        ctypes.c_int32(rows),
        ctypes.c_void_p(found.ctypes.data),
    )
    variances: list[float] = found.tolist()
    return variances

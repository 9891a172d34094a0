"""Mean colours of the cells of boxes, in native code."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from gaitstream.kernels import cpu


def cell_means(
    image: NDArray[np.uint8], boxes: NDArray[np.int32], columns: int, rows: int
) -> NDArray[np.float32]:
    """What boxes show when each is shrunk by area to a few cells.

    The means and their rounding are those of OpenCV's `resize` with `INTER_AREA`, which takes far longer for
    so few cells; it is asked of every detection in every frame.

    Args:
        image: BGR uint8 `[height, width, 3]`, pixels side by side; rows may lie anywhere apart.
        boxes: left, top, right and bottom `[n, 4]` inside the image, right and bottom excluded, each box of
            `columns` x `rows` pixels or more.
        columns: of each box.
        rows: likewise.

    Returns:
        Whole numbers, float32 `[n, rows * columns, 3]`.

    Raises:
        KernelError: nothing compiles here.
    """
    boxes = np.ascontiguousarray(boxes, np.int32)
    means = np.empty((len(boxes), rows * columns, 3), np.float32)
    cpu.library().gaitstream_cells(
        ctypes.c_void_p(image.ctypes.data),
        ctypes.c_int64(image.strides[0]),
        ctypes.c_void_p(boxes.ctypes.data),
        ctypes.c_int32(len(boxes)),
        ctypes.c_int32(columns),
        ctypes.c_int32(rows),
        ctypes.c_void_p(means.ctypes.data),
    )
    return means

"""How much detail a person's picture holds, in native code."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from gaitstream.kernels import cpu


def laplacian_variance(picture: NDArray[np.uint8], columns: int, rows: int) -> float:
    """Variance of the Laplacian of a picture that is made grey and shrunk by area: one pass, no copies.

    The steps, their weights and their rounding are OpenCV's (`cvtColor`, `resize` with `INTER_AREA`,
    `Laplacian`); it is written here because it is asked of every person in every frame, and those make three
    pictures on the way.

    Args:
        picture: BGR uint8 `[height, width, 3]`, pixels side by side; rows may lie anywhere apart.
        columns: of the small picture, at most those of the picture.
        rows: likewise.

    Raises:
        KernelError: nothing compiles here.
    """
    height, width = picture.shape[:2]
    found: float = cpu.library().gaitstream_sharpness(
        ctypes.c_void_p(picture.ctypes.data),
        ctypes.c_int64(picture.strides[0]),
        ctypes.c_int32(width),
        ctypes.c_int32(height),
        ctypes.c_int32(columns),
        ctypes.c_int32(rows),
    )
    return found

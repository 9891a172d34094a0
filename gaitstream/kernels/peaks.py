"""`find_peaks`: joints of heatmaps, on the host."""

from __future__ import annotations

import ctypes
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import KernelError
from gaitstream.kernels import cpu
from gaitstream.kernels.contract import HEIGHT, WIDTH, Floats


def find_peaks(heatmaps: NDArray[Any], *, backend: Literal["auto", "cpu", "numpy"] = "auto") -> Floats:
    """Peaks of heatmaps, moved a quarter pixel towards the higher neighbour.

    Of equal values the first in memory is the peak, one on the border stays on its axis, and what is not
    finite is none: a map without a finite value gives zeros. The rule is that of the published top-down
    pose models.

    Args:
        heatmaps: `[n, joints, 64, 48]` float32 or float16.
        backend: `cpu` (compiled at first use), `numpy`, or `auto`: `cpu` if it compiles.

    Returns:
        `[n, joints, 3]` float32: x and y in heatmap pixels (pixel centres at whole numbers), score.

    Raises:
        KernelError: a shape or dtype is wrong, or nothing compiles here.
    """
    if heatmaps.ndim != 4 or heatmaps.shape[2:] != (HEIGHT, WIDTH):
        raise KernelError(f"heatmaps have shape {heatmaps.shape}; joints are found in [n, joints, 64, 48]")
    if heatmaps.dtype not in (np.float32, np.float16):
        raise KernelError(f"heatmaps are {heatmaps.dtype}; give float32 or float16")
    if backend == "numpy" or (backend == "auto" and not cpu.available()):
        return peaks_numpy(heatmaps)
    maps = np.ascontiguousarray(heatmaps)
    joints = np.empty((*maps.shape[:2], 3), np.float32)
    cpu.library().gaitstream_peaks(
        ctypes.c_void_p(maps.ctypes.data),
        ctypes.c_int32(maps.dtype == np.float16),
        ctypes.c_int64(maps.shape[0] * maps.shape[1]),
        ctypes.c_void_p(joints.ctypes.data),
    )
    return joints


def peaks_numpy(heatmaps: NDArray[Any]) -> Floats:
    """The same in numpy, written from the rule: what the compiled forms are checked against."""
    count, joints = heatmaps.shape[:2]
    flat = heatmaps.reshape(count * joints, HEIGHT * WIDTH).astype(np.float32)
    usable = np.where(np.isfinite(flat), flat, -np.inf)
    peak, row = usable.argmax(axis=1), np.arange(count * joints)
    y, x = np.divmod(peak, WIDTH)
    right, left = np.minimum(x + 1, WIDTH - 1), np.maximum(x - 1, 0)
    below, above = np.minimum(y + 1, HEIGHT - 1), np.maximum(y - 1, 0)
    with np.errstate(invalid="ignore"):
        slope_x = np.sign(flat[row, y * WIDTH + right] - flat[row, y * WIDTH + left])
        slope_y = np.sign(flat[row, below * WIDTH + x] - flat[row, above * WIDTH + x])
    shift_x = np.where((x > 0) & (x < WIDTH - 1), 0.25 * np.nan_to_num(slope_x), 0)
    shift_y = np.where((y > 0) & (y < HEIGHT - 1), 0.25 * np.nan_to_num(slope_y), 0)
    points = np.stack([x + shift_x, y + shift_y, flat[row, peak]], axis=1)
    points[~np.isfinite(usable).any(axis=1)] = 0
    return points.astype(np.float32).reshape(count, joints, 3)

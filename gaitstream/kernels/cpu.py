"""The CPU build of the kernels, called through ctypes. The interpreter lock is released while it runs."""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import KernelError
from gaitstream.kernels.build import find_cpu
from gaitstream.kernels.contract import (
    HEIGHT,
    NORMALIZATIONS,
    SAMPLINGS,
    SPINE,
    WIDTH,
    Aligned,
    Floats,
    Options,
)


class PghaRequest(ctypes.Structure):
    """`struct PghaRequest` of csrc/pgha_cpu.cpp, field by field."""

    _fields_ = (
        ("heatmaps", ctypes.c_void_p),
        ("keypoints", ctypes.c_void_p),
        ("segments", ctypes.c_void_p),
        ("groups", ctypes.c_void_p),
        ("parts", ctypes.c_void_p),
        ("angle_deg", ctypes.c_void_p),
        ("aligned", ctypes.c_void_p),
        ("neck", ctypes.c_void_p),
        ("hip", ctypes.c_void_p),
        ("score", ctypes.c_void_p),
        ("n", ctypes.c_int64),
        ("channels", ctypes.c_int32),
        ("group_count", ctypes.c_int32),
        ("is_half", ctypes.c_int32),
        ("normalization", ctypes.c_int32),
        ("sampling", ctypes.c_int32),
        ("align_small", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("joints", ctypes.c_int32 * 4),
        ("gamma_deg", ctypes.c_double),
        ("target_x", ctypes.c_double),
        ("target_y", ctypes.c_double),
    )


@functools.cache
def library() -> ctypes.CDLL:
    """The compiled library, built at the first call.

    Raises:
        KernelError: it cannot be compiled or loaded.
    """
    return open_library(find_cpu())


def open_library(path: Path) -> ctypes.CDLL:
    """Load a compiled library and check that it is of this version.

    Raises:
        KernelError: it does not load, or is another version's.
    """
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        raise KernelError(f"{path} does not load: {error}; delete it to have it compiled again") from error
    expected = loaded.gaitstream_pgha_request_bytes()
    if expected != ctypes.sizeof(PghaRequest):
        raise KernelError(f"{path} is of another version of gaitstream; delete it to have it compiled again")
    loaded.gaitstream_pgha.argtypes = [ctypes.POINTER(PghaRequest)]
    loaded.gaitstream_pgha.restype = None
    return loaded


def available() -> bool:
    """Whether the CPU build works on this machine; compiles it when it has to."""
    try:
        library()
    except KernelError:
        return False
    return True


def default_threads() -> int:
    """CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _address(array: NDArray[Any] | None) -> int | None:
    return None if array is None else array.ctypes.data


def align_cpu(
    heatmaps: NDArray[Any],
    keypoints: Floats | None,
    options: Options,
    segments: NDArray[np.int32] | None,
    threads: int | None = None,
    using: ctypes.CDLL | None = None,
) -> Aligned:
    """Align checked C-contiguous arrays; shapes and meaning as `gaitstream.kernels.align`.

    `using` is a library of `open_library`; None for the machine's own.
    """
    n, channels = heatmaps.shape[:2]
    groups = np.array(options.masks, np.uint64)
    result = Aligned(
        parts=np.empty((n, 1 + len(groups), HEIGHT, WIDTH), np.float32),
        angle_deg=np.empty(n, np.float32),
        aligned=np.empty(n, np.bool_),
        neck_xy=np.empty((n, 2), np.float32),
        hip_xy=np.empty((n, 2), np.float32),
        score=np.empty(n, np.float32),
    )
    request = PghaRequest(
        _address(heatmaps),
        _address(keypoints),
        _address(segments),
        _address(groups),
        _address(result.parts),
        _address(result.angle_deg),
        _address(result.aligned),
        _address(result.neck_xy),
        _address(result.hip_xy),
        _address(result.score),
        n,
        channels,
        len(groups),
        int(heatmaps.dtype == np.float16),
        NORMALIZATIONS[options.normalization],
        SAMPLINGS[options.sampling],
        int(options.small_angle == "align"),
        threads or default_threads(),
        (ctypes.c_int32 * 4)(*SPINE),
        options.gamma_deg,
        *options.target_xy,
    )
    (using or library()).gaitstream_pgha(ctypes.byref(request))
    return result

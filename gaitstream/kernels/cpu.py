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
from gaitstream.kernels.arguments import PghaRequest, rules
from gaitstream.kernels.build import find_cpu
from gaitstream.kernels.contract import Aligned, AlignmentOptions, Floats


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
    loaded.gaitstream_sharpness.restype = ctypes.c_double
    return loaded


@functools.cache
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
    options: AlignmentOptions,
    segments: NDArray[np.int32] | None,
    threads: int | None = None,
    using: ctypes.CDLL | None = None,
) -> Aligned:
    """Align checked C-contiguous arrays; shapes and meaning as `gaitstream.kernels.align`.

    `using` is a library of `open_library`; None for the machine's own.
    """
    n, channels = heatmaps.shape[:2]
    groups = np.array(options.masks, np.uint64)
    result = Aligned.empty(n, len(groups))
    request = PghaRequest(
        heatmaps=_address(heatmaps),
        keypoints=_address(keypoints),
        segments=_address(segments),
        groups=_address(groups),
        parts=_address(result.parts),
        angle_deg=_address(result.angle_deg),
        aligned=_address(result.aligned),
        neck=_address(result.neck_xy),
        hip=_address(result.hip_xy),
        score=_address(result.score),
        n=n,
        channels=channels,
        group_count=len(groups),
        is_half=int(heatmaps.dtype == np.float16),
        threads=threads or default_threads(),
        **rules(options),
    )
    (using or library()).gaitstream_pgha(ctypes.byref(request))
    return result

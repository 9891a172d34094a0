"""The CPU build of the kernels, called through ctypes. The interpreter lock is released while it runs."""

from __future__ import annotations

import ctypes
import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import KernelError
from gaitstream.kernels.arguments import PghaRequest, rules
from gaitstream.kernels.build import cpu_libraries, kept
from gaitstream.kernels.contract import Aligned, AlignmentOptions, Floats


@dataclass(frozen=True)
class Opened:
    """The library of this process, and the file it is."""

    path: Path
    library: ctypes.CDLL


@functools.cache
def opened() -> Opened:
    """The first library that loads: the package's own, else one compiled for this machine.

    Raises:
        KernelError: there is none, and none can be compiled.
    """
    refused: list[str] = []
    paths = cpu_libraries()
    while True:
        try:
            path = next(paths)
            return Opened(path, open_library(path))
        except KernelError as error:
            refused.append(str(error))
        except StopIteration:
            raise KernelError("; ".join(refused)) from None


def library() -> ctypes.CDLL:
    """The compiled library; found, or built, at the first call.

    Raises:
        KernelError: it cannot be compiled or loaded.
    """
    return opened().library


@dataclass(frozen=True)
class Kind:
    """What alignment, crops and the gallery's scan run on here, and a line about it.

    Attributes:
        compiled: False where it is numpy, at about a hundredth of the speed.
        said: which library, or why there is none and what to do.
    """

    compiled: bool
    said: str


@functools.cache
def kind() -> Kind:
    """Which build of the kernels this machine uses; compiles it when it has to."""
    try:
        path = opened().path
    except KernelError as error:
        return Kind(False, f"CPU kernels run on numpy, far slower: {error}")
    origin = "compiled for this machine" if path.parent == kept() else "from the package"
    return Kind(True, f"CPU kernels {origin}: {path.name}")


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
    loaded.gaitstream_sharpness.restype = None
    return loaded


def available() -> bool:
    """Whether the CPU build works on this machine; compiles it when it has to."""
    return kind().compiled


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

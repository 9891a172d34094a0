"""The kernels' host build behind device handles: a `Launcher` whose device memory is the host's."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gaitstream.kernels import cpu
from gaitstream.kernels.contract import AlignmentOptions
from gaitstream.kernels.cuda import Outputs
from gaitstream.kernels.peaks import find_peaks
from gaitstream.kernels.pooling import Merge, pool_params, rounds


class Kernels(Protocol):
    """The kernels of the device path, queued on streams; `gaitstream.kernels.cuda.Launcher` on a GPU."""

    def peaks(self, heatmaps: Any, joints: Any, *, stream: int = 0) -> None:
        """Joints of heatmaps."""

    def align(
        self,
        heatmaps: Any,
        outputs: Outputs,
        options: AlignmentOptions,
        *,
        keypoints: Any = None,
        stream: int = 0,
    ) -> None:
        """Heatmaps turned upright and merged into parts."""

    def pool(self, merges: Sequence[Merge], size: int, *, half_rows: bool, stream: int = 0) -> None:
        """Rows of features into running maxima."""


class HostMemory(Protocol):
    """Where handles lead to."""

    def view(self, pointer: int, nbytes: int) -> NDArray[np.uint8]:
        """The bytes behind a handle."""

    def launch(self, handle: int, work: Callable[[], None]) -> None:
        """Queue work on a stream."""


class HostKernels:
    """`Kernels` over host memory.

    Args:
        memory: the device that stands for one.
    """

    def __init__(self, memory: HostMemory) -> None:
        self._memory = memory

    def peaks(self, heatmaps: Any, joints: Any, *, stream: int = 0) -> None:
        """Queue the finding of joints."""

        def work() -> None:
            self._array(joints)[...] = find_peaks(self._array(heatmaps), backend="cpu")

        self._memory.launch(stream, work)

    def align(
        self,
        heatmaps: Any,
        outputs: Outputs,
        options: AlignmentOptions,
        *,
        keypoints: Any = None,
        stream: int = 0,
    ) -> None:
        """Queue an alignment."""

        def work() -> None:
            joints = None if keypoints is None else self._array(keypoints)
            found = cpu.align_cpu(self._array(heatmaps), joints, options, None, threads=1)
            for name in ("parts", "angle_deg", "aligned", "neck_xy", "hip_xy", "score"):
                self._array(getattr(outputs, name))[...] = getattr(found, name)

        self._memory.launch(stream, work)

    def pool(self, merges: Sequence[Merge], size: int, *, half_rows: bool, stream: int = 0) -> None:
        """Queue rows into running maxima."""
        for few in rounds(merges):
            self._memory.launch(stream, lambda few=few: self._pool(few, size, half_rows))  # type: ignore[misc]

    def _pool(self, merges: Sequence[Merge], size: int, half_rows: bool) -> None:
        places = [
            Merge(self._address(row, size * (2 if half_rows else 4)), self._address(slot, size * 4), fresh)
            for row, slot, fresh in merges
        ]
        params = pool_params(places, size, half_rows=half_rows)
        cpu.library().gaitstream_pool(ctypes.byref(params))

    def _address(self, pointer: int, nbytes: int) -> int:
        return self._memory.view(pointer, nbytes).ctypes.data

    def _array(self, array: Any) -> NDArray[Any]:
        dtype = np.dtype(array.dtype)
        raw = self._memory.view(array.pointer, prod(array.shape) * dtype.itemsize)
        shaped: NDArray[Any] = raw.view(dtype).reshape(array.shape)
        return shaped

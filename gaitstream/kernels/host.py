"""The kernels' host build behind device handles: a `Launcher` whose device memory is the host's."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gaitstream.kernels import cpu
from gaitstream.kernels.arguments import SCAN_BLOCK_ROWS
from gaitstream.kernels.contract import AlignmentOptions
from gaitstream.kernels.cuda import Outputs
from gaitstream.kernels.peaks import find_peaks
from gaitstream.kernels.pooling import Merge, pool_params, rounds
from gaitstream.kernels.scan import DeviceScan, ScanProbes, scan_form, scan_library, scan_rows


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

    def scan(self, job: DeviceScan, *, stream: int = 0) -> None:
        """Lower bounds of the distances of probes to the templates of a gallery."""


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

    def scan(self, job: DeviceScan, *, stream: int = 0) -> None:
        """Queue a coarse scan."""
        scan_form(job)
        self._memory.launch(stream, lambda: self._scan(job))

    def _scan(self, job: DeviceScan) -> None:
        record, count = job.record, job.probes.count
        digits, numbers = count * record.parts * record.width, 4 * count * record.parts
        high, low = (
            self._memory.view(pointer, digits).view(np.int8).reshape(count, record.parts, record.width)
            for pointer in (job.probes.high, job.probes.low)
        )
        shift = 128 * (256 * high.sum(axis=2, dtype=np.int32) + low.sum(axis=2, dtype=np.int32))
        scale, norm = (self._address(pointer, numbers) for pointer in (job.probes.scale, job.probes.norm))
        probes = ScanProbes(count, high.ctypes.data, low.ctypes.data, scale, norm)
        out = self._memory.view(job.out, 4 * count * job.rows).view(np.float32).reshape(count, job.rows)
        library = scan_library()
        assert library is not None  # noqa: S101 - there are no `HostKernels` without a compiler
        for block, start in zip(job.blocks, range(0, job.rows, SCAN_BLOCK_ROWS), strict=False):
            some = np.empty((count, min(SCAN_BLOCK_ROWS, job.rows - start)), np.float32)
            rows = self._address(block, some.shape[1] * record.stride)
            scan_rows(
                library, record, rows, some.shape[1], probes, shift.ctypes.data, some.ctypes.data, threads=1
            )
            out[:, start : start + some.shape[1]] = some

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

"""Running maxima of features in device memory: only pooled windows come down.

Blocks of a window are slots of device memory; a person's features are merged into their track's slot by the
pooling kernel, many people in one launch, on a stream of its own that waits for the batches' streams.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Sequence
from math import prod
from typing import Any

from numpy.typing import NDArray

from gaitstream.data import Floats
from gaitstream.engines.device import Arena
from gaitstream.kernels.pooling import Merge
from gaitstream.models.device_path import DeviceFeature, DevicePath

SLOTS_AT_ONCE = 64
"""Slots by which the memory grows, 25 MB of features of 512 x 16 x 12."""
WINDOWS_AT_ONCE = 32
"""Pooled windows on their way to the host; the next one waits for the oldest."""
MERGES_AT_ONCE = 256
"""People whose merging may be put off: so many are a few launches."""


class PooledBlock:
    """A slot of device memory; free again when nobody holds it."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer


class PooledMap:
    """A pooled window on its way to the host; an array as soon as one is asked for.

    Attributes:
        shape: `[channels, height, width]`.
    """

    def __init__(self, pool: DevicePool, row: int) -> None:
        self.shape = pool.shape
        self._pool: DevicePool | None = pool
        self._row = row
        self._data: Floats | None = None
        self._release = weakref.finalize(self, pool.give_row, row)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Float32 `[channels, height, width]`; waits for it the first time."""
        data = self.fetch()
        return data if dtype is None or data.dtype == dtype else data.astype(dtype)

    def fetch(self) -> Floats:
        """The same, as an array of its own.

        Raises:
            EngineError: the device failed.
        """
        if self._data is None and self._pool is not None:
            self._data = self._pool.read_row(self._row)
            self._pool = None
            self._release()
        assert self._data is not None  # noqa: S101 - set above or before
        return self._data


class DevicePool:
    """The maxima of one recognizer.

    Args:
        path: makes the features.
        name: of the recognizer.

    Attributes:
        shape: of a pooled map.
    """

    def __init__(self, path: DevicePath, name: str) -> None:
        stage = path.stages[name]
        self.shape, self._name = stage.feature_shape, name
        self._size, self._half = prod(self.shape), stage.half
        self._device, self._kernels = path.device, path.kernels
        self._stream = path.device.stream()
        self._arenas: list[Arena] = []
        self._free_slots: deque[int] = deque()
        self._merges: list[tuple[Merge, DeviceFeature | None]] = []
        self._windows = Arena(path.device, {"windows": ((WINDOWS_AT_ONCE, self._size), "float32")})
        host = path.device.pinned(WINDOWS_AT_ONCE * self._size, "float32")
        self._host = host.reshape(WINDOWS_AT_ONCE, self._size)
        self._landed = [path.device.event() for _ in range(WINDOWS_AT_ONCE)]
        self._free_rows: deque[int] = deque(range(WINDOWS_AT_ONCE))
        self._under_way: deque[weakref.ref[PooledMap]] = deque()
        path.before_growing.append(self.flush)

    def start(self, feature: DeviceFeature) -> PooledBlock:
        """A new block that holds one person's features."""
        if not self._free_slots:
            self._grow()
        block = PooledBlock(self._free_slots.popleft())
        weakref.finalize(block, self._free_slots.append, block.pointer)
        self._put_off(feature, block, fresh=True)
        return block

    def merge(self, block: PooledBlock, feature: DeviceFeature) -> None:
        """Take the element-wise maximum of a block and one person's features."""
        self._put_off(feature, block, fresh=False)

    def pooled(self, blocks: Sequence[PooledBlock]) -> PooledMap:
        """The maximum of blocks, on its way to the host."""
        self.flush()
        row = self._take_row()
        pointer = self._windows.take("windows", 1).pointer + row * self._size * 4
        merges = [Merge(block.pointer, pointer, index == 0) for index, block in enumerate(blocks)]
        with self._device.active():
            self._kernels.pool(merges, self._size, half_rows=False, stream=self._stream.handle)
            self._device.download(self._host[row], pointer, self._stream)
            self._stream.record(self._landed[row])
        made = PooledMap(self, row)
        self._under_way.append(weakref.ref(made))
        return made

    def flush(self) -> None:
        """Queue what was put off; lanes fall free when their features have been read."""
        if not self._merges:
            return
        lanes = {id(feature.batch): feature.batch.lane for _, feature in self._merges if feature is not None}
        with self._device.active():
            for lane in lanes.values():
                self._stream.wait(lane.done)
            merges = [merge for merge, _ in self._merges]
            self._kernels.pool(merges, self._size, half_rows=self._half, stream=self._stream.handle)
            for lane in lanes.values():
                self._stream.record(lane.pooled[self._name])
        self._merges.clear()

    def read_row(self, row: int) -> Floats:
        """A pooled window that is under way, copied out."""
        self._landed[row].synchronize()
        data: Floats = self._host[row].reshape(self.shape).copy()
        return data

    def give_row(self, row: int) -> None:
        """A pooled window was copied out, or nobody wants it."""
        self._free_rows.append(row)

    def close(self) -> None:
        """Wait for what runs, then free the memory."""
        self._merges.clear()
        self._stream.synchronize()
        for arena in (*self._arenas, self._windows):
            arena.free()

    def _put_off(self, feature: DeviceFeature, block: PooledBlock, *, fresh: bool) -> None:
        self._merges.append((Merge(feature.pointer, block.pointer, fresh), feature))
        if len(self._merges) >= MERGES_AT_ONCE:
            self.flush()

    def _grow(self) -> None:
        arena = Arena(self._device, {"slots": ((SLOTS_AT_ONCE, self._size), "float32")})
        first = arena.take("slots", 1).pointer
        self._arenas.append(arena)
        self._free_slots.extend(first + index * self._size * 4 for index in range(SLOTS_AT_ONCE))

    def _take_row(self) -> int:
        while not self._free_rows:
            oldest = self._under_way.popleft()()
            if oldest is not None:
                oldest.fetch()
        while self._under_way and self._under_way[0]() is None:
            self._under_way.popleft()
        return self._free_rows.popleft()

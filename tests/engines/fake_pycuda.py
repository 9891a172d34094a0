"""In place of PyCUDA: a stack of contexts per thread, and what is freed only where one is current."""

from __future__ import annotations

import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


class FakePyCuda:
    """Two GPUs; `leaked` counts what was dropped with no context current, which PyCUDA never frees."""

    def __init__(self) -> None:
        self.stack = threading.local()
        self.leaked = 0
        self.freed = 0
        self.handles = iter(range(1, 1_000_000))
        owner = self

        class Error(Exception):
            """As PyCUDA's."""

        class Held:
            """Freed where a context is current."""

            def __init__(self, *_: Any) -> None:
                self.handle = next(owner.handles)

            def synchronize(self) -> None:
                """Nothing is under way."""

            def record(self, stream: Any) -> None:
                """Nothing to wait for."""

            def wait_for_event(self, event: Any) -> None:
                """Nothing to wait for."""

            def __del__(self) -> None:
                if owner.depth:
                    owner.freed += 1
                else:
                    owner.leaked += 1

        class PageLocked(np.ndarray):
            """An array whose memory is freed with it."""

            memory: Held

        def page_locked(count: int, dtype: Any) -> PageLocked:
            array = np.empty(count, dtype).view(PageLocked)
            array.memory = Held()
            return array

        class Context:
            """One GPU's primary context."""

            def push(self) -> None:
                """Current in this thread."""
                owner.stack.depth = owner.depth + 1

            def pop(self) -> None:
                """No longer."""
                owner.stack.depth = owner.depth - 1

        class Device:
            """One of two GPUs."""

            def __init__(self, index: int) -> None:
                self._index = index

            @staticmethod
            def count() -> int:
                """Two."""
                return 2

            def retain_primary_context(self) -> Context:
                """Its context."""
                return Context()

            def name(self) -> str:
                """Its name."""
                return f"GPU {self._index}"

        self.driver = ModuleType("pycuda.driver")
        self.driver.__dict__.update(
            init=lambda: None, Device=Device, Error=Error, MemoryError=type("MemoryError", (Error,), {}),
            Stream=Held, Event=Held, event_flags=SimpleNamespace(DISABLE_TIMING=1, BLOCKING_SYNC=2),
            pagelocked_empty=page_locked,
        )  # fmt: skip
        self.package = ModuleType("pycuda")
        self.package.__dict__["driver"] = self.driver
        self.arrays = ModuleType("pycuda.gpuarray")
        self.arrays.__dict__.update(
            to_gpu=lambda values: FakeGpuArray(self, values.shape, values.dtype).filled(values),
            empty=lambda shape, dtype: FakeGpuArray(self, shape, dtype),
        )
        self.package.__dict__["gpuarray"] = self.arrays
        self.allocated = 0

    def need_context(self) -> None:
        """Raise what PyCUDA raises where none is current."""
        if not self.depth:
            raise self.driver.Error("cuMemAlloc failed: invalid device context")

    @property
    def depth(self) -> int:
        """Contexts pushed in this thread."""
        return getattr(self.stack, "depth", 0)


class FakeGpuArray:
    """An array of `pycuda.gpuarray`, in the host's memory."""

    def __init__(self, owner: FakePyCuda, shape: tuple[int, ...], dtype: Any) -> None:
        owner.need_context()
        owner.allocated += 1
        self._owner = owner
        self._memory = np.empty(int(np.prod(shape)) * np.dtype(dtype).itemsize + 16, np.uint8)
        start = -self._memory.ctypes.data % 16
        self._array = self._memory[start : len(self._memory) - 16 + start].view(dtype).reshape(shape)
        self.pointer, self.shape, self.dtype = self._array.ctypes.data, shape, np.dtype(dtype)
        self.gpudata = self

    def filled(self, values: Any) -> FakeGpuArray:
        """With these values."""
        self._array[...] = values
        return self

    def get(self) -> Any:
        """A copy on the host."""
        self._owner.need_context()
        return self._array.copy()

    def free(self) -> None:
        """Give the memory back."""
        self._owner.need_context()
        self._owner.allocated -= 1

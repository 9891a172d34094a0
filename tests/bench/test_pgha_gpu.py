"""How the alignment is timed on a GPU, with the device's clock played by hand."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from gaitstream.bench import pgha

KERNEL_MS = 0.005
LAUNCH_MS = 0.030


class Clock:
    """A GPU on which a kernel takes 5 us, and a host that needs 30 us to launch one."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self.captured: list[int] | None = None
        self.touched: list[int] = []

    def launch(self, buffer: int) -> None:
        """Work on one buffer."""
        if self.captured is not None:
            self.captured.append(buffer)
            return
        self.now_ms += max(KERNEL_MS, LAUNCH_MS)
        self.touched.append(buffer)

    def torch(self) -> SimpleNamespace:
        """As much of torch as the timing takes."""
        clock = self

        class Event:
            def __init__(self, *, enable_timing: bool) -> None:
                self.at = 0.0

            def record(self) -> None:
                self.at = clock.now_ms

            def synchronize(self) -> None: ...

            def elapsed_time(self, other: Event) -> float:
                return other.at - self.at

        class Graph:
            def __init__(self) -> None:
                self.buffers: list[int] = []

            def replay(self) -> None:
                clock.now_ms += KERNEL_MS * len(self.buffers)
                clock.touched += self.buffers

        @contextlib.contextmanager
        def graph(made: Graph) -> Iterator[None]:
            clock.captured = made.buffers
            yield
            clock.captured = None

        return SimpleNamespace(cuda=SimpleNamespace(Event=Event, CUDAGraph=Graph, graph=graph))


def test_what_is_timed_is_the_device_and_not_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setitem(sys.modules, "torch", clock.torch())
    calls = [lambda buffer=buffer: clock.launch(buffer) for buffer in range(5)]
    times = pgha.gpu_time_ms(calls, repeats=3)
    assert times == pytest.approx([KERNEL_MS] * 3)
    replayed = clock.touched[len(calls) :]
    assert len(replayed) >= 4 * pgha.LAUNCHES
    assert all(one != following for one, following in itertools.pairwise(replayed))


@pytest.mark.parametrize(("frames", "cache_mib"), [(16, 50), (64, 50), (64, 126), (4096, 50)])
def test_buffers_are_out_of_the_cache_when_they_come_again(frames: int, cache_mib: int) -> None:
    size, cache = pgha.least_bytes(frames, 2), cache_mib << 20
    turns = pgha.rotation(size, cache)
    assert (turns - 1) * size >= 2 * cache
    assert turns >= 2

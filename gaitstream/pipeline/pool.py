"""Windows over a track's accepted frames: the maximum over time, kept as block maxima.

A window of 30 frames that slides by 15 is the maximum of two blocks of 15: two maps are kept, not thirty. No
clock and no I/O: frames come with their capture time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class WindowRule:
    """When windows are emitted.

    Attributes:
        length: accepted frames in a window.
        stride: accepted frames between starts of windows; divides `length`.
        provisional_from: frames from which a provisional window is emitted, until the first full one.
        max_gap_s: longest time between accepted frames of one window.
    """

    length: int = 30
    stride: int = 15
    provisional_from: int = 10
    max_gap_s: float = 1.0

    @property
    def provisional_every(self) -> int:
        """Accepted frames between provisional windows."""
        return max(1, self.stride // 3)

    def is_provisional_due(self, frames: int) -> bool:
        """Whether a window of so many frames is worth a provisional decision."""
        beyond = frames - self.provisional_from
        return self.provisional_from <= frames < self.length and beyond % self.provisional_every == 0


class Emitted(NamedTuple):
    """A window's content.

    Attributes:
        data: `MapWindow`: the pooled map `[channels, height, width]`. `FrameWindow`: what was kept of each
            frame, `[frames, ...]`.
        frames: accepted frames in it.
        provisional: it is not full.
    """

    data: NDArray[Any]
    first_ns: int
    last_ns: int
    frames: int
    provisional: bool


class Window(Protocol):
    """What the two kinds of windows share."""

    completed: int
    """Full windows emitted."""

    def add(self, time_ns: int, frame: NDArray[Any]) -> Emitted | None:
        """Take an accepted frame; the window it completes, if any."""

    def reset(self) -> None:
        """Begin afresh: the track may be somebody else from here on."""

    def finish(self) -> Emitted | None:
        """What is left when the track ends, unless a full window was emitted or it is too little."""


@dataclass(slots=True)
class _Block:
    peak: Any
    first_ns: int
    last_ns: int
    frames: int = 1


class Maxima(Protocol):
    """Where running maxima lie, and what can be done with them; see `gaitstream.models.device_pool`."""

    def start(self, feature: Any) -> Any:
        """A new block that holds one frame's features."""

    def merge(self, block: Any, feature: Any) -> None:
        """Take the element-wise maximum of a block and one frame's features."""

    def pooled(self, blocks: Sequence[Any]) -> Any:
        """The maximum of blocks: an array, or what becomes one when it is asked for."""


class HostMaxima:
    """Maxima in arrays."""

    def start(self, feature: Floats) -> Floats:
        """A copy."""
        return np.array(feature, np.float32)

    def merge(self, block: Floats, feature: Floats) -> None:
        """In place."""
        np.maximum(block, feature, out=block)

    def pooled(self, blocks: Sequence[Floats]) -> Floats:
        """A new array."""
        pooled = blocks[0].copy()
        for block in blocks[1:]:
            np.maximum(pooled, block, out=pooled)
        return pooled


class MapWindow:
    """Pools feature maps `[channels, height, width]` into block maxima.

    Args:
        rule: when windows are emitted.
        maxima: where the maxima lie; None is in arrays.
    """

    def __init__(self, rule: WindowRule, maxima: Maxima | None = None) -> None:
        self.rule = rule
        self.completed = 0
        self._maxima = maxima or HostMaxima()
        self._blocks: deque[_Block] = deque()

    @property
    def frames(self) -> int:
        """Accepted frames in the open window."""
        return sum(block.frames for block in self._blocks)

    def add(self, time_ns: int, frame: Any) -> Emitted | None:
        """Take one frame's features; they are copied, never kept.

        Returns:
            The full window it completes, or a provisional one while none has been full.
        """
        if self._blocks and time_ns - self._blocks[-1].last_ns > self.rule.max_gap_s * SECOND_NS:
            self.reset()
        if not self._blocks or self._blocks[-1].frames == self.rule.stride:
            self._blocks.append(_Block(self._maxima.start(frame), time_ns, time_ns))
        else:
            block = self._blocks[-1]
            self._maxima.merge(block.peak, frame)
            block.frames += 1
            block.last_ns = time_ns
        return self._emit_due()

    def reset(self) -> None:
        """Drop the open window."""
        self._blocks.clear()

    def finish(self) -> Emitted | None:
        """The open window, when it is the only one and holds `provisional_from` frames."""
        worth = not self.completed and self.frames >= self.rule.provisional_from
        emitted = self._emit(provisional=True) if worth else None
        self.reset()
        return emitted

    def _emit_due(self) -> Emitted | None:
        if self.frames == self.rule.length:
            emitted = self._emit(provisional=False)
            self.completed += 1
            self._blocks.popleft()
            return emitted
        if not self.completed and self.rule.is_provisional_due(self.frames):
            return self._emit(provisional=True)
        return None

    def _emit(self, *, provisional: bool) -> Emitted:
        pooled = self._maxima.pooled([block.peak for block in self._blocks])
        first, last = self._blocks[0].first_ns, self._blocks[-1].last_ns
        return Emitted(pooled, first, last, self.frames, provisional)


class FrameWindow:
    """Keeps the frames themselves, for models that need the whole window.

    Args:
        rule: when windows are emitted.
        dtype: in which type frames are kept: heatmaps in half precision take 104 KB a frame.
    """

    def __init__(self, rule: WindowRule, dtype: np.dtype[Any]) -> None:
        self.rule = rule
        self.completed = 0
        self._dtype = dtype
        self._frames: deque[tuple[int, NDArray[Any]]] = deque()

    def add(self, time_ns: int, frame: NDArray[Any]) -> Emitted | None:
        """Take what is kept of one frame; it is copied."""
        if self._frames and time_ns - self._frames[-1][0] > self.rule.max_gap_s * SECOND_NS:
            self.reset()
        self._frames.append((time_ns, frame.astype(self._dtype)))
        if len(self._frames) == self.rule.length:
            emitted = self._emit(provisional=False)
            self.completed += 1
            for _ in range(self.rule.stride):
                self._frames.popleft()
            return emitted
        if not self.completed and self.rule.is_provisional_due(len(self._frames)):
            return self._emit(provisional=True)
        return None

    def reset(self) -> None:
        """Drop the open window."""
        self._frames.clear()

    def finish(self) -> Emitted | None:
        """The open window, when it is the only one and holds `provisional_from` frames."""
        worth = not self.completed and len(self._frames) >= self.rule.provisional_from
        emitted = self._emit(provisional=True) if worth else None
        self.reset()
        return emitted

    def _emit(self, *, provisional: bool) -> Emitted:
        frames = np.stack([frame for _, frame in self._frames])
        first, last = self._frames[0][0], self._frames[-1][0]
        return Emitted(frames, first, last, len(self._frames), provisional)

"""Windows of a clip model that overlap: what they have in common is computed once.

A window that slides by `stride` frames is made of chunks of so many. The graph `chunk` computes one after
another (`models.graphs.chunks` says how) and leaves maxima behind, of which the graph `head` makes the
embedding of any window: that of the whole window's frames. Chunks are known by their content, so nobody has
to say which track a window is of, and one that begins afresh finds nothing old.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats
from gaitstream.engines import Engine
from gaitstream.models.running import run_chunked

MAXIMA = ("started", "through", "ended")
"""Outputs of the graph, maxima over time: `gaitstream.models.graphs.chunks.Followed`."""
NEXT = "next_"
"""Stands before the name of an input in that of the output which it takes of the chunk before."""
REMEMBERED = 64
"""Chunks kept, of the latest windows: about 3 MiB each at DeepGaitV2's published size."""
TRIES = 3
"""Runs that are timed to see whether chunks pay; the fastest counts."""
AT_ONCE = 2
"""Chunks, and windows, per inference."""

Rows = NDArray[Any]
Feeds = dict[str, Rows]


@dataclass(frozen=True)
class _Chunk:
    """What a chunk left behind: maxima `[c, h, w]`, and what the next one takes, by input.

    `through` is of a window in which it follows the chunk `after`; the rest depends on the chunk alone.
    """

    started: Floats
    through: Floats
    ended: Floats
    left: dict[str, Floats]
    after: bytes


class ChunkedWindows:
    """Embeds windows chunk by chunk, and remembers the latest chunks; safe to use from several threads.

    Args:
        chunk: runs the graph `chunk`.
        head: runs the graph `head`.
        stride: frames in a chunk.
        remembered: chunks that are kept.
    """

    def __init__(self, chunk: Engine, head: Engine, stride: int, remembered: int = REMEMBERED) -> None:
        self.stride = stride
        self._engine, self._head = chunk, head
        self._most = remembered
        self._ring: OrderedDict[bytes, _Chunk] = OrderedDict()
        self._lock = threading.Lock()
        names = [name.removeprefix(NEXT) for name in chunk.outputs if name.startswith(NEXT)]
        self._nothing = {name: np.zeros(chunk.inputs[name].shape[1:], np.float32) for name in names}

    def takes(self, frames: int) -> bool:
        """Whether windows of this length are made of whole chunks."""
        return frames % self.stride == 0

    def pays(self, engine: Engine, feeds: Callable[[Rows], Feeds], row: Rows) -> bool:
        """Whether a chunk takes less time here than a window of two, which depends on model and precision.

        Args:
            engine: runs whole windows.
            feeds: as for `embed`.
            row: what is kept of a frame.
        """
        window = np.broadcast_to(row, (1, 2 * self.stride, *row.shape))
        whole = feeds(window)
        left = {name: zeros[None] for name, zeros in self._nothing.items()}
        chunk = {**feeds(window[:, : self.stride]), **left}
        return _fastest_s(lambda: self._engine.infer(chunk)) < _fastest_s(lambda: engine.infer(whole))

    def embed(self, rows: Rows, feeds: Callable[[Rows], Feeds]) -> Floats:
        """Embeddings `[n, parts, dim]` of windows.

        Args:
            rows: what is kept of their frames, `[n, frames, ...]`.
            feeds: makes the graph's pictures of such rows.
        """
        chunks = rows.reshape(len(rows), -1, self.stride, *rows.shape[2:])
        before: list[tuple[bytes, _Chunk] | None] = [None] * len(rows)
        pooled: list[Floats] = []
        for place in range(chunks.shape[1]):
            found = self._follow(chunks[:, place], before, feeds)
            maxima = [one.through if place else one.started for _, one in found]
            pooled = list(map(np.maximum, pooled, maxima)) if place else maxima
            before = list(found)
        whole = np.stack([np.maximum(one, last.ended) for one, (_, last) in zip(pooled, found, strict=True)])
        return run_chunked(self._head, {"pooled": whole}, ["embedding"], self._head.rows_at_once(AT_ONCE))[0]

    def close(self) -> None:
        """Free the engines."""
        self._engine.close()
        self._head.close()

    def _follow(
        self, frames: Rows, before: Sequence[tuple[bytes, _Chunk] | None], feeds: Callable[[Rows], Feeds]
    ) -> list[tuple[bytes, _Chunk]]:
        """What the next chunk of each window left behind, computed where it is not remembered."""
        keys = [hashlib.blake2b(chunk.tobytes(), digest_size=16).digest() for chunk in frames]
        found = {row: self._remembered(key, before[row]) for row, key in enumerate(keys)}
        missing = [row for row, chunk in found.items() if chunk is None]
        if missing:
            made = self._compute(feeds(frames[missing]), [before[row] for row in missing])
            for row, chunk in zip(missing, made, strict=True):
                found[row] = chunk
                self._remember(keys[row], chunk)
        return [(keys[row], chunk) for row, chunk in found.items() if chunk is not None]

    def _compute(self, pictures: Feeds, before: Sequence[tuple[bytes, _Chunk] | None]) -> list[_Chunk]:
        lefts = [self._nothing if one is None else one[1].left for one in before]
        left = {name: np.stack([one[name] for one in lefts]) for name in self._nothing}
        outputs = [*MAXIMA, *(f"{NEXT}{name}" for name in left)]
        results = run_chunked(self._engine, {**pictures, **left}, outputs, self._engine.rows_at_once(AT_ONCE))
        return [
            _Chunk(*maxima, dict(zip(left, rest, strict=True)), b"" if one is None else one[0])
            for one, (maxima, rest) in zip(before, map(_apart, zip(*results, strict=True)), strict=True)
        ]

    def _remembered(self, key: bytes, before: tuple[bytes, _Chunk] | None) -> _Chunk | None:
        with self._lock:
            chunk = self._ring.get(key)
            if chunk is None or (before is not None and chunk.after != before[0]):
                return None
            self._ring.move_to_end(key)
            return chunk

    def _remember(self, key: bytes, chunk: _Chunk) -> None:
        with self._lock:
            self._ring[key] = chunk
            self._ring.move_to_end(key)
            if len(self._ring) > self._most:
                self._ring.popitem(last=False)


def _fastest_s(run: Callable[[], object]) -> float:
    """Seconds of the fastest of some runs, after one that is not counted."""
    run()
    times = []
    for _ in range(TRIES):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def _apart(row: Sequence[Floats]) -> tuple[tuple[Floats, Floats, Floats], list[Floats]]:
    """One chunk's outputs, as arrays of their own: the three maxima, and the rest."""
    started, through, ended, *left = (np.array(one) for one in row)
    return (started, through, ended), left

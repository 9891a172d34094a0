"""Pseudo 3-D networks chunk by chunk: interior maps once for all windows that share them, edges anew.

A window is cut into chunks of `m` frames. A block mixes a frame with its two neighbours, and time is padded
with zeros where the window ends, so behind `d` blocks the `d` frames at either end have maps of their own;
all others are the same in every window. A chunk therefore leaves three maxima behind: `started` is that of
its frames in a window that begins with it, as far as they do not depend on the next chunk; `through` is that
of the frames between the previous chunk and this one in a window that goes on; `ended` is that of the last
frames of a window that ends here. The maximum of the first's `started`, all others' `through` and the last's
`ended` is the pooled map of the whole window. Chunks are at least twice as long as the network looks to one
side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gaitstream.models.graphs.deep import StemNetwork
from gaitstream.models.graphs.opengait import BlockP3D


@dataclass(frozen=True)
class Lines:
    """Maps `[n, c, frames, h, w]` of a chunk of frames `0 .. m - 1` behind some blocks.

    Attributes:
        depth: how many blocks.
        through: frames `-depth .. m - 1 - depth`, with all their neighbours; their number is `m`.
        started: the first `depth` frames of a window that begins here; None before the first block.
        ended: the last `depth` frames of a window that ends here; likewise.
    """

    depth: int
    through: Tensor
    started: Tensor | None = None
    ended: Tensor | None = None

    @property
    def joined(self) -> Tensor:
        """All of them behind each other, for layers that look at each frame alone."""
        parts = [one for one in (self.through, self.ended, self.started) if one is not None]
        return torch.cat(parts, 2)

    def like(self, joined: Tensor) -> Lines:
        """What a layer made of `joined`."""
        depth = self.depth
        if not depth:
            return Lines(0, joined)
        return Lines(
            depth, joined[:, :, : -2 * depth], joined[:, :, -depth:], joined[:, :, -2 * depth : -depth]
        )


class Left(NamedTuple):
    """What one block keeps of a chunk for the next.

    Attributes:
        line: what its first convolution made of the last two frames, `[n, c, 2, h, w]`.
        beside: its path beside of the last frame, `[n, c, 1, h, w]`.
    """

    line: Tensor
    beside: Tensor


class ChunkResult(NamedTuple):
    """What a chunk leaves behind: three maxima over time `[n, c, h, w]`, and what its blocks keep."""

    started: Tensor
    through: Tensor
    ended: Tensor
    left: tuple[Left, ...]


def follow(network: StemNetwork, chunk: Tensor, left: tuple[Left, ...]) -> ChunkResult:
    """Compute a chunk after another one.

    Args:
        network: with pseudo 3-D blocks.
        chunk: frames `[n, inputs, m, 64, 44]`, `m` at least `2 * network.context`.
        left: by the previous chunk, for each block; zeros at the beginning, where `through` is meaningless.
    """
    lines = Lines(0, network.stem(chunk))
    kept = []
    for block, before in zip(_blocks(network), left, strict=True):
        lines, after = _advance(block, lines, before)
        kept.append(after)
    if lines.started is None or lines.ended is None:
        raise ValueError("a network without blocks that mix frames needs no chunks")
    inner = lines.through[:, :, 2 * lines.depth :]
    started = torch.cat([lines.started, inner], 2)
    return ChunkResult(started.amax(2), lines.through.amax(2), lines.ended.amax(2), tuple(kept))


def nothing_left(network: StemNetwork, chunk: Tensor) -> tuple[Left, ...]:
    """What stands for a previous chunk where there is none: zeros."""
    x = network.stem(chunk)
    empty = []
    for block in _blocks(network):
        zeros = torch.zeros_like(block.conv1(x)[:, :, :2])
        empty.append(Left(zeros, zeros[:, :, :1].clone()))
        x = block(x)
    return tuple(empty)


def _blocks(network: StemNetwork) -> list[BlockP3D]:
    return [block for block in network.mixing if isinstance(block, BlockP3D)]


def _advance(block: BlockP3D, x: Lines, left: Left) -> tuple[Lines, Left]:
    """One block further: each version grows by the frame that now depends on the window's end."""
    inner, beside = x.like(block.conv1(x.joined)), x.like(block.beside(x.joined))
    first = 2 * x.depth
    """Where `through` has the frame that follows `started`."""
    zero = torch.zeros_like(left.line[:, :, :1])
    mixed = [
        block.mix(torch.cat([left.line, inner.through], 2)),
        block.mix(_line(inner.through[:, :, -2:], inner.ended, zero)),
        block.mix(_line(zero, inner.started, inner.through[:, :, first : first + 2])),
    ]
    paths = [
        torch.cat([left.beside, beside.through[:, :, :-1]], 2),
        _line(beside.through[:, :, -1:], beside.ended),
        _line(beside.started, beside.through[:, :, first : first + 1]),
    ]
    closed = block.close(torch.cat(mixed, 2), torch.cat(paths, 2))
    after = Lines(x.depth + 1, x.through).like(closed)
    return after, Left(inner.through[:, :, -2:], beside.through[:, :, -1:])


def _line(*parts: Tensor | None) -> Tensor:
    """Frames one after the other; None stands for no frame."""
    return torch.cat([part for part in parts if part is not None], 2)

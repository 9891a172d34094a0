"""Templates as whole numbers of 16 bits in two planes of 8, and how far that can be off.

A part of a template, `x` of `dim` values, is kept as `x ~ s (256 h + l)`: `s` is the largest of its
magnitudes over 32512, `h` and `l` are whole numbers in [-127, 127] and [-128, 127]. That takes the bytes of
float16. The coarse plane of all `h` alone gives `c = 256 s h`, at half the bytes; both give the fine `f = s
(256 h + l)`. A probe `u` is kept the same way, as `v`.

**The bound.** The distance of the pipeline, `D`, is the mean over the parts of |u - x|, computed in float32
from differences (`matching.mean_part_distance`). By the triangle inequality, for each part

    | |u - x| - |v - c| | <= |u - v| + |x - c|,      | |u - x| - |u - f| | <= |x - f|,

and these norms are known: they are computed here in float64. |v - c|^2 is computed as |v|^2 + |c|^2 - 2
v.c, in float32 but for the inner product, which is a whole number and exact. Each of the six float32
operations is off by at most 2^-24 of a value that is no larger than 2 (|v|^2 + |c|^2), together by less
than e = 2^-20 (|v|^2 + |c|^2), and by no more where a compiler fuses two of them and rounds once; since
|sqrt(a) - sqrt(b)| <= sqrt(|a - b|), the root is off by less than 2^-10 (|v| + |c|). So with

    slack of a template  t = mean over the parts of |x - c| + 2^-10 |c|,
    slack of a probe     p = mean over the parts of |u - v| + 2^-10 |v|,

the coarse distance is off by at most t + p. The fine one is computed from differences: a product s (256 h +
l) is off by 2^-24 of itself, at most 2^-23 |x| over a part, which its slack, the mean of |x - f| + 2^-23
|x|, takes in. What is left are roundings of sums of squares, of roots and of the mean, in `D` and here:
relative, below (dim + parts + 8) 2^-24 each. `WIDEN` takes them in for parts of up to 512 values, 16 parts:
(512 + 24) 2^-24 < 2^-14.

So whoever is nearest by the true `D` is among those whose lower bound is at most the smallest upper bound,
and only these need `D` itself.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
WIDEN = 2.0**-13
"""Relative rounding of a computed distance, twice what the bound needs."""
TOP = 32512
"""256 times 127: the largest number of both planes whose coarse digit fits."""
MOST_WIDTH = 512
"""Values of a part up to which sums of products fit 32 bits."""
_ALIGN = 64
_ROOT = 2.0**-10
_UP = 1 + 1e-6


@dataclass(frozen=True)
class Layout:
    """How a template of one shape lies in memory.

    Attributes:
        parts: rows of an embedding.
        dim: values of a row.
    """

    parts: int
    dim: int

    @property
    def width(self) -> int:
        """Values of a part with the zeros that fill it up to whole vectors."""
        return -(-self.dim // _ALIGN) * _ALIGN

    @functools.cached_property
    def record(self) -> np.dtype[np.void]:
        """What is kept of a template beside its fine plane.

        `high`: the coarse digits, offset by 128; `scale`: s of each part; `norm`: |c|^2 of each part; `slack`
        and `fine`: of the bound. A row of nobody has a slack of minus infinity, which puts it infinitely far.
        """
        fields = [
            ("high", np.uint8, (self.parts, self.width)),
            ("scale", np.float32, (self.parts,)),
            ("norm", np.float32, (self.parts,)),
            ("slack", np.float32),
            ("fine", np.float32),
        ]
        packed = np.dtype(fields)
        stride = -(-packed.itemsize // _ALIGN) * _ALIGN
        return np.dtype([*fields, ("unused", np.uint8, (stride - packed.itemsize,))])

    @functools.cached_property
    def plane(self) -> np.dtype[np.void]:
        """The fine digits of a template."""
        return np.dtype([("low", np.int8, (self.parts, self.width))])

    def pad(self, parts: Floats) -> Floats:
        """Embeddings `[n, parts, dim]` filled up with zeros, `[n, parts, width]`."""
        if self.width == self.dim:
            return np.ascontiguousarray(parts, np.float32)
        out = np.zeros((len(parts), self.parts, self.width), np.float32)
        out[:, :, : self.dim] = parts
        return out


def digits(padded: Floats) -> tuple[NDArray[np.int8], NDArray[np.int8], Floats]:
    """Coarse digits, fine digits `[n, parts, width]` and scales `[n, parts]` of embeddings."""
    largest = np.abs(padded).max(axis=2)
    scale = np.where(largest > 0, largest / np.float32(TOP), np.float32(1)).astype(np.float32)
    # A subnormal scale could send the quotient over the top.
    scale = np.maximum(scale, np.float32(1e-30))
    whole = np.clip(np.rint(padded / scale[:, :, None]), -TOP, TOP).astype(np.int16)
    high = (whole + np.int16(128)) >> 8
    low = whole - (high << 8)
    return high.astype(np.int8), low.astype(np.int8), scale


def fill_records(padded: Floats, records: NDArray[np.void], planes: NDArray[np.void]) -> None:
    """Write what is kept of templates `[n, parts, width]` into records and planes `[n]`."""
    high, low, scale = digits(padded)
    exact = padded.astype(np.float64)
    step = scale.astype(np.float64)[:, :, None]
    coarse = 256 * step * high
    fine = step * (256.0 * high + low)
    size = np.linalg.norm(coarse, axis=2)
    records["high"] = (high.astype(np.int16) + 128).astype(np.uint8)
    records["scale"] = scale
    records["norm"] = size**2
    slack = np.linalg.norm(exact - coarse, axis=2) + _ROOT * size
    records["slack"] = slack.mean(axis=1) * _UP
    close = np.linalg.norm(exact - fine, axis=2) + 2.0**-23 * np.linalg.norm(exact, axis=2)
    records["fine"] = close.mean(axis=1) * _UP
    planes["low"] = low


@dataclass(frozen=True)
class Probes:
    """Probes as the scan takes them.

    Attributes:
        padded: float32 `[k, parts, width]`.
        high: coarse digits, int8 `[k, parts, width]`.
        low: fine digits, int8 `[k, parts, width]`.
        scale: float32 `[k, parts]`.
        norm: |v|^2, float32 `[k, parts]`.
        shift: what the offset of 128 adds to a product, int32 `[k, parts]`.
        slack: of the bound, float32 `[k]`.
    """

    padded: Floats
    high: NDArray[np.int8]
    low: NDArray[np.int8]
    scale: Floats
    norm: Floats
    shift: NDArray[np.int32]
    slack: Floats

    @classmethod
    def of(cls, layout: Layout, probes: Floats) -> Probes:
        """From embeddings `[k, parts, dim]`."""
        padded = layout.pad(probes)
        high, low, scale = digits(padded)
        whole = 256 * high.astype(np.int64) + low
        kept = scale.astype(np.float64)[:, :, None] * whole
        size = np.linalg.norm(kept, axis=2)
        off = np.linalg.norm(padded.astype(np.float64) - kept, axis=2) + _ROOT * size
        return cls(
            padded=padded,
            high=np.ascontiguousarray(high),
            low=np.ascontiguousarray(low),
            scale=scale,
            norm=(size**2).astype(np.float32),
            shift=(128 * whole.sum(axis=2)).astype(np.int32),
            slack=(off.mean(axis=1) * _UP).astype(np.float32),
        )

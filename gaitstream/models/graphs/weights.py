"""Weights from a seed, bit for bit the same on every machine, at the scale of a network that was trained.

With them a model of the published size is made without a checkpoint: for benchmarks, and for comparisons with
reference results that were computed from the same seed. Every tensor depends on the seed, its name and its
shape alone. Only the raw stream of PCG64 is used, and integers until the last division: the streams of
NumPy's distributions may change between its releases.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

M = TypeVar("M", bound=nn.Module)
Doubles = NDArray[np.float64]
Shape = tuple[int, ...]
Rule = Callable[[Shape, int], Doubles]
"""Makes one tensor of its shape and the seed."""
FIXED = frozenset({"A"})
"""Tensors that no training changes, and no seed: the adjacency of a skeleton's joints."""
FIELD = 1 << 16
"""A raw number holds four numbers under this one; their sum is close to normal."""


def bits(seed: int, name: str, count: int) -> NDArray[np.uint64]:
    """Raw numbers of the stream that belongs to a name."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    stream = np.random.PCG64(int.from_bytes(digest[:16], "little"))
    return np.asarray(stream.random_raw(count), np.uint64).reshape(count)


def normal(seed: int, name: str, shape: Shape) -> Doubles:
    """Deviates of mean 0 and variance 1: sums of four uniform numbers (Irwin-Hall)."""
    raw = bits(seed, name, math.prod(shape))
    total = sum((raw >> np.uint64(16 * field)) & np.uint64(FIELD - 1) for field in range(4))
    centred = np.asarray(total, np.int64) - 2 * (FIELD - 1)
    deviates: Doubles = centred.astype(np.float64) / (FIELD * np.sqrt(4 / 12))
    return deviates.reshape(shape)


def uniform(seed: int, name: str, shape: Shape) -> Doubles:
    """Numbers in 0..1."""
    raw = bits(seed, name, math.prod(shape)) >> np.uint64(11)
    return (raw.astype(np.float64) * 2.0**-53).reshape(shape)


def tensor(seed: int, name: str, shape: Shape) -> Doubles:
    """A tensor by what its name says it is.

    Statistics and affine weights of norms lie around 0 and 1; projections and convolutions keep the variance
    of what goes through them, those with a window over 1 x 1 of what a ReLU halves.
    """
    last = name.rsplit(".", 1)[-1]
    if last == "gamma":  # layer scale
        return 0.5 + 0.5 * uniform(seed, name, shape)
    z = normal(seed, name, shape)
    small = {"running_mean": 0.1, "bias": 0.1, "pos_embed": 0.2, "cls_token": 0.2, "mask_token": 0.02}
    if last in small:
        return small[last] * z
    if last == "running_var":
        return 1 + 0.2 * np.abs(z)
    if name == "HPP.p":  # exponent of a generalised mean
        return 6.5 + 0.25 * z
    if last == "edge":  # factors of an adjacency
        return 1 + 0.1 * z
    if len(shape) == 1:
        return 1 + 0.1 * z
    if last == "fc_bin" or len(shape) == 2:
        return np.asarray(z / np.sqrt(shape[1]))
    gain = np.sqrt(2.0) if math.prod(shape[2:]) > 1 else 1.0
    return np.asarray(z * gain / np.sqrt(math.prod(shape[1:])))


def seed_module(module: nn.Module, seed: int, special: Mapping[str, Rule] | None = None) -> None:
    """Fill a module's parameters and statistics.

    Args:
        module: whose state is replaced.
        seed: of all tensors.
        special: rules for the tensors of these names, in place of `tensor`.
    """
    special = special or {}
    state: dict[str, Any] = {}
    for name, value in module.state_dict().items():
        shape = tuple(value.shape)
        if not value.is_floating_point():
            state[name] = torch.zeros_like(value)
            continue
        if name.rsplit(".", 1)[-1] in FIXED:
            state[name] = value
            continue
        made = special[name](shape, seed) if name in special else tensor(seed, name, shape)
        state[name] = torch.from_numpy(made.astype(np.float32))
    module.load_state_dict(state)
    module.eval().requires_grad_(False)


def seeded(module: M, seed: int) -> M:
    """The module itself, filled from a seed."""
    seed_module(module, seed)
    return module

"""BigGait with weights from a seed, whose masks follow the picture.

Plain random weights give masks of noise. Here bright patches add a direction to their tokens that the mask
branch looks for, so that the foreground has a shape and both of its classes occur.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gaitstream.models.biggait.module import BigGait
from gaitstream.models.graphs.weights import Shape, bits, normal, seed_module

Doubles = NDArray[np.float64]
PATCH, MASK, MASK_BIAS, DENOISING = (
    "backbone.patch_embed.proj.weight",
    "Mask_Branch.down_sampling.weight",
    "Mask_Branch.down_sampling.bias",
    "Denoising_Branch.down_sampling.3.weight",
)
PATCH_GAIN, MASK_GAIN, DENOISING_GAIN = 0.8, 7.0, 4.0


def seed_biggait(module: BigGait, seed: int) -> None:
    """Fill a module from a seed."""
    special = {PATCH: _patches, MASK: _mask, MASK_BIAS: _mask_bias, DENOISING: _denoising}
    seed_module(module, seed, special)


def _direction(seed: int, dim: int) -> Doubles:
    """The direction of brightness, -1 or 1 per channel."""
    return (bits(seed, "special/u", dim) >> np.uint64(63)).astype(np.float64) * 2 - 1


def _patches(shape: Shape, seed: int) -> Doubles:
    inputs = math.prod(shape[1:])
    bright = PATCH_GAIN * _direction(seed, shape[0])[:, None, None, None] / inputs
    return np.asarray(normal(seed, PATCH, shape) / np.sqrt(inputs) + bright)


def _mask(shape: Shape, seed: int) -> Doubles:
    weight = 0.2 * normal(seed, MASK, shape) / np.sqrt(shape[1])
    towards = MASK_GAIN * _direction(seed, shape[1]) / shape[1]
    return np.asarray(weight + np.stack([towards, -towards]))


def _mask_bias(shape: Shape, seed: int) -> Doubles:
    return np.asarray(0.02 * normal(seed, MASK_BIAS, shape))


def _denoising(shape: Shape, seed: int) -> Doubles:
    """Peaked part maps, where the plain rule gives nearly uniform ones."""
    return np.asarray(DENOISING_GAIN * normal(seed, DENOISING, shape) / np.sqrt(shape[1]))

"""Batch normalisation, layer scale and affine norms folded into the linear layers beside them.

All folding is done in float64 and rounded once when the constant is written.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from gaitstream.models.graphs.resnet import BasicBlock, Stem

Doubles = NDArray[np.float64]


def array(tensor: Tensor) -> Doubles:
    """A tensor's values in float64."""
    return tensor.detach().cpu().double().numpy()


def bn_affine(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Doubles, Doubles]:
    """Scale and shift of a batch normalisation in evaluation mode."""
    assert norm.running_mean is not None  # noqa: S101 - narrows the type
    assert norm.running_var is not None  # noqa: S101
    scale = 1 / np.sqrt(array(norm.running_var) + norm.eps)
    shift = -array(norm.running_mean) * scale
    if norm.affine:
        scale, shift = scale * array(norm.weight), shift * array(norm.weight) + array(norm.bias)
    return scale, shift


def linear(layer: nn.Linear) -> tuple[Doubles, Doubles]:
    """Weight `[inputs, outputs]` and bias of a linear layer."""
    return array(layer.weight).T, array(layer.bias)


def before(pair: tuple[Doubles, Doubles], scale: Doubles, shift: Doubles) -> tuple[Doubles, Doubles]:
    """Fold `x * scale + shift` that happens before a linear layer into it."""
    weight, bias = pair
    return weight * scale[:, None], bias + shift @ weight


def after(
    pair: tuple[Doubles, Doubles], scale: Doubles, shift: Doubles | float = 0.0
) -> tuple[Doubles, Doubles]:
    """Fold `y * scale + shift` that happens after a linear layer into it."""
    weight, bias = pair
    return weight * scale, bias * scale + shift


def conv_bn(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Doubles, Doubles]:
    """Weight and bias of a convolution without bias followed by batch normalisation."""
    scale, shift = bn_affine(norm)
    return array(conv.weight) * scale[:, None, None, None], shift


def stem_convs(stem: Stem) -> tuple[tuple[Doubles, Doubles], BasicBlock]:
    """A stem's first convolution, folded, and its block."""
    block = stem.layer1[0]
    assert isinstance(block, BasicBlock)  # noqa: S101 - narrows the type
    return conv_bn(stem.conv1.conv, stem.bn1), block

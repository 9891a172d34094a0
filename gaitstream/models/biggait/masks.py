"""BigGait's mask branch as a segmentation model of its own, for models that look at silhouettes."""

from __future__ import annotations

import onnx
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name everyone knows

from gaitstream.models.biggait.module import CROP, BigGait
from gaitstream.models.graphs.traced import Traced, trace

RATIO = CROP[1] / CROP[0]
"""A segmenter's crops are filled, whatever the person's box: no column is padding."""


def masks(module: BigGait, crops: Tensor) -> Tensor:
    """The share of the person in each pixel, as the branches behind are masked with it.

    Args:
        module: in evaluation mode.
        crops: RGB `[n, 3, 256, 128]` in 0..255.

    Returns:
        `[n, 1, 256, 128]` in 0..1.
    """
    ratios = torch.full_like(crops[:, 0, 0, 0], RATIO)
    foreground = module.foreground(module.preprocess(crops, ratios), ratios)
    return F.interpolate(foreground[:, None], CROP, mode="bilinear", align_corners=False)


def mask_graph(module: BigGait) -> onnx.ModelProto:
    """`masks` as a graph from `crops` to `probability`, in float32."""
    example = torch.linspace(0, 255, 2 * 3 * CROP[0] * CROP[1]).reshape(2, 3, *CROP)
    with torch.no_grad():
        return trace(module, Traced(lambda crops: masks(module, crops), {"crops": example}, ("probability",)))

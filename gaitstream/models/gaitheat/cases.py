"""GaitHeat's fixed inputs, and what the PyTorch module makes of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaitstream.models.gaitheat import pgha
from gaitstream.models.gaitheat.module import GaitHeat
from gaitstream.models.gaitheat.spec import GaitHeatOptions
from gaitstream.models.graphs.walkers import SEED, about, draw_heatmaps, schedule, sequence_index
from gaitstream.models.trained import FEATURES, Case, FrontCase, pool

Array = NDArray[Any]


def make_case(model: GaitHeat, options: GaitHeatOptions) -> Case:
    """Twelve poses of three people, upright and leaning."""
    rng = np.random.default_rng(SEED)
    drawn = [draw_heatmaps(person, phase, lean, rng) for person, _, phase, lean in schedule(rng)]
    heatmaps, keypoints = (np.stack(kind) for kind in zip(*drawn, strict=True))
    sequences = sequence_index()
    with torch.no_grad():
        aligned = pgha.align(
            torch.from_numpy(heatmaps),
            torch.from_numpy(keypoints),
            options.groups,
            gamma_deg=options.gamma_deg,
            small_angle=options.small_angle,
            normalization=options.normalization,
        )
        features = model.features(aligned.parts)[2].numpy()
        embedding = model.embed("fusion", torch.from_numpy(pool(features, sequences))).after.numpy()
    parts = aligned.parts.numpy()
    return Case(
        about(),
        {"parts": parts},
        sequences,
        {FEATURES: features},
        embedding,
        partial(_trace, model, aligned.parts),
        (FrontCase("align", {"heatmaps": heatmaps, "keypoints": keypoints}, "parts", parts),),
    )


def _trace(model: GaitHeat, parts: Tensor) -> dict[str, Array]:
    with torch.no_grad():
        return {f"fused{index}": value.numpy() for index, value in enumerate(model.fused(parts), 1)}

"""BiggerGait for the export."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from gaitstream.models.biggergait.module import BiggerGait
from gaitstream.models.biggergait.spec import FAMILY, BiggerGaitOptions
from gaitstream.models.graphs.checkpoint import (
    COUNTERS,
    State,
    count,
    expect,
    fill,
    read_state,
    size,
    square_positions,
)
from gaitstream.models.graphs.conditioning import LOGIT_MARGIN
from gaitstream.models.graphs.inputs import CROP
from gaitstream.models.graphs.traced_models import SetModel, Tap
from gaitstream.models.graphs.weights import seeded
from gaitstream.models.trained import FEATURES

TRAINING_ONLY = re.compile(
    rf"{COUNTERS}|BNNecks\.|^Mask_Branch\.(bn_t|up_sampling)|^Backbone\.layernorm|mask_token$"
)
"""What the embedding before the necks does without."""


def load(path: Path, options: BiggerGaitOptions) -> SetModel:
    """Read a checkpoint.

    Raises:
        CheckpointError: the file cannot be read or does not fit; see `MismatchError`.
    """
    state = read_state(path)
    expect(path, state, FAMILY)
    with torch.device("meta"):
        model = _shape(state)
    module = fill(path, model, _doubled(state, model), FAMILY.title, TRAINING_ONLY)
    module.Backbone.rule = options.positions
    return wrap(module)


def make_random(seed: int, variant: str) -> SetModel:
    """A model of CCPG's size with random weights: `grouped`, or with a gait network for every `block`."""
    return wrap(seeded(BiggerGait(group=2, heads=2) if variant == "grouped" else BiggerGait(), seed))


def wrap(module: BiggerGait) -> SetModel:
    """The module for the export: the taps' maps stand one behind the other on the channel axis."""

    def features(crops: Tensor) -> dict[str, Tensor]:
        return {FEATURES: torch.cat(module.features(crops), 1)}

    def embed(pooled: Tensor) -> Tensor:
        return module.embed(list(pooled.chunk(module.taps, 1)))

    def usable(crops: Tensor) -> Tensor:
        return module.mask_logit(crops).abs().amin(1) >= LOGIT_MARGIN

    rule = "" if module.Backbone.rule == "exact" else ", position grid with offset"
    tap = Tap(f"before the necks, by tap{rule}")
    return SetModel(FAMILY.name, module, (CROP,), features, embed, tap, usable=usable)


def _doubled(state: State, model: BiggerGait) -> State:
    """The state with the second names that the released code gives the gait networks.

    Where a checkpoint has both names of a tensor, the one listed last wins, as it does there.
    """
    every = model.taps // len(model.Gait_Net.real_gait)
    both = dict(state)
    for tap in range(model.taps):
        first, second = f"Gait_Net.real_gait.{tap // every}.", f"Gait_Net.Gait_List.{tap}."
        for key in model.state_dict():
            if key.startswith(second):
                own = first + key.removeprefix(second)
                if key in state:
                    both[own] = state[key]
                elif own in both:
                    both[key] = both[own]
    return both


def _shape(state: State) -> BiggerGait:
    """A module of the checkpoint's sizes."""
    dim = size(state, "Backbone.embeddings.cls_token", 2, 384)
    taps = max(1, count(state, "HumanSpace_Conv.{}.1.weight"))
    network = "Gait_Net.real_gait.0."
    stages = [
        f"{network}pre_rgb.forward_block.layer1.",
        *(f"{network}post_backbone.forward_block.layer{index}." for index in (2, 3, 4)),
    ]
    return BiggerGait(
        dim,
        count(state, "Backbone.encoder.layer.{}.norm1.weight"),
        max(1, size(state, "HumanSpace_Conv.0.1.weight", 1, dim) // dim),
        count(state, "Gait_Net.real_gait.{}.FCs.fc_bin") or taps,
        size(state, "HumanSpace_Conv.0.1.weight", 0, 192),
        size(state, "HumanSpace_Conv.0.4.weight", 0, 16),
        tuple(
            size(state, f"{stage}0.bn2.weight", 0, default)
            for stage, default in zip(stages, (64, 128, 256, 512), strict=True)
        ),
        size(state, f"{network}FCs.fc_bin", 2, 256),
        size(state, f"{network}FCs.fc_bin", 0, 32),
        size(state, f"{network}BNNecks.fc_bin", 2, 0),
        square_positions(state, "Backbone.embeddings.position_embeddings", 1370),
    )

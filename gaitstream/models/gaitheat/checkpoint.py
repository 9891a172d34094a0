"""GaitHeat from its checkpoint: widths, depths and the embedding's size are read from the tensors."""

from __future__ import annotations

from pathlib import Path

import torch

from gaitstream.models.gaitheat.module import GaitHeat
from gaitstream.models.gaitheat.spec import FAMILY, GaitHeatOptions
from gaitstream.models.gaitheat.trained import TrainedGaitHeat
from gaitstream.models.graphs.checkpoint import State, expect, fill, read_state, size, widths


def load(path: Path, options: GaitHeatOptions) -> TrainedGaitHeat:
    """Read a checkpoint for an export; see `load_module`."""
    return TrainedGaitHeat(load_module(path), options)


def load_module(path: str | Path) -> GaitHeat:
    """Build GaitHeat from a checkpoint, in evaluation mode.

    Raises:
        CheckpointError: the file cannot be read or does not fit; see `MismatchError`.
    """
    path = Path(path)
    state = read_state(path)
    expect(path, state, FAMILY)
    with torch.device("meta"):
        model = _shape(state)
    return fill(path, model, state, FAMILY.title)


def _shape(state: State) -> GaitHeat:
    """A module of the checkpoint's sizes."""
    layers = [f"Backbone{index}.forward_block.layer{index}." for index in (1, 2, 3, 4)]
    d2, d3, d4 = (max(1, sum(f"{layer}{i}.bn2.weight" in state for i in range(64))) for layer in layers[1:])
    return GaitHeat(
        widths(state, [f"{layer}0.bn2.weight" for layer in layers]),
        size(state, "FCs_fusion.fc_bin", 0, 16),
        size(state, "FCs_fusion.fc_bin", 2, 256),
        size(state, "BNNecks_fusion.fc_bin", 2, 0),
        (d2, d3, d4),
    )

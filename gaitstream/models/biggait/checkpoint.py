"""BigGait from its checkpoint: sizes are read from the tensors, the backbone may lie in its own file."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from gaitstream.errors import CheckpointError
from gaitstream.models.biggait.module import BigGait, GaitNet
from gaitstream.models.biggait.spec import FAMILY, BigGaitOptions
from gaitstream.models.biggait.trained import TrainedBigGait
from gaitstream.models.graphs.checkpoint import (
    CLASSIFIERS,
    COUNTERS,
    DINOV2,
    State,
    expect,
    fill,
    looks_like,
    read_state,
    shapes_of,
    size,
    square_positions,
    widths,
)

TRAINING_ONLY = re.compile(
    f"{COUNTERS}|{CLASSIFIERS}"
    r"|_Branch\.up_sampling\."  # reconstruction, a training loss
    r"|mask_token$"  # masked-image training of DINOv2
)


def load(path: Path, options: BigGaitOptions) -> TrainedBigGait:
    """Read a checkpoint for an export; see `load_module`."""
    return TrainedBigGait(load_module(path, options.dinov2), options.dinov2)


def load_module(path: str | Path, dinov2: str | Path | None = None) -> BigGait:
    """Build BigGait from a checkpoint, in evaluation mode.

    Args:
        path: OpenGait's checkpoint.
        dinov2: DINOv2's own file, needed where the checkpoint does not hold the backbone.

    Raises:
        CheckpointError: a file cannot be read or does not fit; see `MismatchError`.
    """
    path = Path(path)
    state = read_state(path)
    expect(path, state, FAMILY)
    if dinov2 is not None:
        _join_backbone(path, state, Path(dinov2))
    elif not any(key.startswith("backbone.") for key in state):
        raise CheckpointError(f"{path} does not hold the DINOv2 backbone: give its file with --dinov2")
    with torch.device("meta"):
        model = _shape(state)
    return fill(path, model, state, FAMILY.title, TRAINING_ONLY)


def _join_backbone(path: Path, state: State, dinov2: Path) -> None:
    """Add the backbone's keys; a different one inside the checkpoint is an error."""
    backbone = read_state(dinov2)
    found = looks_like(shapes_of(backbone))
    if found != DINOV2:
        raise CheckpointError(f"{dinov2} is not a DINOv2 backbone: it looks like {found}")
    for key, value in backbone.items():
        own = state.setdefault(f"backbone.{key}", value)
        if own.shape != value.shape or not torch.equal(own, value):
            raise CheckpointError(
                f"{path} holds a backbone of its own, which differs from {dinov2} in {key}: "
                "leave out --dinov2"
            )


def _shape(state: State) -> BigGait:
    """A module of the checkpoint's sizes."""
    dim = size(state, "backbone.cls_token", 2, 384)
    depth = 1 + max(
        (int(m[1]) for key in state if (m := re.match(r"backbone\.blocks\.(\d+)\.", key))), default=11
    )
    branches = (
        size(state, "Denoising_Branch.down_sampling.3.weight", 0, 16),
        size(state, "Appearance_Branch.down_sampling.weight", 0, 16),
    )
    trunk = "gait_net.post_backbone.forward_block.layer{}.0.bn2.weight"
    net = GaitNet(
        branches,
        widths(
            state,
            ["gait_net.pre_part.forward_block.bn1.weight", *(trunk.format(index) for index in (2, 3, 4))],
        ),
        size(state, "gait_net.fusion.conv.forward_block.0.weight", 0, 4),
        size(state, "gait_net.FCs.fc_bin", 0, 16),
        size(state, "gait_net.FCs.fc_bin", 2, 256),
        size(state, "gait_net.BNNecks.fc_bin", 2, 0),
    )
    return BigGait(
        dim=dim,
        depth=depth,
        hidden=size(state, "backbone.blocks.0.mlp.fc1.weight", 0, 4 * dim),
        denoising_hidden=size(state, "Denoising_Branch.down_sampling.0.weight", 0, 2 * dim),
        positions=square_positions(state, "backbone.pos_embed", 1370),
        net=net,
        widths=branches,
    )

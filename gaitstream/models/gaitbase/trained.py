"""GaitBase for the export."""

from __future__ import annotations

from pathlib import Path

import torch

from gaitstream.models.gaitbase.module import GaitBase
from gaitstream.models.gaitbase.spec import FAMILY
from gaitstream.models.graphs.checkpoint import State, count, read_module, size
from gaitstream.models.graphs.inputs import SILHOUETTE, silhouette
from gaitstream.models.graphs.opengait import TRAINING_ONLY
from gaitstream.models.graphs.traced_models import SetModel, Tap
from gaitstream.models.manifest import InputContract
from gaitstream.models.silhouette_options import SilhouetteOptions
from gaitstream.models.trained import FEATURES

STAGE = "Backbone.forward_block.layer{}."


def load(path: Path, options: SilhouetteOptions) -> SetModel:
    """Read a checkpoint.

    Raises:
        CheckpointError: the file cannot be read or does not fit; see `MismatchError`.
    """
    return wrap(read_module(path, FAMILY, _shape, TRAINING_ONLY), silhouette(options.preparation))


def make_random(seed: int) -> SetModel:
    """A model of the published size with random weights."""
    torch.manual_seed(seed)
    return wrap(GaitBase().eval())


def wrap(module: GaitBase, silhouettes: InputContract = SILHOUETTE) -> SetModel:
    """The module for the export."""
    return SetModel(
        FAMILY.name,
        module,
        (silhouettes,),
        lambda frames: {FEATURES: module.features(frames)},
        module.embed,
        Tap("before the neck"),
    )


def _shape(state: State) -> GaitBase:
    """A module of the checkpoint's sizes."""
    stages = [STAGE.format(index) for index in (1, 2, 3, 4)]
    return GaitBase(
        tuple(
            size(state, f"{stage}0.bn2.weight", 0, default)
            for stage, default in zip(stages, (64, 128, 256, 512), strict=True)
        ),
        size(state, "FCs.fc_bin", 2, 256),
        size(state, "FCs.fc_bin", 0, 16),
        size(state, "BNNecks.fc_bin", 2, 0),
        tuple(count(state, stage + "{}.bn2.weight") for stage in stages),
    )

"""SkeletonGait++ for the export."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from gaitstream.models.graphs.checkpoint import State, count, read_module, size
from gaitstream.models.graphs.inputs import SILHOUETTE, SKELETON_MAP, silhouette
from gaitstream.models.graphs.opengait import TRAINING_ONLY
from gaitstream.models.graphs.traced_models import ClipModel, Tap
from gaitstream.models.manifest import ClipContract, InputContract
from gaitstream.models.silhouette_options import SilhouetteOptions
from gaitstream.models.skeletongaitpp.module import SkeletonGaitPP
from gaitstream.models.skeletongaitpp.spec import FAMILY


def load(path: Path, options: SilhouetteOptions) -> ClipModel:
    """Read a checkpoint.

    Raises:
        CheckpointError: the file cannot be read or does not fit; see `MismatchError`.
    """
    return wrap(read_module(path, FAMILY, _shape, TRAINING_ONLY), silhouette(options.preparation))


def make_random(seed: int) -> ClipModel:
    """A model of the published size with random weights."""
    torch.manual_seed(seed)
    return wrap(SkeletonGaitPP().eval())


def wrap(module: SkeletonGaitPP, silhouettes: InputContract = SILHOUETTE) -> ClipModel:
    """The module for the export."""

    def embed(maps: Tensor, masks: Tensor) -> Tensor:
        return module.embed(module.maps(torch.cat([maps, masks], 1)).amax(2))

    return ClipModel(
        FAMILY.name,
        module,
        (SKELETON_MAP, silhouettes),
        embed,
        ClipContract(context=module.context),
        Tap("before the neck"),
    )


def _shape(state: State) -> SkeletonGaitPP:
    """A module of the checkpoint's sizes."""
    stages = ["sil_layer1.forward_block.", "layer2.", "layer3.", "layer4."]
    norms = ["bn2.weight", *["conv2.forward_block.1.weight"] * 3]
    return SkeletonGaitPP(
        tuple(
            size(state, f"{stage}0.{norm}", 0, default)
            for stage, norm, default in zip(stages, norms, (64, 128, 256, 512), strict=True)
        ),
        tuple(count(state, stage + "{}." + norm) for stage, norm in zip(stages, norms, strict=True)),
        size(state, "FCs.fc_bin", 2, 256),
        size(state, "FCs.fc_bin", 0, 16),
        size(state, "BNNecks.fc_bin", 2, 0),
    )

"""SkeletonGait++ for the export."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from gaitstream.models.graphs.checkpoint import State, read_module
from gaitstream.models.graphs.deep import DEEP, DEPTHS, read_deep_sizes
from gaitstream.models.graphs.inputs import SILHOUETTE, SKELETON_MAP, silhouette
from gaitstream.models.graphs.opengait import TRAINING_ONLY
from gaitstream.models.graphs.traced_models import ClipModel, Tap, share
from gaitstream.models.graphs.weights import seeded
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


def make_random(seed: int, variant: str) -> ClipModel:
    """A model of a published size with random weights: `usual`, or `deep` as for Gait3D and GREW."""
    return wrap(seeded(SkeletonGaitPP(depths=DEEP if variant == "deep" else DEPTHS), seed))


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
        share(module, module.embed),
    )


def _shape(state: State) -> SkeletonGaitPP:
    """A module of the checkpoint's sizes."""
    return SkeletonGaitPP(**read_deep_sizes(state, "p3d", "sil_layer1.forward_block."))

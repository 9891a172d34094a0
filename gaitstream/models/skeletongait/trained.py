"""SkeletonGait for the export."""

from __future__ import annotations

from pathlib import Path

from gaitstream.models.deepgaitv2.module import DeepGaitV2
from gaitstream.models.deepgaitv2.trained import build
from gaitstream.models.graphs.checkpoint import read_module, read_state, size
from gaitstream.models.graphs.inputs import SKELETON_MAP
from gaitstream.models.graphs.opengait import COUNTED_ONLY, TRAINING_ONLY
from gaitstream.models.graphs.traced_models import ClipModel, Tap, share
from gaitstream.models.graphs.weights import seeded
from gaitstream.models.manifest import ClipContract
from gaitstream.models.skeletongait.spec import FAMILY, SkeletonGaitOptions

BEFORE = {250: "SUSTech1K", 3000: "Gait3D", 5153: "OU-MVLP", 20000: "GREW"}
"""Identities of the data sets whose published configurations take the embedding before the neck."""


def load(path: Path, options: SkeletonGaitOptions) -> ClipModel:
    """Read a checkpoint.

    Raises:
        CheckpointError: the file cannot be read or does not fit; see `MismatchError`.
    """
    after = options.tap == "after"
    if options.tap == "auto":
        after = size(read_state(path), "BNNecks.fc_bin", 2, 0) not in BEFORE
    module = read_module(path, FAMILY, build, COUNTED_ONLY if after else TRAINING_ONLY)
    return wrap(module, after=after)


def make_random(seed: int) -> ClipModel:
    """A model of the published size with random weights."""
    return wrap(seeded(DeepGaitV2(inputs=2), seed), after=True)


def wrap(module: DeepGaitV2, *, after: bool) -> ClipModel:
    """The module for the export, with the embedding after or before the neck."""
    embed = module.embed_after_neck if after else module.embed
    name = "after the neck, every part of unit length" if after else "before the neck"
    return ClipModel(
        FAMILY.name,
        module,
        (SKELETON_MAP,),
        lambda maps: embed(module.maps(maps).amax(2)),
        ClipContract(context=module.context),
        Tap(name),
        share(module, embed),
    )

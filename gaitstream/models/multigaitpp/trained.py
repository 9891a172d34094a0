"""MultiGait++ for the export."""

from __future__ import annotations

from pathlib import Path

from gaitstream.models.graphs.checkpoint import State, read_module, size
from gaitstream.models.graphs.deep import read_deep_sizes
from gaitstream.models.graphs.inputs import representation
from gaitstream.models.graphs.opengait import TRAINING_ONLY
from gaitstream.models.graphs.traced_models import ClipModel, Tap
from gaitstream.models.graphs.weights import seeded
from gaitstream.models.manifest import ClipContract
from gaitstream.models.multigaitpp.module import MultiGaitPP
from gaitstream.models.multigaitpp.spec import FAMILY
from gaitstream.models.spec import NoOptions


def load(path: Path, _: NoOptions) -> ClipModel:
    """Read a checkpoint.

    Raises:
        CheckpointError: the file cannot be read or does not fit; see `MismatchError`.
    """
    return wrap(read_module(path, FAMILY, _shape, TRAINING_ONLY))


def make_random(seed: int) -> ClipModel:
    """A model of CCPG's size with random weights."""
    return wrap(seeded(MultiGaitPP(), seed))


def wrap(module: MultiGaitPP) -> ClipModel:
    """The module for the export; its pictures come from a data set, first those of its first part."""
    channels = sum(
        module.get_submodule(f"part{part}_layer0").forward_block[0].in_channels  # type: ignore[index,union-attr]
        for part in (1, 2)
    )
    return ClipModel(
        FAMILY.name,
        module,
        (representation(channels),),
        lambda pictures: module.embed(module.maps(pictures).amax(2)),
        ClipContract(context=module.context),
        Tap("before the neck"),
    )


def _shape(state: State) -> MultiGaitPP:
    """A module of the checkpoint's sizes."""
    return MultiGaitPP(
        size(state, "part1_layer0.forward_block.0.weight", 1, 2),
        size(state, "part2_layer0.forward_block.0.weight", 1, 3),
        **read_deep_sizes(state, "p3d", "part1_layer1.forward_block."),
    )

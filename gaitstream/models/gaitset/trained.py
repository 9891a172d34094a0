"""GaitSet for the export."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from gaitstream.models.gaitset.module import GaitSet
from gaitstream.models.gaitset.spec import FAMILY
from gaitstream.models.graphs.checkpoint import State, read_module, size
from gaitstream.models.graphs.inputs import SILHOUETTE, silhouette
from gaitstream.models.graphs.traced_models import SetModel, Tap
from gaitstream.models.graphs.weights import seeded
from gaitstream.models.manifest import InputContract
from gaitstream.models.silhouette_options import SilhouetteOptions
from gaitstream.models.trained import FEATURES


def load(path: Path, options: SilhouetteOptions) -> SetModel:
    """Read a checkpoint.

    Raises:
        CheckpointError: the file cannot be read or does not fit; see `MismatchError`.
    """
    return wrap(read_module(path, FAMILY, _shape), silhouette(options.preparation))


def make_random(seed: int) -> SetModel:
    """A model of CASIA-B's size with random weights."""
    return wrap(seeded(GaitSet(), seed))


def wrap(module: GaitSet, silhouettes: InputContract = SILHOUETTE) -> SetModel:
    """The module for the export: three maps of a frame, three maxima over time."""

    def features(frames: Tensor) -> dict[str, Tensor]:
        first, second, third = module.features(frames)
        return {FEATURES: third, "first": first, "second": second}

    return SetModel(
        FAMILY.name,
        module,
        (silhouettes,),
        features,
        lambda third, first, second: module.embed(first, second, third),
        Tap("the head"),
    )


def _shape(state: State) -> GaitSet:
    """A module of the checkpoint's sizes."""
    widths = (
        size(state, f"set_block{index}.forward_block.0.conv.weight", 0, default)
        for index, default in ((1, 32), (2, 64), (3, 128))
    )
    return GaitSet(tuple(widths), size(state, "Head.fc_bin", 2, 256))

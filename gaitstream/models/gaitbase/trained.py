"""GaitBase for the export."""

from __future__ import annotations

from pathlib import Path

from gaitstream.models.gaitbase.module import PYRAMIDS, GaitBase
from gaitstream.models.gaitbase.spec import FAMILY
from gaitstream.models.graphs.checkpoint import State, read_module
from gaitstream.models.graphs.deep import NORMS, read_sizes
from gaitstream.models.graphs.inputs import SILHOUETTE, silhouette
from gaitstream.models.graphs.opengait import TRAINING_ONLY
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
    return wrap(read_module(path, FAMILY, _shape, TRAINING_ONLY), silhouette(options.preparation))


def make_random(seed: int) -> SetModel:
    """A model of the published size with random weights."""
    return wrap(seeded(GaitBase(), seed))


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
    stages = [f"Backbone.forward_block.layer{stage}." for stage in (1, 2, 3, 4)]
    return GaitBase(**read_sizes(state, stages, [NORMS["2d"]] * 4, PYRAMIDS))

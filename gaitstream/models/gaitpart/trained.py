"""GaitPart for the export."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from gaitstream.models.gaitpart.module import GaitPart, Layout
from gaitstream.models.gaitpart.spec import FAMILY
from gaitstream.models.graphs.checkpoint import State, read_module, size
from gaitstream.models.graphs.inputs import SILHOUETTE, silhouette
from gaitstream.models.graphs.traced_models import SetModel, Tap
from gaitstream.models.graphs.weights import seeded
from gaitstream.models.manifest import InputContract
from gaitstream.models.silhouette_options import SilhouetteOptions
from gaitstream.models.trained import FEATURES

CONV = "Backbone.forward_block.feature.{}.conv.weight"

GREW = (32, 64, 128, 256)
"""Widths of the stages for GREW, OU-MVLP and CASIA-E."""


def load(path: Path, options: SilhouetteOptions) -> SetModel:
    """Read a checkpoint; its keys say which layout it has.

    Raises:
        CheckpointError: the file cannot be read or does not fit; see `MismatchError`.
    """
    return wrap(read_module(path, FAMILY, _shape), silhouette(options.preparation))


def make_random(seed: int, variant: str) -> SetModel:
    """A model of `casia-b`'s or `grew`'s layout and size with random weights."""
    return wrap(seeded(GaitPart() if variant == "casia-b" else GaitPart("grew", GREW), seed))


def wrap(module: GaitPart, silhouettes: InputContract = SILHOUETTE) -> SetModel:
    """The module for the export: parts of each frame, kept in order for the temporal head."""

    def features(frames: Tensor) -> dict[str, Tensor]:
        return {FEATURES: module.features(frames).transpose(1, 2).unsqueeze(-1)}

    def embed(sequence: Tensor) -> Tensor:
        return module.embed(sequence.squeeze(-1).transpose(2, 3))

    return SetModel(
        FAMILY.name, module, (silhouettes,), features, embed, Tap("the head"), {FEATURES: "sequence"}
    )


def _shape(state: State) -> GaitPart:
    """A module of the checkpoint's layout and sizes."""
    grew = CONV.format(14) in state
    layout: Layout = "grew" if grew else "casia"
    firsts = ((0, 32), (5, 64), (10, 128), (14, 256)) if grew else ((0, 32), (5, 64), (10, 128))
    widths = tuple(size(state, CONV.format(index), 0, default) for index, default in firsts)
    return GaitPart(layout, widths, size(state, "Head.fc_bin", 2, widths[-1]))

"""GaitGL for the export."""

from __future__ import annotations

import re
from pathlib import Path

from gaitstream.models.gaitgl.module import GROUP, Depth, GaitGL, Tap
from gaitstream.models.gaitgl.spec import FAMILY
from gaitstream.models.graphs.checkpoint import COUNTERS, State, read_module, size
from gaitstream.models.graphs.inputs import SILHOUETTE, silhouette
from gaitstream.models.graphs.traced_models import ClipModel
from gaitstream.models.graphs.traced_models import Tap as TapContract
from gaitstream.models.graphs.weights import seeded
from gaitstream.models.manifest import ClipContract, InputContract
from gaitstream.models.silhouette_options import SilhouetteOptions

TRAINING_ONLY = re.compile(rf"{COUNTERS}|^Head1\.fc_bin$|^BNNecks\.")
"""Classifiers, and the neck where the feature is the head before it."""

OUMVLP = (32, 64, 128, 256)
"""Widths of stem and stages for OU-MVLP and GREW."""


def load(path: Path, options: SilhouetteOptions) -> ClipModel:
    """Read a checkpoint; its keys say which of the three variants it is.

    Raises:
        CheckpointError: the file cannot be read or does not fit; see `MismatchError`.
    """
    return wrap(read_module(path, FAMILY, _shape, TRAINING_ONLY), silhouette(options.preparation))


def make_random(seed: int, variant: str) -> ClipModel:
    """A model with random weights: `casia-b`'s, `ou-mvlp`'s, or `bnneck`, as published for GREW."""
    if variant == "casia-b":
        return wrap(seeded(GaitGL(), seed))
    return wrap(seeded(GaitGL("double", "head" if variant == "bnneck" else "batch norm", OUMVLP), seed))


def wrap(module: GaitGL, silhouettes: InputContract = SILHOUETTE) -> ClipModel:
    """The module for the export; windows of fewer than three frames are repeated before the graph."""
    name = "after the head's batch norm" if module.tap == "batch norm" else "the head before the neck"
    return ClipModel(
        FAMILY.name,
        module,
        (silhouettes,),
        lambda frames: module.embed(module.maps(frames).amax(2)),
        ClipContract(min_frames=GROUP, repeats=True),
        TapContract(name),
    )


def _shape(state: State) -> GaitGL:
    """A module of the checkpoint's variant and sizes."""
    depth: Depth = "double" if "conv3d.2.conv3d.weight" in state else "single"
    tap: Tap = "head" if "BNNecks.bn1d.weight" in state else "batch norm"
    inner = "0.global_conv3d.conv3d.weight" if depth == "double" else "global_conv3d.conv3d.weight"
    defaults = (64, 128, 256) if depth == "double" else (64, 128, 128)
    widths = (
        size(state, f"{stage}.{inner}", 0, default)
        for stage, default in zip(("GLConvA0", "GLConvA1", "GLConvB2"), defaults, strict=True)
    )
    classes = size(state, "Head1.fc_bin" if tap == "batch norm" else "BNNecks.fc_bin", 2, 0)
    return GaitGL(depth, tap, (size(state, "conv3d.0.conv3d.weight", 0, 32), *widths), classes)

"""GaitGraph2 for the export."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from gaitstream.models.gaitgraph2.module import GaitGraph2
from gaitstream.models.gaitgraph2.spec import FAMILY
from gaitstream.models.graphs.checkpoint import State, read_module, size
from gaitstream.models.graphs.inputs import JOINTS
from gaitstream.models.graphs.traced_models import ClipModel, Tap
from gaitstream.models.graphs.weights import seeded
from gaitstream.models.manifest import ClipContract
from gaitstream.models.spec import NoOptions


def load(path: Path, _: NoOptions) -> ClipModel:
    """Read a checkpoint.

    Raises:
        CheckpointError: the file cannot be read or does not fit; see `MismatchError`.
    """
    return wrap(read_module(path, FAMILY, _shape))


def make_random(seed: int) -> ClipModel:
    """A model of Gait3D's size with random weights."""
    return wrap(seeded(GaitGraph2(), seed))


def wrap(module: GaitGraph2) -> ClipModel:
    """The module for the export; the three views of the test-time augmentation are in the graph."""

    def embed(keypoints: Tensor) -> Tensor:
        return module(keypoints.transpose(1, 2))  # type: ignore[no-any-return]

    tap = Tap("the last linear layer of three views", "mean_part_cosine")
    return ClipModel(FAMILY.name, module, (JOINTS,), embed, ClipContract(), tap)


def _shape(state: State) -> GaitGraph2:
    """A module of the checkpoint's sizes."""
    plain = size(state, "ResGCN.head.0.layers.0.tcn.bn.weight", 0, 64)
    branch = size(state, "ResGCN.head.0.layers.1.scn.bn_up.weight", 0, 32)
    first = size(state, "ResGCN.backbone.0.scn.bn_up.weight", 0, 128)
    second = size(state, "ResGCN.backbone.1.scn.bn_up.weight", 0, 256)
    narrow = size(state, "ResGCN.backbone.1.scn.bn_down.weight", 0, second // 8)
    return GaitGraph2(
        (plain, branch, first, second),
        size(state, "ResGCN.fcn.weight", 0, 128),
        max(1, second // max(1, narrow)),
    )

"""GaitJoints for the export."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from torch import Tensor

from gaitstream.models.gaitjoints.module import GaitJoints
from gaitstream.models.gaitjoints.spec import FAMILY
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
    """A model of the packaged one's size with random weights."""
    return wrap(seeded(GaitJoints(), seed))


def wrap(module: GaitJoints) -> ClipModel:
    """The module for the export."""

    def embed(keypoints: Tensor) -> Tensor:
        return module(keypoints.transpose(1, 2))  # type: ignore[no-any-return]

    tap = Tap("after the neck, of unit length")
    return ClipModel(FAMILY.name, module, (JOINTS,), embed, ClipContract(), tap)


def _shape(state: State) -> GaitJoints:
    """A module of the checkpoint's sizes."""
    blocks = next(index for index in count() if f"blocks.{index}.conv.weight" not in state)
    return GaitJoints(size(state, "first.weight", 0, 256), blocks, size(state, "fc.weight", 0, 256))

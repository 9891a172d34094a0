"""GaitTR for the export."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from gaitstream.errors import CheckpointError
from gaitstream.models.gaittr.module import HEADS, GaitTR
from gaitstream.models.gaittr.spec import FAMILY
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
    return wrap(seeded(GaitTR(), seed))


def wrap(module: GaitTR) -> ClipModel:
    """The module for the export."""

    def embed(keypoints: Tensor) -> Tensor:
        return module(keypoints.transpose(1, 2))  # type: ignore[no-any-return]

    return ClipModel(
        FAMILY.name, module, (JOINTS,), embed, ClipContract(context=16), Tap("the last linear layer")
    )


def _shape(state: State) -> GaitTR:
    """A module of the checkpoint's sizes.

    Raises:
        CheckpointError: a width cannot be shared out among the heads.
    """
    widths = tuple(
        size(state, f"backbone.{index}.st.bn.weight", 0, default)
        for index, default in enumerate((64, 64, 128, 256))
    )
    if odd := [width for width in widths if width < 1 or width % (4 * HEADS)]:
        raise CheckpointError(
            f"GaitTR's blocks have {HEADS} heads with queries a quarter as wide as the block: widths are "
            f"multiples of {4 * HEADS}, {odd[0]} is none; export a checkpoint of the published network"
        )
    return GaitTR(widths, size(state, "fcn.weight", 0, 128))

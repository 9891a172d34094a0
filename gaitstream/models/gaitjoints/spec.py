"""GaitJoints as the rest of the house sees it."""

from __future__ import annotations

from gaitstream.models.spec import ModelFamily, Shapes


def is_gaitjoints(shapes: Shapes) -> bool:
    """Whether a checkpoint mixes frames, then the channels of each, block after block."""
    return "blocks.0.mix_bn.weight" in shapes


FAMILY = ModelFamily(
    name="gaitjoints",
    title="GaitJoints",
    summary="a GaitJoints checkpoint, this project's own model on joints",
    recognises=is_gaitjoints,
    loader="gaitstream.models.gaitjoints.trained:load",
    randomizer="gaitstream.models.gaitjoints.trained:make_random",
)

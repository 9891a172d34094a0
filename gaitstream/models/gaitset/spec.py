"""GaitSet as the rest of the house sees it."""

from __future__ import annotations

from gaitstream.models.silhouette_options import SilhouetteOptions
from gaitstream.models.spec import ModelFamily, Shapes


def is_gaitset(shapes: Shapes) -> bool:
    """Whether a checkpoint has set blocks."""
    return "set_block1.forward_block.0.conv.weight" in shapes


FAMILY = ModelFamily(
    name="gaitset",
    title="GaitSet",
    summary="a GaitSet checkpoint of OpenGait",
    recognises=is_gaitset,
    loader="gaitstream.models.gaitset.trained:load",
    options=SilhouetteOptions,
    randomizer="gaitstream.models.gaitset.trained:make_random",
)

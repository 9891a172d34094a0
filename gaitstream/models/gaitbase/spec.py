"""GaitBase as the rest of the house sees it."""

from __future__ import annotations

from gaitstream.models.silhouette_options import SilhouetteOptions
from gaitstream.models.spec import ModelFamily, Shapes


def is_gaitbase(shapes: Shapes) -> bool:
    """Whether a checkpoint has the residual network over silhouettes."""
    return "Backbone.forward_block.conv1.conv.weight" in shapes and "FCs.fc_bin" in shapes


FAMILY = ModelFamily(
    name="gaitbase",
    title="GaitBase",
    summary="a GaitBase checkpoint of OpenGait",
    recognises=is_gaitbase,
    loader="gaitstream.models.gaitbase.trained:load",
    options=SilhouetteOptions,
    randomizer="gaitstream.models.gaitbase.trained:make_random",
)

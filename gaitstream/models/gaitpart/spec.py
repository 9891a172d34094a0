"""GaitPart as the rest of the house sees it."""

from __future__ import annotations

from gaitstream.models.silhouette_options import SilhouetteOptions
from gaitstream.models.spec import ModelFamily, Shapes


def is_gaitpart(shapes: Shapes) -> bool:
    """Whether a checkpoint has temporal aggregation by part."""
    return any(key.startswith("TFA.pooling_func.") for key in shapes)


FAMILY = ModelFamily(
    name="gaitpart",
    title="GaitPart",
    summary="a GaitPart checkpoint of OpenGait",
    recognises=is_gaitpart,
    loader="gaitstream.models.gaitpart.trained:load",
    options=SilhouetteOptions,
    randomizer="gaitstream.models.gaitpart.trained:make_random",
    variants=("casia-b", "grew"),
)

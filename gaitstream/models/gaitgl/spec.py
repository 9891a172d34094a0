"""GaitGL as the rest of the house sees it."""

from __future__ import annotations

from gaitstream.models.silhouette_options import SilhouetteOptions
from gaitstream.models.spec import ModelFamily, Shapes


def is_gaitgl(shapes: Shapes) -> bool:
    """Whether a checkpoint has global and local convolutions."""
    return any(key.startswith("GLConvA0.") for key in shapes)


FAMILY = ModelFamily(
    name="gaitgl",
    title="GaitGL",
    summary="a GaitGL checkpoint of OpenGait",
    recognises=is_gaitgl,
    loader="gaitstream.models.gaitgl.trained:load",
    options=SilhouetteOptions,
    randomizer="gaitstream.models.gaitgl.trained:make_random",
    variants=("casia-b", "ou-mvlp", "bnneck"),
)

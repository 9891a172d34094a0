"""SkeletonGait++ as the rest of the house sees it."""

from __future__ import annotations

from gaitstream.models.silhouette_options import SilhouetteOptions
from gaitstream.models.spec import ModelFamily, Shapes


def is_skeletongaitpp(shapes: Shapes) -> bool:
    """Whether a checkpoint has a stem for silhouettes and one for maps."""
    return "sil_layer0.forward_block.0.weight" in shapes and "map_layer0.forward_block.0.weight" in shapes


FAMILY = ModelFamily(
    name="skeletongaitpp",
    title="SkeletonGait++",
    summary="a SkeletonGait++ checkpoint of OpenGait",
    recognises=is_skeletongaitpp,
    loader="gaitstream.models.skeletongaitpp.trained:load",
    options=SilhouetteOptions,
    randomizer="gaitstream.models.skeletongaitpp.trained:make_random",
    variants=("usual", "deep"),
)

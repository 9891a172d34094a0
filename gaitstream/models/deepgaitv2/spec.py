"""DeepGaitV2 as the rest of the house sees it."""

from __future__ import annotations

from gaitstream.models.silhouette_options import SilhouetteOptions
from gaitstream.models.spec import ModelFamily, Shapes


def is_deepgaitv2(shapes: Shapes) -> bool:
    """Whether a checkpoint has the deep network, over one channel."""
    return shapes.get("layer0.forward_block.0.weight", ())[1:2] == (1,)


FAMILY = ModelFamily(
    name="deepgaitv2",
    title="DeepGaitV2",
    summary="a DeepGaitV2 checkpoint of OpenGait: 2D, P3D or 3D",
    recognises=is_deepgaitv2,
    loader="gaitstream.models.deepgaitv2.trained:load",
    options=SilhouetteOptions,
    randomizer="gaitstream.models.deepgaitv2.trained:make_random",
    variants=("p3d", "p3d-deep", "2d", "2d-deep", "3d", "3d-deep"),
)

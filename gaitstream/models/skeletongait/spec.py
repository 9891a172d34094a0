"""SkeletonGait as the rest of the house sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gaitstream.models.spec import ModelFamily, Shapes, flag


@dataclass(frozen=True, kw_only=True)
class SkeletonGaitOptions:
    """What a checkpoint was trained with and does not hold."""

    tap: Literal["auto", "after", "before"] = flag(
        "auto",
        help="the embedding after the neck, as CCPG's, or before it, as all others'; auto (default): before, "
        "where the checkpoint's classifier is of Gait3D, GREW, OU-MVLP or SUSTech1K",
        choices=("auto", "after", "before"),
    )


def is_skeletongait(shapes: Shapes) -> bool:
    """Whether a checkpoint has the deep network, over limbs and joints."""
    return shapes.get("layer0.forward_block.0.weight", ())[1:2] == (2,)


FAMILY = ModelFamily(
    name="skeletongait",
    title="SkeletonGait",
    summary="a SkeletonGait checkpoint of OpenGait",
    recognises=is_skeletongait,
    loader="gaitstream.models.skeletongait.trained:load",
    options=SkeletonGaitOptions,
    randomizer="gaitstream.models.skeletongait.trained:make_random",
)

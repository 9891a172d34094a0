"""BiggerGait as the rest of the house sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gaitstream.models.spec import ModelFamily, Shapes, flag


@dataclass(frozen=True, kw_only=True)
class BiggerGaitOptions:
    """What a checkpoint was trained with and does not hold."""

    positions: Literal["exact", "offset"] = flag(
        "exact",
        help="position grid of the `transformers` release it was trained with: exact (4.46 and later, "
        "default) or offset (up to 4.36); they differ by 0.15 to 1 percent",
        choices=("exact", "offset"),
    )


def is_biggergait(shapes: Shapes) -> bool:
    """Whether a checkpoint has a projection for every layer of a transformer."""
    return any(key.startswith("HumanSpace_Conv.") for key in shapes)


FAMILY = ModelFamily(
    name="biggergait",
    title="BiggerGait",
    summary="a BiggerGait checkpoint of OpenGait",
    recognises=is_biggergait,
    loader="gaitstream.models.biggergait.trained:load",
    options=BiggerGaitOptions,
    randomizer="gaitstream.models.biggergait.trained:make_random",
    variants=("grouped", "block"),
)

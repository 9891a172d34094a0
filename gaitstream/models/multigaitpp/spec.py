"""MultiGait++ as the rest of the house sees it."""

from __future__ import annotations

from gaitstream.models.spec import ModelFamily, Shapes


def is_multigaitpp(shapes: Shapes) -> bool:
    """Whether a checkpoint splits two representations into common and different."""
    return "csquare.conv1.forward_block.0.weight" in shapes


FAMILY = ModelFamily(
    name="multigaitpp",
    title="MultiGait++",
    summary="a MultiGait++ checkpoint of OpenGait",
    recognises=is_multigaitpp,
    loader="gaitstream.models.multigaitpp.trained:load",
    randomizer="gaitstream.models.multigaitpp.trained:make_random",
)

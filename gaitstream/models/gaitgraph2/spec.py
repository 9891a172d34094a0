"""GaitGraph2 as the rest of the house sees it."""

from __future__ import annotations

from gaitstream.models.spec import ModelFamily, Shapes


def is_gaitgraph2(shapes: Shapes) -> bool:
    """Whether a checkpoint has the residual graph network."""
    return any(key.startswith("ResGCN.") for key in shapes)


FAMILY = ModelFamily(
    name="gaitgraph2",
    title="GaitGraph2",
    summary="a GaitGraph2 checkpoint of OpenGait",
    recognises=is_gaitgraph2,
    loader="gaitstream.models.gaitgraph2.trained:load",
    randomizer="gaitstream.models.gaitgraph2.trained:make_random",
)

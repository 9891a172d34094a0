"""GaitTR as the rest of the house sees it."""

from __future__ import annotations

from gaitstream.models.spec import ModelFamily, Shapes


def is_gaittr(shapes: Shapes) -> bool:
    """Whether a checkpoint has attention over joints."""
    return "backbone.0.st.attention_conv.qkv_conv.weight" in shapes


FAMILY = ModelFamily(
    name="gaittr",
    title="GaitTR",
    summary="a GaitTR checkpoint of OpenGait",
    recognises=is_gaittr,
    loader="gaitstream.models.gaittr.trained:load",
    randomizer="gaitstream.models.gaittr.trained:make_random",
)

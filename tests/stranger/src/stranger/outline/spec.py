"""What gaitstream knows of the family before it exports one; imports no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gaitstream.models.spec import ModelFamily, Shapes, flag


@dataclass(frozen=True, kw_only=True)
class OutlineOptions:
    """What a checkpoint does not hold."""

    tap: Literal["plain", "unit"] = flag(
        "plain", help="give parts as they are (default), or of unit length", choices=("plain", "unit")
    )


def is_outline(shapes: Shapes) -> bool:
    """Whether a checkpoint is one of this family's."""
    return {"outline.0.weight", "embed.fc_bin"} <= shapes.keys()


FAMILY = ModelFamily(
    name="toy-outline",
    title="the toy outline model",
    summary="a toy model of silhouettes, frame by frame",
    recognises=is_outline,
    loader="stranger.outline.trained:load",
    options=OutlineOptions,
)

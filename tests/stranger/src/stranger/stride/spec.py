"""What gaitstream knows of the family before it exports one; imports no PyTorch."""

from __future__ import annotations

from gaitstream.models.spec import ModelFamily, Shapes


def is_stride(shapes: Shapes) -> bool:
    """Whether a checkpoint is one of this family's: its convolutions have three axes."""
    return len(shapes.get("stride.0.weight", ())) == 5


FAMILY = ModelFamily(
    name="toy-stride",
    title="the toy stride model",
    summary="a toy model of silhouettes in time",
    recognises=is_stride,
    loader="stranger.stride.trained:load",
)

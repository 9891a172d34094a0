"""BigGait as the rest of the house sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.models.spec import ModelFamily, Shapes, flag

if TYPE_CHECKING:
    from gaitstream.models.manifest import Manifest

OTHER = re.compile(r"^HumanSpace_Conv\.")
"""BiggerGait's, which has a mask branch as well."""
KEYS = re.compile(r"^(Denoising|Appearance|Mask)_Branch\.|^gait_net\.")


@dataclass(frozen=True, kw_only=True)
class BigGaitOptions:
    """What an export may be told beside the checkpoint."""

    dinov2: Path | None = flag(
        None,
        help="DINOv2's own file, where the checkpoint lacks the backbone",
        metavar="FILE",
        parse=Path,
    )


def is_biggait(shapes: Shapes) -> bool:
    """Whether a checkpoint holds BigGait's branches or its gait network."""
    return any(KEYS.search(key) for key in shapes) and not any(OTHER.search(key) for key in shapes)


def restate(manifest: Manifest) -> dict[str, str]:
    """The backbone's file, where there were two."""
    _, *backbone = manifest.source or ("",)
    return {"dinov2": backbone[0]} if backbone else {}


FAMILY = ModelFamily(
    name="biggait",
    title="BigGait",
    summary="a BigGait checkpoint of OpenGait (ViT-S or ViT-L)",
    recognises=is_biggait,
    loader="gaitstream.models.biggait.checkpoint:load",
    options=BigGaitOptions,
    restate=restate,
    gflop=30.3,
    randomizer="gaitstream.models.biggait.trained:make_random",
    variants=("S", "L"),
)

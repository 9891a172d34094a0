"""What no checkpoint of a silhouette model tells: how the silhouettes it was trained on were prepared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gaitstream.models.spec import flag


@dataclass(frozen=True, kw_only=True)
class SilhouetteOptions:
    """Options of the families that look at silhouettes."""

    preparation: Literal["general", "ccpg"] = flag(
        "general",
        help="how silhouettes are aligned: as for all data sets (default), or as for CCPG",
        choices=("general", "ccpg"),
    )

"""One thing to set, or to know, about a site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gaitstream.config.reading import Location


@dataclass(frozen=True, slots=True)
class Finding:
    """What to set where, and why.

    Attributes:
        at: the place in cams.yaml: of the key to set, or of what a remark is about.
        said: why, or the remark, in words.
        value: to set; None where there is nothing to set.
    """

    at: Location
    said: str
    value: Any = None

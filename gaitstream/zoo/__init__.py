"""The models that ship with the package: weights trained on the synthetic world.

Nothing is downloaded. A name gives a packaged model, whose checksum is verified; `models.resolve` also takes
paths.
"""

from __future__ import annotations

from gaitstream.zoo.registry import (
    ENTRIES,
    Advice,
    Kind,
    ZooEntry,
    advice,
    demo_family,
    demo_folder,
    find,
    names,
)

__all__ = ["ENTRIES", "Advice", "Kind", "ZooEntry", "advice", "demo_family", "demo_folder", "find", "names"]
"""Names to look at."""

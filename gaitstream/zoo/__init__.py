"""Models by name: weights trained on the synthetic world, which ship with the package, and the catalogue.

`find` downloads nothing. A name gives a packaged model, or one of the catalogue that `gaitstream models get`
has fetched; its checksum is verified. `models.resolve` also takes paths.
"""

from __future__ import annotations

from gaitstream.zoo.registry import (
    ENTRIES,
    Advice,
    Kind,
    ZooEntry,
    advice,
    advised,
    demo_families,
    demo_family,
    demo_folder,
    entries,
    find,
    names,
)

__all__ = [
    "ENTRIES", "Advice", "Kind", "ZooEntry", "advice", "advised", "demo_families", "demo_family",
    "demo_folder", "entries", "find", "names",
]  # fmt: skip
"""Names to look at."""

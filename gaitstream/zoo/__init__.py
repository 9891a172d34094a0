"""Where models come from: the demo weights that ship with the package, and paths of your own.

Nothing is downloaded. A name gives a packaged model, whose checksum is verified; anything that looks like a
path is taken as one.
"""

from __future__ import annotations

from gaitstream.zoo.registry import ENTRIES, Advice, Entry, Kind, advice, demo_folder, resolve

__all__ = ["ENTRIES", "Advice", "Entry", "Kind", "advice", "demo_folder", "resolve"]
"""Names to look at."""

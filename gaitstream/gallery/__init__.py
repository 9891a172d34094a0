"""Who is known: the store, its matching and its calibration."""

from __future__ import annotations

from gaitstream.gallery.matching import Matcher, mean_part_distance
from gaitstream.gallery.store import Gallery, PersonEntry

__all__ = ["Gallery", "Matcher", "PersonEntry", "mean_part_distance"]

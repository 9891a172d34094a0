"""Who is known: the store, its matching and its calibration."""

from __future__ import annotations

from gaitstream.gallery.checksum import Damage
from gaitstream.gallery.matching import Matcher, mean_part_distance
from gaitstream.gallery.store import Enrolment, Gallery, PersonEntry

__all__ = ["Damage", "Enrolment", "Gallery", "Matcher", "PersonEntry", "mean_part_distance"]

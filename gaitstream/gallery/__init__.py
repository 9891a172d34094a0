"""Who is known: stores, protection, matching and calibration."""

from __future__ import annotations

from gaitstream.gallery.checksum import Damage
from gaitstream.gallery.gallery import Enrolment, Gallery, PersonEntry
from gaitstream.gallery.matching import Matcher, mean_part_distance

__all__ = ["Damage", "Enrolment", "Gallery", "Matcher", "PersonEntry", "mean_part_distance"]

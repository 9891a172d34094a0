"""Who came back and who changed: the clothes of those who left, and of strangers in somebody's track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gaitstream.pipeline.clothes import Clothes

STRANGE = 17.0
"""Difference of a clear sighting from a track's clothes beyond which it may be somebody else's."""
CHANGED = 6
"""Such sightings without one that is not, after which it is."""
LOOKS = (5, 10, 20)
"""Clear sightings after which somebody new is held against those who left."""
SAME = 17.0
"""Difference of clothes within which they may be the same person's,"""
LEAD = 1.2
"""and how many times further those of all others who left must be then."""
REMEMBERED_S = 30.0
"""How long those who left are remembered."""
OVERLAP_S = 0.5
"""So long somebody may seem to be still there, in a track that shows another by then."""


@dataclass(slots=True)
class Track:
    """One person followed.

    Attributes:
        seen_s: when it was seen last.
        started_s: when it was seen first.
        tracker_id: -1 until the track is shown.
        hits: how often it was seen.
        clothes: what the person wears.
        person: id of the first track of the person, as far as is known.
        stranger: clothes of who may have taken the person's place,
        strange_s: and since when.
        shown: whether a box was ever said to be of this track.
    """

    seen_s: float
    started_s: float
    tracker_id: int = -1
    hits: int = 0
    clothes: Clothes = field(default_factory=Clothes)
    person: int = -1
    stranger: Clothes = field(default_factory=Clothes)
    strange_s: float = 0.0
    shown: bool = False

    def see(self, clear: bool, unlike: float, time_s: float) -> Clothes:
        """Note a sighting; the clothes that it shows: the person's, or those of a stranger.

        Args:
            clear: whether most of the person is uncovered.
            unlike: difference to the person's clothes; NaN where it is not known.
            time_s: when.
        """
        self.seen_s, self.hits = time_s, self.hits + 1
        if clear and self.clothes.clear >= LOOKS[1] and unlike > STRANGE:
            self.strange_s = self.strange_s if self.stranger.clear else time_s
            self.stranger.clear += 1
            return self.stranger
        if clear and self.stranger.clear:
            self.stranger = Clothes()
        self.clothes.clear += clear
        return self.clothes

    @property
    def changed(self) -> bool:
        """Whether another person has been in this track for a while by now; after a stranger was seen."""
        return self.stranger.clear >= CHANGED and self.tracker_id >= 0

    def split(self, number: int) -> Track:
        """The track of whoever took the person's place, who left then."""
        new = Track(self.seen_s, self.strange_s, number, self.stranger.clear, self.stranger, number)
        self.seen_s, self.stranger = self.strange_s, Clothes()
        return new


class Leavers:
    """Tracks of a camera that ended a short while ago."""

    def __init__(self) -> None:
        self._left: list[Track] = []

    def add(self, tracks: Sequence[Track]) -> None:
        """Remember tracks that ended."""
        self._left += [one for one in tracks if one.shown]

    def forget(self, time_s: float) -> None:
        """Forget those that ended long ago."""
        if self._left:
            self._left = [one for one in self._left if time_s - one.seen_s <= REMEMBERED_S]

    def find(self, track: Track, present: Sequence[Track]) -> Track | None:
        """The earlier track of somebody new: the nearest by clothes, when nobody's else are as near.

        Args:
            track: of the new one.
            present: everybody else who is followed.
        """
        people = {one.person for one in present}
        left = [one for one in self._left if one.clothes.clear >= LOOKS[0]]
        gone = [
            (track.clothes.unlike(one.clothes), one)
            for one in left
            if one.person not in people and one.seen_s <= track.started_s + OVERLAP_S
        ]
        if not gone:
            return None
        nearest, best = min(gone, key=lambda one: one[0])
        others = [one for one in [*present, *left] if one.person != best.person]
        rivals = [far for far, one in gone if one.person != best.person]
        nearer = any(
            track.clothes.unlike(one.clothes) < nearest for one in others if one.clothes.clear >= LOOKS[0]
        )
        if nearest > SAME or nearer or min(rivals, default=np.inf) < LEAD * nearest:
            return None
        return best

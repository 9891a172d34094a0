"""How well a whole site knows who is who: names of tracks against the truth, over all cameras."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from gaitstream.assignment import assign


@dataclass(frozen=True, slots=True)
class IdentityScore:
    """The result.

    Attributes:
        idf1: of the frames of enrolled people over all cameras, 0 to 1.
        right: tracks of enrolled people with their name.
        wrong: tracks with another's name, strangers' too.
        missed: tracks of enrolled people without a name.
        rejected: tracks of strangers without a name.
    """

    idf1: float
    right: int
    wrong: int
    missed: int
    rejected: int

    @property
    def tracks(self) -> int:
        """All."""
        return self.right + self.wrong + self.missed + self.rejected


def score_identities(
    tracks: Iterable[tuple[str, str | None, int]], enrolled: Collection[str]
) -> IdentityScore:
    """Judge the names of tracks.

    For IDF1 every name is one identity over all cameras; names are matched with enrolled people one to one,
    so that the most frames agree. Frames of strangers that were given a name count as false, frames of
    enrolled people without one as missed.

    Args:
        tracks: who it is, the name given, and the frames of each.
        enrolled: who has a name to be given.

    Source: Ristani et al., ECCV Workshops 2016 (IDF1).
    """
    given = list(tracks)
    overlap: Counter[tuple[str, str]] = Counter()
    for truth, name, frames in given:
        if name is not None and truth in enrolled:
            overlap[truth, name] += frames
    people = sorted({truth for truth, _ in overlap})
    names = sorted({name for _, name in overlap})
    table = np.zeros((len(people), len(names)))
    for (truth, name), frames in overlap.items():
        table[people.index(truth), names.index(name)] = frames
    agreed = table[assign(-table)].sum()
    shown = sum(frames for truth, _, frames in given if truth in enrolled)
    named = sum(frames for _, name, frames in given if name is not None)
    counts = Counter(_kind(truth, name, enrolled) for truth, name, _ in given)
    return IdentityScore(
        idf1=float(2 * agreed / (shown + named)) if shown + named else 0.0,
        **{kind: counts[kind] for kind in ("right", "wrong", "missed", "rejected")},
    )


def _kind(truth: str, name: str | None, enrolled: Collection[str]) -> str:
    if name is not None:
        return "right" if name == truth else "wrong"
    return "missed" if truth in enrolled else "rejected"

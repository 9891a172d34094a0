"""Strangers who walk by, as embeddings: for the tests of what becomes of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gaitstream.gallery import Gallery
from gaitstream.gallery.linking import LinkRule
from gaitstream.gallery.sightings import KeptWindows, Sighting, TrackRef
from gaitstream.gallery.visiting import Noted, VisitorBook
from tests.gallery.filled import MODEL, PRINT

SECOND = 10**9
RULE = LinkRule({MODEL: 3.0})
"""Walks of one person are about 1.4 apart, those of two about 8."""


def windows(person: int, walk: int, count: int = 3) -> NDArray[np.float32]:
    """One walk of a person of this number, `[count, 16, 32]`."""
    own = np.random.default_rng([7, person]).normal(size=(1, 16, 32))
    noise = np.random.default_rng([7, person, walk]).normal(size=(count, 16, 32))
    return (own + 0.18 * noise).astype(np.float32)


def sighting(person: int, walk: int, camera: str = "gate", at_s: int = 0, known: str = "") -> Sighting:
    """One walk; `walk` is the number of the track too."""
    at = (at_s or walk * 100) * SECOND
    kept = KeptWindows.of(list(windows(person, walk)), PRINT)
    track = TrackRef("run", camera, walk, at + 5 * SECOND)
    return Sighting(track=track, first_ns=at, windows={MODEL: kept}, known=known, distance=2.0, other=5.0)


def book_of(gallery: Gallery) -> VisitorBook:
    return VisitorBook(gallery, {MODEL: PRINT}, RULE)


def note(gallery: Gallery, *sightings: Sighting) -> list[Noted]:
    return book_of(gallery).note(sightings)

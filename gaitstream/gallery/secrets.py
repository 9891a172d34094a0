"""Secrets that a gallery keeps for what stands beside it, sealed as everything else in it is.

Whoever may open the gallery has them, on any machine; a gallery that gets another key keeps them.
"""

from __future__ import annotations

import os
from typing import Literal

from gaitstream.gallery.base import Reading, Writing
from gaitstream.gallery.gallery import Gallery
from gaitstream.gallery.sealing import KEY_BYTES, Sealer

Secret = Literal["evidence", "signer"]
"""What evidence is sealed with, and the Ed25519 key that signs bundles of it."""
_PLACES: dict[Secret, str] = {"evidence": "secret/evidence", "signer": "secret/signer"}


def secret(gallery: Gallery, name: Secret) -> bytes:
    """One of the gallery's secrets, 32 random bytes; made when it is asked for the first time.

    Raises:
        GalleryError: the store cannot be reached or written, or the secret is damaged.
    """
    place = _PLACES[name]
    with gallery.store.reading() as reading:
        kept = _read(reading, gallery.sealer, place)
    if kept is not None:
        return kept
    with gallery.writing() as writing:  # another process may have been quicker
        kept = _read(writing, gallery.sealer, place)
        if kept is None:
            kept = os.urandom(KEY_BYTES)
            writing.set(place, gallery.sealer.seal(kept, place))
    return kept


def reseal_secrets(writing: Writing, old: Sealer, new: Sealer) -> None:
    """Seal all secrets with another key."""
    for place in _PLACES.values():
        kept = _read(writing, old, place)
        if kept is not None:
            writing.set(place, new.seal(kept, place))


def _read(reading: Reading, sealer: Sealer, place: str) -> bytes | None:
    kept = reading.setting(place)
    return None if kept is None else sealer.open(kept, place)

"""Who was merged into whom: what tells those who only see an id vanish that its person is still there."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gaitstream.errors import GalleryError
from gaitstream.gallery.base import Reading, Writing

_PLACE = "merged"
_DECODER = msgspec.json.Decoder(dict[str, str])


def read_merged(reading: Reading) -> dict[str, str]:
    """Uids of those who were ever merged, and of whom each was merged into, who may be gone by now, too.

    Raises:
        GalleryError: it is damaged.
    """
    kept = reading.setting(_PLACE)
    try:
        return _DECODER.decode(kept) if kept else {}
    except ValueError as error:
        raise GalleryError(
            "what the gallery keeps of who was merged is damaged; put a backup in its place"
        ) from error


def note_merged(writing: Writing, gone: str, kept: str) -> None:
    """Enter that somebody was merged into somebody else."""
    writing.set(_PLACE, msgspec.json.encode({**read_merged(writing), gone: kept}))


def survivor(merged: Mapping[str, str], uid: str) -> str:
    """Whom somebody is part of in the end; themselves when they were never merged.

    >>> survivor({"a": "b", "b": "c"}, "a")
    'c'
    """
    seen = {uid}
    while uid in merged and merged[uid] not in seen:
        uid = merged[uid]
        seen.add(uid)
    return uid


def parts_of(merged: Mapping[str, str], uid: str) -> set[str]:
    """Uids of all who were merged into somebody, directly or not.

    >>> sorted(parts_of({"a": "b", "b": "c", "x": "y"}, "c"))
    ['a', 'b']
    """
    found: set[str] = set()
    more = {uid}
    while more:
        more = {gone for gone, kept in merged.items() if kept in more} - found - {uid}
        found |= more
    return found

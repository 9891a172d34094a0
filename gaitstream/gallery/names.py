"""Names of people: checked and folded once, where they come in."""

from __future__ import annotations

import unicodedata

from gaitstream.errors import GalleryError

LONGEST = 100
"""Characters; a name stands in events, tables and file names."""
LONGEST_BYTES = 200
"""In UTF-8; a file's name has room for 255."""


def clean_name(name: str) -> str:
    """A name as it is kept: Unicode NFC, spaces at the ends gone and in between single.

    >>> clean_name("  Ada   Lovelace ")
    'Ada Lovelace'

    Raises:
        GalleryError: nothing is left, it is too long, or it holds characters that cannot be shown.
    """
    found = unicodedata.normalize("NFC", name)
    hidden = [char for char in found if unicodedata.category(char)[0] == "C"]
    if hidden:
        codes = ", ".join(f"U+{ord(char):04X}" for char in hidden[:3])
        raise GalleryError(f"the name {name[:LONGEST]!r} holds {codes}, which cannot be shown; leave it out")
    found = " ".join(found.split())
    if not found:
        raise GalleryError("a person needs a name: --person NAME")
    if len(found) > LONGEST or len(found.encode()) > LONGEST_BYTES:
        raise GalleryError(
            f"the name {found[:20]!r}... has {len(found)} characters and {len(found.encode())} bytes; "
            f"{LONGEST} and {LONGEST_BYTES} at most are allowed: shorten it"
        )
    return found


def fold_name(name: str) -> str:
    """What two spellings of one name have in common: case, width and spaces do not count.

    >>> fold_name(" ADA") == fold_name("ada")
    True
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", clean_name(name)).casefold())

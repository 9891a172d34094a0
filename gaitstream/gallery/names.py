"""Names of people: checked and folded once, where they come in."""

from __future__ import annotations

import unicodedata

from gaitstream.errors import GalleryError

LONGEST = 100
"""Characters; a name stands in events, tables and file names."""
LONGEST_BYTES = 200
"""In UTF-8; a file's name has room for 255."""
JOINERS = "\u200c\u200d"
"""Say whether the letters beside them are joined: part of the spelling of Persian, Urdu and Indic names."""
JOINED = frozenset(
    ("ARABIC", "BALINESE", "BENGALI", "DEVANAGARI", "GUJARATI", "GURMUKHI", "KANNADA", "KHMER", "MALAYALAM",
     "MONGOLIAN", "MYANMAR", "NKO", "ORIYA", "SINHALA", "SYRIAC", "TAMIL", "TELUGU", "TIBETAN")
)  # fmt: skip
"""Scripts with letters that joiners stand between, by the first word of a letter's Unicode name."""
VIRAMA = 9
"""Unicode's combining class of the signs that leave a letter's vowel out."""


def clean_name(name: str) -> str:
    """A name as it is kept: Unicode NFC, spaces at the ends gone and in between single.

    >>> clean_name("  Ada   Lovelace ")
    'Ada Lovelace'

    Raises:
        GalleryError: nothing is left, it is too long, or it holds characters that cannot be shown.
    """
    found = unicodedata.normalize("NFC", name)
    hidden = [
        char
        for at, char in enumerate(found)
        if unicodedata.category(char)[0] == "C" and not _joins(found, at)
    ]
    if hidden:
        codes = ", ".join(f"U+{ord(char):04X}" for char in hidden[:3])
        raise GalleryError(f"the name {name[:LONGEST]!r} holds {codes}, which cannot be shown; leave it out")
    found = " ".join(found.split())
    if not found:
        raise GalleryError("a person needs a name: give one that is not empty")
    if len(found) > LONGEST or len(found.encode()) > LONGEST_BYTES:
        raise GalleryError(
            f"the name {found[:20]!r}... has {len(found)} characters and {len(found.encode())} bytes; "
            f"{LONGEST} and {LONGEST_BYTES} at most are allowed: shorten it"
        )
    return found


def fold_name(name: str) -> str:
    """What two spellings of one name have in common: case, width, spaces and joiners do not count.

    >>> fold_name(" ADA") == fold_name("ada")
    True
    """
    plain = unicodedata.normalize("NFKC", clean_name(name)).casefold()
    return unicodedata.normalize("NFKC", "".join(char for char in plain if char not in JOINERS))


def _joins(name: str, at: int) -> bool:
    """Whether a character is a joiner where one is spelled: after a virama, or between two such letters."""
    if name[at] not in JOINERS or at == 0:
        return False
    beside = (name[at - 1], name[at + 1 : at + 2])
    return unicodedata.combining(name[at - 1]) == VIRAMA or all(
        char and unicodedata.name(char, "").split(" ")[0] in JOINED for char in beside
    )

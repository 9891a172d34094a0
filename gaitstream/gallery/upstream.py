"""Whose joints and masks the templates of a gallery rest on.

Embeddings of one recognizer can be compared whatever found the joints or masks that it was given, but those
that rest on another model's lie further apart. So a gallery remembers by recognizer which models these were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from gaitstream.errors import GalleryError
from gaitstream.gallery.base import Reading, Writing


class UpstreamModel(msgspec.Struct, frozen=True, array_like=True):
    """A model that finds what a recognizer looks at.

    Attributes:
        role: `pose` or `segmenter`.
        name: of the model zoo, or of its file.
        digest: the first 12 hex digits of the SHA-256 of its graph.
    """

    role: str
    name: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name} {self.digest}"


Upstream = tuple[UpstreamModel, ...]
"""Of one recognizer; empty where it looks at pixels alone, or where nobody knows."""
_decoder = msgspec.json.Decoder(list[Upstream])
_FINDS = {"pose": "joints", "segmenter": "masks"}


def read_upstream(reading: Reading, model: str) -> list[Upstream]:
    """What the templates of a recognizer rest on; an empty one stands for some of which nobody knows.

    Raises:
        GalleryError: it is damaged.
    """
    kept = reading.setting(_place(model))
    try:
        return _decoder.decode(kept) if kept is not None else []
    except msgspec.DecodeError as error:
        raise GalleryError(
            f"what the templates of {model} rest on is damaged ({error}); put a backup of the gallery in its "
            "place"
        ) from error


def note_upstream(writing: Writing, model: str, added: Iterable[Upstream]) -> None:
    """Remember what templates rest on that are about to be added."""
    held, added = read_upstream(writing, model) or [()], list(added)  # [()]: an earlier version noted nothing
    if set(added) <= set(held):
        return
    kept = held if writing.count(model) else []
    writing.set(_place(model), msgspec.json.encode(list(dict.fromkeys([*kept, *added]))))


def other_upstream(where: str, model: str, held: Iterable[Upstream], given: Upstream) -> str:
    """What is to be said of templates that rest on other models than those that run; nothing where none do.

    Args:
        where: the gallery.
        model: name of the recognizer.
        held: what the gallery's templates rest on.
        given: what runs.
    """
    others = [one for one in held if one and given and _digests(one) != _digests(given)]
    if not others:
        return ""
    return (
        f"templates of {model} in {where} rest on {' and on '.join(map(describe_upstream, others))}, this "
        f"runs {' and '.join(map(str, given))}: people are further from themselves where another model found "
        "them, and fewer are known; run what filled the gallery, or enrol everybody again into a new one"
    )


def describe_upstream(upstream: Sequence[UpstreamModel]) -> str:
    """What templates rest on, in words."""
    told = " and ".join(f"{_FINDS.get(one.role, one.role)} of {one}" for one in upstream)
    return told or "models that nobody noted"


def _digests(upstream: Upstream) -> set[tuple[str, str]]:
    return {(one.role, one.digest) for one in upstream}


def _place(model: str) -> str:
    return f"upstream/{model}"

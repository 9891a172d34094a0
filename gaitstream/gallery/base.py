"""What a gallery store is: rows in, rows out, everything or nothing.

A store knows nothing of distances, thresholds, keys or names: what it is given to keep is sealed already, and
what it gives back is matched in the memory of whoever asks. `gaitstream.gallery.stores` finds the store of a
URL; CONTRIBUTING.md tells how another one is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PersonRow:
    """Somebody who is known.

    Attributes:
        uid: names the person for ever, and says nothing of them; never given twice.
        key: what the person is looked up by; no two persons have the same.
        record: name and terms, sealed.
    """

    uid: str
    key: bytes
    record: bytes


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model that templates come from.

    Attributes:
        fingerprint: of its bundle.
        parts: rows of an embedding.
        dim: values in a row.
        calibration: what its thresholds rest on, sealed; empty before the first.
    """

    name: str
    fingerprint: str
    parts: int
    dim: int
    calibration: bytes = b""


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """One template.

    Attributes:
        number: given by the store at `add_templates`, increasing and never given twice; 0 before.
        person: uid.
        model: its name.
        created_ns: UTC nanoseconds.
        source: where it came from, sealed.
        checksum: CRC-32 of `data`.
        data: the embedding, sealed.
    """

    number: int
    person: str
    model: str
    created_ns: int
    source: bytes
    checksum: int
    data: bytes


@dataclass(frozen=True, slots=True)
class PictureRow:
    """One picture of a person; as `TemplateRow`."""

    number: int
    person: str
    created_ns: int
    checksum: int
    data: bytes


@dataclass(frozen=True, slots=True)
class SightingRow:
    """One walk past a camera, and whose it was.

    Attributes:
        number: given by the store at `add_sightings`, increasing and never given twice; 0 before.
        person: uid of the visitor or the person.
        seen_ns: when it ended, UTC nanoseconds.
        checksum: CRC-32 of `data`.
        data: where it was and what was seen, sealed.
    """

    number: int
    person: str
    seen_ns: int
    checksum: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the history of a store.

    Attributes:
        sequence: of the last change; 0 before the first.
        token: random, of that change: a restored or replaced store counts on from the same number, but has
            other tokens.
    """

    sequence: int = 0
    token: str = ""


class Reading(Protocol):
    """A store's rows as they were when the transaction began."""

    def mark(self) -> Mark:
        """The last change."""

    def changes(self, since: Mark) -> list[str] | None:
        """Uids of whoever was changed after `since`; None when that is not in this store's history."""

    def setting(self, name: str) -> bytes | None:
        """A value kept by `set`."""

    def persons(self) -> Iterable[PersonRow]:
        """Everybody."""

    def person(self, uid: str) -> PersonRow | None:
        """The person of a uid."""

    def find(self, key: bytes) -> PersonRow | None:
        """The person of a key."""

    def models(self) -> list[ModelRow]:
        """All models, by name."""

    def templates(self, model: str | None = None, person: str | None = None) -> Iterator[TemplateRow]:
        """Templates of a model, of a person, of both or of all, by number."""

    def select(self, numbers: Sequence[int]) -> Iterator[TemplateRow]:
        """Templates by their numbers, in any order; numbers that are gone are left out."""

    def count(self, model: str | None = None, person: str | None = None) -> int:
        """How many templates a model or a person has, or both, or all."""

    def counts(self) -> dict[tuple[str, str], int]:
        """How many templates, by uid and model."""

    def pictures(self, person: str | None = None) -> Iterator[PictureRow]:
        """Pictures, by number."""

    def sightings(self, person: str | None = None, since_ns: int = 0) -> Iterator[SightingRow]:
        """Sightings of a person or of everybody, that ended at a time or after, by number."""

    def audit(self, after: int = 0) -> Iterator[tuple[int, bytes]]:
        """Number and text of every line of the audit log above a number, by number."""


class Writing(Reading, Protocol):
    """A transaction that changes rows; nobody else writes meanwhile."""

    def set(self, name: str, value: bytes | None) -> None:
        """Keep a value; None forgets it."""

    def put_person(self, row: PersonRow) -> None:
        """Add a person, or change the one of that uid."""

    def drop_person(self, uid: str) -> bool:
        """Delete a person with templates, pictures and sightings; False when there is none."""

    def put_model(self, row: ModelRow) -> None:
        """Add a model, or change the one of that name."""

    def add_templates(self, rows: Iterable[TemplateRow]) -> list[int]:
        """Add templates; returns the numbers they got."""

    def put_template(self, row: TemplateRow) -> None:
        """Change the template of that number."""

    def drop_templates(self, numbers: Sequence[int]) -> None:
        """Delete templates."""

    def add_pictures(self, rows: Iterable[PictureRow]) -> None:
        """Add pictures."""

    def put_picture(self, row: PictureRow) -> None:
        """Change the picture of that number."""

    def drop_pictures(self, numbers: Sequence[int]) -> None:
        """Delete pictures."""

    def add_sightings(self, rows: Iterable[SightingRow]) -> list[int]:
        """Add sightings; returns the numbers they got."""

    def put_sighting(self, row: SightingRow) -> None:
        """Change the sighting of that number."""

    def drop_sightings(self, numbers: Sequence[int]) -> None:
        """Delete sightings."""

    def note_change(self, uid: str) -> None:
        """Put whoever was changed into the history; those who wait are woken at the end."""

    def append_audit(self, number: int, line: bytes) -> None:
        """Add a line to the audit log."""

    def clear_audit(self) -> None:
        """Take all lines out of the audit log, to be written anew under another key."""


class Store(Protocol):
    """One gallery's rows; used from one thread.

    Every method raises `GalleryError` when the store cannot be reached or is damaged, and may be called
    again: a store that comes back is opened again by itself.

    Attributes:
        url: where it is, without credentials, for messages.
    """

    url: str

    def reading(self) -> AbstractContextManager[Reading]:
        """Begin to read; waits for nobody."""

    def writing(self) -> AbstractContextManager[Writing]:
        """Begin to write; all of it is kept at the end of the block, or none when it raises."""

    def wait(self, seconds: float) -> None:
        """Return when something was changed, or may have been, or after this time."""

    def purge(self) -> list[str]:
        """Overwrite what was deleted; returns what could not be reached and why, a line each."""

    def check(self) -> list[str]:
        """What is damaged in the store's own structures, a line each."""

    def files(self) -> list[Path]:
        """The files of this machine that hold its rows; none for a store elsewhere."""

    def close(self) -> None:
        """Let go of it."""

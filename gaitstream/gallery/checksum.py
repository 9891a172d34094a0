"""Checksums of templates: SQLite notices damage of its own structures, and none inside a template."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Damage:
    """A template whose bytes are not those that were enrolled."""

    template: int
    """Its number in the file."""
    person: str
    model: str
    source: str
    """The video it came from; may be empty."""

    def __str__(self) -> str:
        origin = f", from {self.source}" if self.source else ""
        return f"template {self.template} of {self.person!r} ({self.model}{origin}) is damaged"


def checksum(data: bytes) -> int:
    """CRC-32: against accidents, not against malice, and quick beside the reading."""
    return zlib.crc32(data)


def read_templates(
    db: sqlite3.Connection, model: str, shape: Sequence[int]
) -> Iterator[tuple[str, bytes | Damage]]:
    """A model's templates by person, in the order they were enrolled, each as it was or as damaged.

    Args:
        db: the gallery.
        model: `biggait` or `gaitheat`.
        shape: parts and dim.

    Yields:
        The person's name, and float32 little-endian bytes of `[parts, dim]`.
    """
    size = 4 * shape[0] * shape[1]
    rows = db.execute(
        "SELECT p.name, t.id, t.source, t.checksum, t.data FROM template t JOIN person p ON p.id = t.person "
        "WHERE t.model = ? ORDER BY p.name, t.id",
        (model,),
    )
    for name, number, source, kept, data in rows:
        whole = isinstance(data, bytes) and len(data) == size and checksum(data) == kept
        yield name, data if whole else Damage(number, name, model, source)


def add_checksums(db: sqlite3.Connection) -> None:
    """Take a gallery of schema 1 or 2 to schema 3: what its templates hold now is taken to be right."""
    db.create_function("crc32", 1, checksum, deterministic=True)
    db.execute("ALTER TABLE template ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0")
    db.execute("UPDATE template SET checksum = crc32(data)")

"""Galleries of older schemas brought to the newest, inside the transaction that the caller holds."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Sequence

from gaitstream.errors import GalleryError
from gaitstream.gallery.checksum import checksum
from gaitstream.gallery.names import LONGEST, LONGEST_BYTES, clean_name, fold_name
from gaitstream.gallery.records import PersonRecord, encode_record, new_uid

log = logging.getLogger(__name__)


def migrate(db: sqlite3.Connection, schema: int, tables: Sequence[str]) -> None:
    """Take a gallery of schema 1 to 4 to schema 5; what was not encrypted stays so.

    Foreign keys are off meanwhile. What its templates hold now is taken to be right where there was no
    checksum. Names that are one when folded become `Ada` and `Ada (2)`.

    Args:
        db: the gallery, in a transaction.
        schema: what it has.
        tables: the statements that make schema 5.
    """
    if schema == 4:
        for statement in tables:
            if re.search(r"\bsighting\b", statement):
                db.execute(statement)
        return
    if schema < 3:
        db.create_function("crc32", 1, checksum, deterministic=True)
        db.execute("ALTER TABLE template ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0")
        db.execute("UPDATE template SET checksum = crc32(data)")
    for table in ("person", "model", "template"):
        db.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    db.execute("DROP INDEX IF EXISTS template_by_model")
    for statement in tables:
        db.execute(statement)
    taken: set[str] = set()
    for number, name, created_ns in db.execute("SELECT id, name, created_ns FROM old_person").fetchall():
        kept = _free_name(name, taken)
        db.execute(
            "INSERT INTO person (id, uid, lookup, record) VALUES (?, ?, ?, ?)",
            (number, new_uid(), fold_name(kept).encode(), encode_record(PersonRecord(kept, created_ns))),
        )
    # A calibration rests on more than older schemas kept, and is made anew at the next change.
    db.execute("INSERT INTO model SELECT name, fingerprint, parts, dim, NULL FROM old_model")
    db.execute(
        "INSERT INTO template (id, person, model, created_ns, source, checksum, data) "
        "SELECT id, person, model, created_ns, CAST(source AS BLOB), checksum, data FROM old_template"
    )
    for table in ("template", "model", "person"):
        db.execute(f"DROP TABLE old_{table}")


def _free_name(name: str, taken: set[str]) -> str:
    """A name that may be kept and that nobody has, as near to this one as there is."""
    shown = "".join(char if char.isprintable() else " " for char in name)[:LONGEST]
    while len(shown.encode()) > LONGEST_BYTES:
        shown = shown[:-1]
    try:
        base = clean_name(shown)
    except GalleryError:
        base = "nameless"
    found, count = base, 1
    while fold_name(found) in taken:
        count += 1
        found = f"{base[: LONGEST - 8]} ({count})"
    if found != name:
        log.warning("%r is called %r from now on: names are checked and folded", name, found)
    taken.add(fold_name(found))
    return found

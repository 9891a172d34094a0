"""Replacing a gallery's file by a copy of itself that holds no deleted rows, at any moment.

SQLite cannot overwrite what a reader in a transaction may still ask for, neither in the file nor in the log.
A copy has none of it. The copy becomes the gallery in steps that a kill cannot spoil: once it is complete
it is called `<file>.swap`; whoever opens the gallery while that exists finishes the replacement. Readers of
the old file keep it, without a name, until they let go. All of it under the writers' lock.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

_ZEROS = bytes(1 << 20)


def rewrite(db: sqlite3.Connection, path: Path) -> None:
    """Put a fresh copy of what `db` holds in the place of `path`; the caller holds the writers' lock."""
    drop_unfinished(path)
    fresh = _fresh_of(path)
    os.close(os.open(fresh, os.O_CREAT | os.O_WRONLY, 0o600))
    db.execute("VACUUM INTO ?", (str(fresh),))
    with sqlite3.connect(fresh, isolation_level=None) as copy:
        copy.execute("PRAGMA journal_mode = WAL")
    copy.close()
    _sync(fresh)
    fresh.replace(swap_of(path))
    _sync(path.parent)
    finish_rewrite(path)


def finish_rewrite(path: Path) -> None:
    """Go on with a replacement that was begun, if there is one; the caller holds the writers' lock."""
    swap = swap_of(path)
    if swap.exists():
        for name in ("-wal", "-shm"):  # of the old file: they must not be read with the new one
            with suppress(FileNotFoundError):
                path.with_name(path.name + name).unlink()
        _sync(path.parent)
        swap.replace(path)
        _sync(path.parent)


def drop_unfinished(path: Path) -> None:
    """Overwrite and delete a copy that was never completed: it has rows that are to be erased by now.

    The caller holds the writers' lock.
    """
    fresh = _fresh_of(path)
    for part in (fresh, fresh.with_name(f"{fresh.name}-journal"), fresh.with_name(f"{fresh.name}-wal")):
        with suppress(FileNotFoundError), part.open("r+b") as file:
            left = os.fstat(file.fileno()).st_size
            while left > 0:
                left -= file.write(_ZEROS[:left])
            file.flush()
            os.fsync(file.fileno())
            part.unlink()


def swap_of(path: Path) -> Path:
    """The complete copy that is to take the place of a gallery's file."""
    return path.with_name(f"{path.name}.swap")


def _fresh_of(path: Path) -> Path:
    """The copy while it is being made."""
    return path.with_name(f"{path.name}.fresh")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

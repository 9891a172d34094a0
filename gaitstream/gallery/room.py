"""A disk without room, told apart from other faults of a file."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path

_LITTLE = 256 * 1024
"""Bytes; with less, SQLite's faults of input and output come from files that cannot grow."""


def no_room(error: Exception, folder: Path) -> str | None:
    """What to say where an error comes from a full disk; None for any other."""
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    else:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        full = code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _free(folder) < _LITTLE)
    return f"no room on {folder}: free space there, and try again" if full else None


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return _LITTLE

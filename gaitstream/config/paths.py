"""Paths written in `cams.yaml`: anchored beside the file, and asked about without surprises."""

from __future__ import annotations

import os
from pathlib import Path

MOST_PATH_BYTES = 4095
MOST_NAME_BYTES = 255
"""Linux' PATH_MAX without its final zero, and NAME_MAX."""


def anchor(value: str, base: str | Path) -> Path:
    """A path that may begin with `~`, seen from a folder.

    Raises:
        ValueError: no file can have this path; the text says why.
    """
    try:
        path = Path(base) / Path(value).expanduser()
    except RuntimeError:
        raise ValueError("begins with a ~ and a user who does not exist here; write the home out") from None
    try:
        data = os.fsencode(path)
    except UnicodeEncodeError:
        raise ValueError("holds a character that no file name has") from None
    if b"\0" in data:
        raise ValueError("holds the character U+0000, which no file name has")
    if len(data) > MOST_PATH_BYTES or max(map(len, data.split(b"/"))) > MOST_NAME_BYTES:
        raise ValueError(
            f"is too long for a path: allowed are {MOST_PATH_BYTES} bytes, {MOST_NAME_BYTES} between slashes"
        )
    return path


def is_there(path: Path) -> bool:
    """Whether something has this path; False as well where one may not look."""
    try:
        return path.exists()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether a directory has this path; False as well where one may not look."""
    try:
        return path.is_dir()
    except OSError:
        return False

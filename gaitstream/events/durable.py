"""Files that hold either the old or the new after a crash, a power failure included."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def replace_file(path: Path, data: bytes) -> None:
    """Put data into a file of mode 0600, whole or not at all.

    Raises:
        OSError: there is no room, or the folder cannot be written; the file is as it was.
    """
    beside = path.with_name(f"{path.name}.new")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)
    beside.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Force to the disk which files a folder has, where its file system can do that."""
    with contextlib.suppress(OSError):
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

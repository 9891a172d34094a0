"""The builder's measurements of its tactics, kept so that the next engine is built in less time."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import filelock

from gaitstream.folders import cache_folder

log = logging.getLogger(__name__)


class Timings:
    """What one kind of device has measured for one version of the library.

    Attributes:
        content: serialised; empty when nothing is known. Whoever builds puts the grown form here.
    """

    def __init__(self, content: bytes = b"") -> None:
        self.content = content


def timings_path(key: str) -> Path:
    """The file of a library, version and device."""
    return cache_folder("timing") / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', key)}.cache"


@contextlib.contextmanager
def kept(key: str) -> Iterator[Timings]:
    """Read what is known, and keep what is known afterwards.

    Two builders may run side by side: who ends last is kept. A folder that cannot be written only costs time.

    Args:
        key: library, version and device.
    """
    path = timings_path(key)
    try:
        timings = Timings(path.read_bytes())
    except OSError:
        timings = Timings()
    before = timings.content
    yield timings
    if timings.content == before:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_suffix(".lock")):
            part = path.with_suffix(".part")
            part.write_bytes(timings.content)
            part.replace(path)
    except OSError as error:
        log.warning("the builder's timings cannot be kept in %s (%s)", path.parent, error.strerror)

"""Memory that processes of one machine share and no disk ever sees.

A segment is an anonymous file in memory (`memfd_create`): it has no name in any folder, is gone with the last
process that has it, and takes room only where it was written. Other processes of the same user open it by
the path of its descriptor. One process writes; what it has finished it says in the header.
"""

from __future__ import annotations

import mmap
import os
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import GalleryError

HEADER = 4096


class Segment:
    """Shared memory with a header of 64-bit counters.

    Attributes:
        path: by which other processes attach.
        header: int64 `[512]`; 8 bytes are written at once.
    """

    def __init__(self, descriptor: int, size: int, *, writable: bool) -> None:
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self.path = f"/proc/{os.getpid()}/fd/{descriptor}"
        self._map = mmap.mmap(descriptor, size, mmap.MAP_SHARED, access)
        self._size = size
        self.header: NDArray[np.int64] = np.ndarray(HEADER // 8, np.int64, self._map)
        self.close = weakref.finalize(self, os.close, descriptor)

    @classmethod
    def create(cls, name: str, size: int) -> Segment:
        """New memory.

        Args:
            name: for the machine's lists of open files.
            size: the most bytes it may come to; they cost nothing until they are written.
        """
        descriptor = os.memfd_create(f"gaitstream-{name}", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, HEADER + size)
        return cls(descriptor, HEADER + size, writable=True)

    @classmethod
    def attach(cls, path: str) -> Segment:
        """Another process's memory, to read.

        Raises:
            GalleryError: that process is gone.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise GalleryError(f"the process that holds the gallery in memory is gone ({error})") from error
        return cls(descriptor, os.fstat(descriptor).st_size, writable=False)

    def array(self, dtype: np.dtype[Any] | type[Any], count: int, at: int = 0) -> NDArray[Any]:
        """An array over the memory after the header, from byte `at`."""
        return np.ndarray(count, dtype, self._map, HEADER + at)

    def read(self, start: int, end: int) -> bytes:
        """A copy of some bytes after the header."""
        return self._map[HEADER + start : HEADER + end]

    def write(self, start: int, data: bytes) -> None:
        """Write bytes after the header.

        Raises:
            GalleryError: there is no room for them.
        """
        if HEADER + start + len(data) > self._size:
            raise GalleryError("the gallery has outgrown the memory set aside for it; give sites their own")
        self._map[HEADER + start : HEADER + start + len(data)] = data

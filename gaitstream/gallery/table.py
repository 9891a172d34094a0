"""One model's templates in memory, once for all processes of a machine, as the scan reads them.

Three things lie side by side, row by row: the coarse plane with its bounds and the fine plane in shared
memory (see `quantise`: together the bytes of float16 and 2.5% more), and the exact float32 values in a file
without a name, each encrypted with a key that exists in this memory alone: a decision reads a few of them.
One process writes: rows are added at the end or where others were erased a while ago, and never move.
"""

from __future__ import annotations

import os
import tempfile
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import GalleryError
from gaitstream.gallery.quantise import Floats, Layout
from gaitstream.gallery.scan import Rows, quantise
from gaitstream.gallery.segment import Segment

CAPACITY = 1 << 22
"""Rows a table may come to."""
REUSE_S = 10.0
"""How long a row of somebody erased stays empty: no search that has seen it is still at work then."""
CACHED = 512
"""Exact templates kept opened, 16 KB each."""
_NONCE, _TAG = 12, 16


class TableHandle(msgspec.Struct, frozen=True):
    """How another process attaches to a table."""

    parts: int
    dim: int
    rows: str
    planes: str
    index: str
    exact: str


class TemplateTable:
    """Templates of one model.

    Attributes:
        layout: their shape.
        rows: records of the coarse plane, `[CAPACITY]`.
        planes: fine planes, `[CAPACITY]`.
        owners: int32 `[CAPACITY]`, the person each row is of; -1 for nobody.
        numbers: int64 `[CAPACITY]`, the template's number in the store.
        versions: uint32 `[CAPACITY]`, how often each row was written; who copies rows finds by them which
            have changed. It is raised after the row was written and before the row has an owner.
        segments: the shared memory of rows, planes, and owners, numbers and versions.
    """

    def __init__(self, layout: Layout, segments: Sequence[Segment], exact: int, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self.layout = layout
        self.segments = rows, planes, index = tuple(segments)
        self.rows: Rows = rows.array(layout.record, CAPACITY)
        self.planes: Rows = planes.array(layout.plane, CAPACITY)
        self.owners: NDArray[np.int32] = index.array(np.int32, CAPACITY)
        self.numbers: NDArray[np.int64] = index.array(np.int64, CAPACITY, 4 * CAPACITY)
        self.versions: NDArray[np.uint32] = index.array(np.uint32, CAPACITY, 12 * CAPACITY)
        self._cipher = AESGCM(key)
        self._exact = exact
        self._key = key
        self._sealed = _NONCE + 4 * layout.parts * layout.dim + _TAG
        self._free: deque[tuple[float, int]] = deque()
        self._opened: OrderedDict[tuple[int, int], Floats] = OrderedDict()
        self.close = weakref.finalize(self, os.close, exact)

    @classmethod
    def create(cls, layout: Layout) -> TemplateTable:
        """An empty table of this process."""
        sizes = (layout.record.itemsize, layout.plane.itemsize, 16)
        segments = [
            Segment.create(name, size * CAPACITY)
            for name, size in zip(("coarse", "fine", "index"), sizes, strict=True)
        ]
        key = os.urandom(32)
        segments[2].header[8:12] = np.frombuffer(key, np.int64)
        handle, path = tempfile.mkstemp(prefix="gaitstream-")
        os.unlink(path)  # noqa: PTH108 - there is no name any more
        return cls(layout, segments, handle, key)

    @classmethod
    def attach(cls, handle: TableHandle) -> TemplateTable:
        """The table of another process, to read.

        Raises:
            GalleryError: that process is gone.
        """
        segments = [Segment.attach(path) for path in (handle.rows, handle.planes, handle.index)]
        try:
            exact = os.open(handle.exact, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise GalleryError(f"the process that holds the gallery in memory is gone ({error})") from error
        return cls(Layout(handle.parts, handle.dim), segments, exact, segments[2].header[8:12].tobytes())

    @property
    def handle(self) -> TableHandle:
        """How another process attaches."""
        rows, planes, index = (segment.path for segment in self.segments)
        exact = f"/proc/{os.getpid()}/fd/{self._exact}"
        return TableHandle(self.layout.parts, self.layout.dim, rows, planes, index, exact)

    @property
    def count(self) -> int:
        """Rows in use, those of nobody among them included."""
        return int(self.segments[2].header[0])

    @property
    def reserved(self) -> int:
        """Rows that may have been written, those that are being added included."""
        return int(self.segments[2].header[1])

    @property
    def changes(self) -> int:
        """How often rows were added or erased."""
        return int(self.segments[2].header[2])

    def add(self, numbers: Sequence[int], owners: Sequence[int], parts: Floats) -> list[int]:
        """Add templates; returns their rows.

        Args:
            numbers: in the store.
            owners: whose they are.
            parts: `[n, parts, dim]`.

        Raises:
            GalleryError: there are more than `CAPACITY`.
        """
        places = [self._place() for _ in numbers]
        records, planes = quantise(self.layout, parts)
        for place, number, values in zip(places, numbers, parts, strict=True):
            self._seal(place, number, values)
        self.owners[places] = -1
        self.planes[places] = planes
        self.rows[places] = records
        self.numbers[places] = numbers
        self._tell(places)
        self.owners[places] = owners
        self.segments[2].header[0] = max(self.count, *(place + 1 for place in places))
        self.segments[2].header[2] += 1  # whoever looked at the owners since `_tell` looks again
        return places

    def drop(self, places: Iterable[int]) -> None:
        """Erase rows: nothing of a template is left in memory or in the file."""
        now_s = time.monotonic()
        erased = list(places)
        for place in erased:
            self.rows["slack"][place] = -np.inf
            self.owners[place] = -1
            self.numbers[place] = 0
            for name in ("high", "scale", "norm", "fine"):
                self.rows[name][place] = 0
            self.planes["low"][place] = 0
            os.pwrite(self._exact, bytes(self._sealed), place * self._sealed)
            self._free.append((now_s, place))
        self._tell(erased)
        self._opened.clear()

    def exact(self, places: Sequence[int]) -> list[Floats | None]:
        """Templates as they were enrolled, float32 `[parts, dim]`; None for rows of nobody."""
        return [self._open(int(place), int(self.numbers[place])) for place in places]

    def _open(self, place: int, number: int) -> Floats | None:
        from cryptography.exceptions import InvalidTag

        known = self._opened.get((place, number))
        if known is not None:
            self._opened.move_to_end((place, number))
            return known
        sealed = os.pread(self._exact, self._sealed, place * self._sealed)
        try:
            data = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], number.to_bytes(8, "little"))
        except (InvalidTag, ValueError):  # erased, or another's by now
            return None
        found = np.frombuffer(data, np.float32).reshape(self.layout.parts, self.layout.dim)
        self._opened[place, number] = found
        if len(self._opened) > CACHED:
            self._opened.popitem(last=False)
        return found

    def _seal(self, place: int, number: int, parts: Floats) -> None:
        nonce = os.urandom(_NONCE)
        data = np.ascontiguousarray(parts, np.float32).tobytes()
        sealed = nonce + self._cipher.encrypt(nonce, data, number.to_bytes(8, "little"))
        os.pwrite(self._exact, sealed, place * self._sealed)

    def _place(self) -> int:
        """A row that is free: one erased a while ago, or the next one."""
        if self._free and time.monotonic() - self._free[0][0] >= REUSE_S:
            return self._free.popleft()[1]
        place = self.reserved
        if place >= CAPACITY:
            raise GalleryError(
                f"more than {CAPACITY} templates of one model do not fit; give sites their own"
            )
        self.segments[2].header[1] = place + 1
        return place

    def _tell(self, places: Sequence[int]) -> None:
        self.versions[places] += 1
        self.segments[2].header[2] += 1

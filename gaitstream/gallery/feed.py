"""Who is in memory: names, thresholds and tables, told line by line to all processes of a machine.

One process writes the lines into shared memory; each reader takes what is new. A line of somebody who was
renamed or erased is blanked, so that no name outlives its person.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gaitstream.gallery.segment import Segment
from gaitstream.gallery.table import TableHandle
from gaitstream.gallery.upstream import Upstream

_ROOM = 1 << 34


class PersonLine(msgspec.Struct, frozen=True, tag="person"):
    """Somebody was added, changed or erased.

    Attributes:
        index: the person's number in memory, never given twice.
        uid: in the store.
        name: None when erased.
        models: of which there are templates.
        visitor: a visitor who stands beside the people they were taken for.
        into: uid of whom they were merged into, and who is there; empty when erased.
        parts: of somebody erased, uids of those who were merged into them before.
    """

    index: int
    uid: str
    name: str | None
    models: tuple[str, ...] = ()
    visitor: bool = False
    into: str = ""
    parts: tuple[str, ...] = ()


class ModelLine(msgspec.Struct, frozen=True, tag="model"):
    """The gallery has a model.

    Attributes:
        fingerprint: of the bundle its templates came from.
        table: where they are; None before there are any.
        upstream: what found the joints and masks that they rest on.
    """

    model: str
    fingerprint: str
    table: TableHandle | None = None
    upstream: tuple[Upstream, ...] = ()


class LimitsLine(msgspec.Struct, frozen=True, tag="limits"):
    """A model's calibrated threshold and margin; None where there is none yet.

    `cameras` has the thresholds of those that have one of their own.
    """

    model: str
    threshold: float | None
    margin: float | None
    cameras: dict[str, float] = {}


class StateLine(msgspec.Struct, frozen=True, tag="state"):
    """What keeps the gallery from being followed; empty when nothing does."""

    problem: str


Line = PersonLine | ModelLine | LimitsLine | StateLine
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


class FeedWriter:
    """Tells who is in memory.

    Attributes:
        path: by which readers attach.
    """

    def __init__(self) -> None:
        self._segment = Segment.create("feed", _ROOM)
        self._lines: dict[int, tuple[int, int]] = {}
        self.path = self._segment.path

    def tell(self, line: Line) -> None:
        """Add a line; for readers it is there at once."""
        data = msgspec.json.encode(line) + b"\n"
        start = int(self._segment.header[0])
        if isinstance(line, PersonLine):
            before = self._lines.pop(line.index, None)
            if before is not None:
                self._segment.write(before[0], b" " * before[1])
            self._lines[line.index] = (start, len(data) - 1)
        self._segment.write(start, data)
        self._segment.header[0] = start + len(data)

    def reader(self) -> FeedReader:
        """A reader of this process."""
        return FeedReader(self._segment)


class FeedReader:
    """Takes what was told since it last asked."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._read = 0

    @classmethod
    def attach(cls, path: str) -> FeedReader:
        """To another process's feed.

        Raises:
            GalleryError: that process is gone.
        """
        return cls(Segment.attach(path))

    @property
    def waiting(self) -> bool:
        """Whether there are lines since the last call of `news`; costs next to nothing."""
        return int(self._segment.header[0]) > self._read

    def news(self) -> Iterator[Line]:
        """The lines since the last call."""
        end = int(self._segment.header[0])
        if end > self._read:
            data, self._read = self._segment.read(self._read, end), end
            for line in data.split(b"\n"):
                if line.strip():
                    yield _decoder.decode(line)

"""One table's coarse plane in a GPU's memory: copied row by row as the table changes, and scanned there."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaitstream.engines.device import Arena, Device
from gaitstream.errors import EngineError
from gaitstream.gallery.quantise import Floats, Layout, Probes
from gaitstream.gallery.scan import coarse_distances, coarse_record
from gaitstream.gallery.table import CAPACITY, TemplateTable
from gaitstream.kernels.arguments import SCAN_BLOCK_ROWS
from gaitstream.kernels.host import Kernels
from gaitstream.kernels.scan import SCAN_FORMS, DeviceScan, ScanProbes

log = logging.getLogger(__name__)

WORTH = 4096
"""Templates from which on the device is asked: the CPU compares fewer in about a millisecond."""
LATE = 1024
"""Rows not on the device yet that a search compares on the CPU; while there are more it does all there."""
STAGED = 512
"""Rows in a copy, 2 MB of 16 x 256; a search waits for one at most."""
AT_ONCE = SCAN_FORMS[-1]
"""Probes of one pass over the rows."""


class Room(NamedTuple):
    """Device memory for a number of rows; replaced as a whole when there are more.

    Attributes:
        blocks: records, `SCAN_BLOCK_ROWS` in each; those of before are kept.
        bounds: results of a pass, on the device.
        landed: the same in page-locked memory, a piece of float32 `[AT_ONCE * SCAN_BLOCK_ROWS]` for each
            block; those of before are kept.
    """

    blocks: tuple[Arena, ...]
    bounds: Arena
    landed: tuple[Floats, ...]

    @property
    def rows(self) -> int:
        """How many there is room for."""
        return len(self.blocks) * SCAN_BLOCK_ROWS


class TableMirror:
    """One table's coarse plane on a device.

    One thread searches, and one copies; both queue their work on one stream, so a scan sees every copy that
    was queued before it, and none in part.

    Args:
        table: what is mirrored.
        device: where.
        kernels: of the device.

    Raises:
        EngineError: the device has no room.
    """

    def __init__(self, table: TemplateTable, device: Device, kernels: Kernels) -> None:
        layout = table.layout
        self.table = table
        self._device, self._kernels = device, kernels
        self._stream, self._copied, self._found = device.stream(), device.event(), device.event()
        self._bytes = table.rows.view(np.uint8).reshape(CAPACITY, layout.record.itemsize)
        self._held: NDArray[np.uint32] = np.zeros(CAPACITY, np.uint32)
        """Version of each row that is on the device."""
        self._seen = 0
        self._room: Room | None = None
        self._staged = device.pinned(STAGED * layout.record.itemsize, "uint8").reshape(STAGED, -1)
        self._staged[...] = 0
        most = _packed(layout, AT_ONCE).itemsize
        self._asked = device.pinned(most, "uint8")
        self._probes = Arena(device, {"probes": ((most,), "uint8")})
        self.leaving = False

    @property
    def is_current(self) -> bool:
        """Whether the device has all that the table has."""
        return self._seen == self.table.changes

    def sync(self) -> None:
        """Copy what has changed; the copying thread's.

        Raises:
            EngineError: the device failed, or has no room.
        """
        changes, reserved = self.table.changes, self.table.reserved
        if changes == self._seen or (self._room is None and reserved < WORTH):
            return
        room = self._room_for(reserved)
        versions = self.table.versions[:reserved].copy()  # before the rows: what changes later is seen again
        changed = np.flatnonzero(versions != self._held[:reserved])
        for start in range(0, len(changed), STAGED):
            if self.leaving:
                return
            places = changed[start : start + STAGED]
            np.take(self._bytes, places, axis=0, out=self._staged[: len(places)], mode="clip")
            self._copy(room, places)
            self._held[places] = versions[places]
        self._seen = changes

    def distances(self, count: int, probes: Probes) -> Floats | None:
        """Coarse distance less the slack of probes to the first rows; the searching thread's.

        Args:
            count: of rows.
            probes: `[k]`.

        Returns:
            float32 `[k, count]`; None while too few rows are on the device.

        Raises:
            EngineError: the device failed.
            KernelError: the driver refuses.
        """
        late = np.flatnonzero(self.table.versions[:count] != self._held[:count])
        room = self._room  # read last: it has every row that is held
        if room is None or len(late) > LATE:
            return None
        out = np.empty((len(probes.slack), count), np.float32)
        there = min(count, room.rows)
        for start in range(0, len(out), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            out[some, :there] = self._scan(room, there, probes, some)
        if self._room is None:  # closed meanwhile, and its rows overwritten
            return None
        if len(late):
            out[:, late] = coarse_distances(self.table.layout, self.table.rows[late], probes)
        return out

    def close(self) -> None:
        """Overwrite the templates on the device, and give its memory back; the copying thread's."""
        room, self._room = self._room, None
        if room is None:
            return
        try:
            for start in range(0, room.rows, STAGED):
                self._copy(room, np.arange(start, start + STAGED))
        except EngineError as error:
            log.warning("templates in the memory of %s are not overwritten: %s", self._device.name, error)

    def _scan(self, room: Room, rows: int, probes: Probes, some: slice) -> Floats:
        """One pass: up to 16 probes, float32 `[k, rows]`."""
        layout, device = self.table.layout, self._device
        count = len(probes.slack[some])
        packed = _packed(layout, count)
        asked = self._asked[: packed.itemsize]
        record = asked.view(packed)
        for name in packed.names or ():
            record[name] = getattr(probes, name)[some]
        target = self._probes.take("probes", len(asked)).pointer
        addresses = {name: target + at for name, (_, at, *_) in (packed.fields or {}).items()}
        bounds = room.bounds.take("bounds", count * rows).pointer
        blocks = [block.take("rows", 1).pointer for block in room.blocks]
        found = np.empty(count * rows, np.float32)
        pieces = [
            (start, piece[: len(found) - start])
            for start, piece in zip(
                range(0, len(found), AT_ONCE * SCAN_BLOCK_ROWS), room.landed, strict=False
            )
        ]
        job = DeviceScan(coarse_record(layout), blocks, rows, ScanProbes(count, **addresses), bounds)
        with device.active():
            device.upload(target, asked, self._stream)
            self._kernels.scan(job, stream=self._stream.handle)
            for start, piece in pieces:
                device.download(piece, bounds + 4 * start, self._stream)
            self._stream.record(self._found)
        self._found.synchronize()
        for start, piece in pieces:
            found[start : start + len(piece)] = piece
        return found.reshape(count, rows)

    def _copy(self, room: Room, places: NDArray[np.int64]) -> None:
        """Copy the staged rows to their places; afterwards they are zeros again."""
        last = np.flatnonzero((np.diff(places) != 1) | (places[1:] % SCAN_BLOCK_ROWS == 0))
        with self._device.active():
            for run in np.split(np.arange(len(places)), last + 1):
                block, row = divmod(int(places[run[0]]), SCAN_BLOCK_ROWS)
                target = room.blocks[block].take("rows", 1).pointer + row * self._staged.shape[1]
                self._device.upload(target, self._staged[run[0] : run[-1] + 1], self._stream)
            self._stream.record(self._copied)
        self._copied.synchronize()
        self._staged[: len(places)] = 0

    def _room_for(self, rows: int) -> Room:
        """Room for so many rows; what is there stays where it is."""
        room = self._room
        if room is not None and rows <= room.rows:
            return room
        shape = (SCAN_BLOCK_ROWS, self._staged.shape[1])
        held, landed = (room.blocks, room.landed) if room is not None else ((), ())
        more, results = range(-(-rows // SCAN_BLOCK_ROWS) - len(held)), AT_ONCE * SCAN_BLOCK_ROWS
        blocks = (*held, *(Arena(self._device, {"rows": (shape, "uint8")}) for _ in more))
        bounds = Arena(self._device, {"bounds": ((results * len(blocks),), "float32")})
        landed = (*landed, *(self._device.pinned(results, "float32") for _ in more))
        self._room = Room(blocks, bounds, landed)
        return self._room


def _packed(layout: Layout, count: int) -> np.dtype[np.void]:
    """Probes as they are copied to the device."""
    digits, numbers = (count, layout.parts, layout.width), (count, layout.parts)
    return np.dtype(
        [
            ("high", np.int8, digits),
            ("low", np.int8, digits),
            ("scale", np.float32, numbers),
            ("norm", np.float32, numbers),
        ]
    )

"""The coarse planes of a gallery in a GPU's memory: the scan reads them there, at the GPU's bandwidth.

A thread of its own copies what was added or erased, and nothing else; what is erased on the host is
overwritten on the device. A search waits for no copy: the few rows that are not on the device yet are
compared on the CPU, and so is everything while they are many, the gallery is small, or the device has no
room. Only lower bounds come back: shortlist and exact distances are made on the CPU, so decisions are equal.
"""

from __future__ import annotations

import logging
import threading
from typing import Self

from gaitstream.engines.device import Device
from gaitstream.errors import EngineError, KernelError, MissingExtraError
from gaitstream.gallery.quantise import Floats, Probes
from gaitstream.gallery.scan import coarse_distances
from gaitstream.gallery.table import TemplateTable
from gaitstream.gallery.table_mirror import WORTH, TableMirror

log = logging.getLogger(__name__)

PAUSE_S = 0.1
"""Between looks at what has changed."""


class GalleryMirror:
    """The tables of a gallery on a device; a model's first search begins its mirror.

    After a failure everything is compared on the CPU, which is said once.

    Args:
        device: where.

    Attributes:
        has_failed: whether everything is compared on the CPU by now.

    Raises:
        KernelError: the device's kernels cannot be compiled or loaded.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._kernels = device.kernels()
        self._mirrors: dict[str, TableMirror] = {}
        self._leaving: list[TableMirror] = []
        self.has_failed = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="gallery mirror", daemon=True)
        self._thread.start()

    @classmethod
    def where_possible(cls, device: Device | None) -> Self | None:
        """One on a device that has our kernels; None, and why in the log, when there is none."""
        if device is None:
            return None
        try:
            return cls(device)
        except (EngineError, KernelError, MissingExtraError) as error:
            log.warning("the gallery is scanned on the CPU, not on %s: %s", device.name, error)
            return None

    def coarse(self, model: str, table: TemplateTable, count: int, probes: Probes) -> Floats:
        """Coarse distances to a table's first rows; see `gaitstream.gallery.scan.coarse_distances`."""
        found = None
        if not self.has_failed and count >= WORTH:
            try:
                found = self._mirror(model, table).distances(count, probes)
            except (EngineError, KernelError) as error:
                self._fail(str(error))
        return coarse_distances(table.layout, table.rows[:count], probes) if found is None else found

    def is_current(self, model: str) -> bool:
        """Whether the device has all templates of a model."""
        mirror = self._mirrors.get(model)
        return mirror is not None and mirror.is_current

    def close(self) -> None:
        """Let go of the device."""
        self._stop.set()
        self._thread.join()

    def _mirror(self, model: str, table: TemplateTable) -> TableMirror:
        mirror = self._mirrors.get(model)
        if mirror is None or mirror.table is not table:
            if mirror is not None:  # the gallery was replaced
                mirror.leaving = True
                self._leaving.append(mirror)
            mirror = self._mirrors[model] = TableMirror(table, self._device, self._kernels)
        return mirror

    def _follow(self) -> None:
        while not self._stop.wait(PAUSE_S) and not self.has_failed:
            try:
                for mirror in list(self._mirrors.values()):
                    mirror.sync()
            except EngineError as error:
                self._fail(str(error))
            while self._leaving:
                self._leaving.pop().close()
        for mirror in (*self._leaving, *self._mirrors.values()):
            mirror.close()
        self._mirrors.clear()

    def _fail(self, reason: str) -> None:
        if not self.has_failed:
            self.has_failed = True
            log.warning(
                "the gallery is scanned on the CPU from now on, not on %s: %s", self._device.name, reason
            )

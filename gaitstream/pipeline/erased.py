"""People who were erased while no run was up: at the start their names leave the run's journal.

A file in the journal's folder has the number of the last line of the gallery's audit log that was looked at.
It is written once the publisher has taken over whom to erase, which it goes on with over restarts.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import msgspec

from gaitstream.config.gallery_section import GallerySection
from gaitstream.errors import EventError, GaitstreamError, MissingGalleryError
from gaitstream.events import GalleryChanged
from gaitstream.events.durable import replace_file
from gaitstream.events.publishing import Publishing
from gaitstream.gallery import Gallery
from gaitstream.gallery.audit import count_audit
from gaitstream.gallery.lineage import erased_since

log = logging.getLogger(__name__)
LOOKED_AT = "erased.json"
MOST_TOLD = 1000
"""Ids in one event."""
_LINES = msgspec.json.Decoder(dict[str, int])


def forget_erased(section: GallerySection, publisher: Publishing) -> None:
    """Tell who was erased since the journal's last run, and take their names out of it in a thread.

    Args:
        section: where the gallery is; nothing is done where there is none, or it cannot be opened now.
        publisher: of the run.
    """
    if section.where is None:
        return
    file = publisher.journal.directory / LOOKED_AT
    try:
        with Gallery(section.where, key=section.key) as gallery:
            with gallery.store.reading() as reading:
                end, lines = count_audit(reading, gallery.sealer), _read(file)
                after = lines.get(gallery.id, 0)
                # An older copy of the gallery may have been put back.
                gone = erased_since(gallery, reading, after if after <= end else 0, visitors=False)
                lines[gallery.id] = end
            people = len(gallery.persons()) if gone else 0
    except MissingGalleryError:
        return
    except GaitstreamError as error:
        log.warning("whether somebody was erased meanwhile is looked at when the run starts again: %s", error)
        return
    if gone:
        publisher.forget(gone)
        _tell(publisher, people, sorted(gone))
    _write(file, lines)


def _tell(publisher: Publishing, people: int, removed: list[str]) -> None:
    try:
        for at in range(0, len(removed), MOST_TOLD):
            some = tuple(removed[at : at + MOST_TOLD])
            publisher.publish(GalleryChanged(time_ns=time.time_ns(), people=people, removed=some))
    except EventError as error:
        log.error("that %d people were erased meanwhile is not told: %s", len(removed), error)


def _read(file: Path) -> dict[str, int]:
    try:
        return _LINES.decode(file.read_bytes())
    except (OSError, ValueError):
        return {}


def _write(file: Path, lines: dict[str, int]) -> None:
    try:
        replace_file(file, msgspec.json.encode(lines))
    except OSError as error:  # the journal is searched again at the next start
        log.warning("%s cannot be written (%s)", file, error.strerror)

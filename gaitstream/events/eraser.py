"""Erases the names of people who left the gallery from a journal, beside everything else, until it is done.

What is to be erased is in a file of the journal's folder, with ids alone, from before erasing begins until it
is done: a process that is killed leaves it to the next one, and what failed is tried again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec

from gaitstream.errors import EventError
from gaitstream.events.durable import replace_file, sync_folder
from gaitstream.events.erasing import Stop, StoppedError, erase
from gaitstream.events.journal import Journal

log = logging.getLogger(__name__)

PENDING = "erase.pending"
RETRY_S = 60.0
CLOSE_S = 5.0
"""How long closing waits for what can be erased now; the next start goes on with the rest."""


class Eraser:
    """Begins at once with what an earlier process left.

    Args:
        journal: opened for writing; to be closed after this.

    Attributes:
        gone: ids of who left the gallery: no new event is to have their names. Look at it and change it with
            the journal's guard held.
    """

    def __init__(self, journal: Journal) -> None:
        self.gone: set[str] = set()
        self._journal = journal
        self._path = journal.directory / PENDING
        self._pending = dict.fromkeys(_read(self._path), journal.head)
        self._kept = set(self._pending)
        self._changed = threading.Condition()
        self._due = bool(self._pending)
        self._stop = Stop()
        self._stopping = False
        self._thread: threading.Thread | None = None
        if self._pending:
            self._start()

    def remove(self, persons: Iterable[str]) -> None:
        """People left the gallery: no event gets their names from here on, and a restart knows of it."""
        with self._changed:
            new = set(persons) - self.gone
            if not new or self._stopping:
                return
            with self._journal.guard:
                self.gone |= new
                last = self._journal.head  # what follows has no names of them
            self._pending.update(dict.fromkeys(new, last))
            self._keep()
            self._due = True
            self._start()
            self._changed.notify()

    def restore(self, persons: Iterable[str]) -> None:
        """People are in the gallery again: events may have their names from here on."""
        with self._journal.guard:
            self.gone.difference_update(persons)

    def close(self) -> None:
        """Wait for what can be erased now, for a while; the rest is left to the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_S)
            self._stop.now = True
            self._thread.join()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="gaitstream-erase", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._due and not self._stopping:
                    told = self._changed.wait(RETRY_S if self._pending else None)
                    self._due = self._due if told else bool(self._pending)
                if not self._due:
                    if self._stopping:
                        return
                    continue
                self._due = False
                work = dict(self._pending)
                self._keep()
            self._erase(work)

    def _erase(self, work: dict[str, int]) -> None:
        try:
            count = erase(self._journal, work, self._stop)
        except StoppedError:
            return
        except EventError as error:
            log.error(
                "names of %d people who left the gallery could not be erased: %s; tried again every %.0f s",
                len(work), error, RETRY_S,
            )  # fmt: skip
            return
        except Exception:
            log.exception("names of %d people who left the gallery could not be erased", len(work))
            return
        with self._changed:
            self._pending = {one: last for one, last in self._pending.items() if work.get(one) != last}
            self._keep()
        log.info("names of %d people who left the gallery were erased from %d events", len(work), count)

    def _keep(self) -> None:
        """Bring the file up to date; where there is no room for it, the next try does."""
        if self._kept == set(self._pending):
            return
        try:
            _write(self._path, self._pending)
            self._kept = set(self._pending)
        except OSError as error:
            log.error(
                "%s cannot be written (%s): whom to erase is not known after a restart", self._path, error
            )


def _read(path: Path) -> list[str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[str])
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        log.error("%s cannot be read (%s): names of people who left the gallery may stay", path, error)
        return []


def _write(path: Path, persons: Iterable[str]) -> None:
    """Put ids into the file, whole or not at all; without ids there is no file."""
    if ids := sorted(persons):
        replace_file(path, msgspec.json.encode(ids))
    else:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)

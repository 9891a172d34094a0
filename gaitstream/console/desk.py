"""The gallery as the console uses it: one thread that has it open, and the names of everybody at hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from gaitstream.console.refusals import NotFoundError
from gaitstream.errors import GalleryError, MissingGalleryError
from gaitstream.gallery import Gallery
from gaitstream.gallery.audit import acting, note
from gaitstream.gallery.base import Mark, Reading
from gaitstream.gallery.merged import read_merged, survivor
from gaitstream.gallery.records import PersonRecord

T = TypeVar("T")
FRESH_S = 0.5
"""Names are this old at most."""


class GalleryDesk:
    """Runs work on the gallery, one piece at a time, in the name of an actor; called from any thread.

    Args:
        where: the gallery's file or URL; None where there is none.
        key: where its key comes from, as `gallery.key` in cams.yaml.
    """

    def __init__(self, where: str | Path | None, key: str | None = None) -> None:
        self._where = where
        self._key = key
        self._gallery: Gallery | None = None
        self._thread = ThreadPoolExecutor(1, "gaitstream-console-gallery")
        self._names = _Names()
        self._looking = threading.Lock()

    @property
    def configured(self) -> bool:
        """Whether the console was told of a gallery."""
        return self._where is not None

    def call(self, actor: str, work: Callable[[Gallery], T]) -> T:
        """The result of a piece of work.

        Args:
            actor: who the audit log names.
            work: gets the gallery and may use it until it returns.

        Raises:
            NotFoundError: there is no gallery.
            GalleryError: it cannot be opened, or the work failed.
        """
        try:
            return self._thread.submit(self._run, actor, work).result()
        finally:
            self._names.expire()  # what was just changed is shown at once

    def people(self) -> Mapping[str, PersonRecord]:
        """Everybody's record by uid, as of `FRESH_S` ago at most; as before where the gallery is away."""
        if (
            self.configured
            and self._names.is_old()
            and self._looking.acquire(blocking=not self._names.read_s)
        ):
            try:
                self._thread.submit(self._run, "console", self._names.refresh).result()
            except (GalleryError, NotFoundError) as error:
                self._names.missed(str(error))
            finally:
                self._looking.release()
        return self._names.records

    @property
    def changes(self) -> int:
        """How often names were others than before, as of `FRESH_S` ago at most."""
        self.people()
        return self._names.changes

    def name(self, uid: str) -> str:
        """The name of a uid, or of whom its person was merged into; empty when nobody has it any more."""
        people = self.people()
        record = people.get(uid) or people.get(survivor(self._names.merged, uid))
        return record.name if record else ""

    def merged(self) -> dict[str, str]:
        """Uids of those who were merged, each with whom they are part of and who is there."""
        people = self.people()
        found = {gone: survivor(self._names.merged, gone) for gone in self._names.merged}
        return {gone: kept for gone, kept in found.items() if kept in people and gone not in people}

    def note(self, actor: str, action: str, *, person: str = "", count: int = 0, detail: str = "") -> None:
        """Add a line to the audit log; fields as in `gaitstream.gallery.audit.AuditLine`.

        Raises:
            NotFoundError: there is no gallery.
            GalleryError: it cannot be written.
        """

        def work(gallery: Gallery) -> None:
            with gallery.writing() as writing:
                note(writing, gallery.sealer, action, person=person, count=count, detail=detail)

        self.call(actor, work)

    def available(self) -> bool:
        """Whether there is a gallery and it can be read."""
        return not self.problem()

    def problem(self) -> str:
        """What keeps the gallery from being read, in words; empty when nothing does."""
        if not self.configured:
            return "this console has no gallery"
        self.people()
        return self._names.problem

    def close(self) -> None:
        """Let go of the gallery."""
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    def _run(self, actor: str, work: Callable[[Gallery], T]) -> T:
        with acting(actor):
            return work(self._open())

    def _open(self) -> Gallery:
        if self._gallery is not None and not self._gallery.is_still_there():
            self._close()
        if self._gallery is None:
            if self._where is None:
                raise NotFoundError("this console has no gallery; start it with --gallery or --cameras")
            try:
                self._gallery = Gallery(self._where, key=self._key)
            except MissingGalleryError as error:
                raise NotFoundError(f"{error}") from error
        return self._gallery

    def _close(self) -> None:
        if self._gallery is not None:
            self._gallery.close()
            self._gallery = None


class _Names:
    """Everybody's record, read again when the gallery has changed."""

    def __init__(self) -> None:
        self.records: Mapping[str, PersonRecord] = {}
        self.merged: Mapping[str, str] = {}
        self.problem = ""
        self.read_s = 0.0
        self.changes = 0
        self._mark: Mark | None = None

    def is_old(self) -> bool:
        return time.monotonic() - self.read_s > FRESH_S

    def expire(self) -> None:
        """Look again at the next occasion."""
        self.read_s = 0.0

    def missed(self, problem: str) -> None:
        self.read_s, self.problem = time.monotonic(), problem

    def refresh(self, gallery: Gallery) -> None:
        with gallery.store.reading() as reading:
            mark = reading.mark()
            if mark != self._mark:
                changed = reading.changes(self._mark) if self._mark is not None else None
                self.records = (
                    gallery.vault.records(reading)
                    if changed is None
                    else self._with(gallery, reading, changed)
                )
                self.merged = read_merged(reading)
                self._mark = mark
                self.changes += 1
        self.read_s, self.problem = time.monotonic(), ""

    def _with(self, gallery: Gallery, reading: Reading, changed: Iterable[str]) -> Mapping[str, PersonRecord]:
        """The records with those read again that were changed, of whoever is still there."""
        records = dict(self.records)
        for uid in changed:
            row = reading.person(uid)
            if row is None:
                records.pop(uid, None)
            else:
                records[uid] = gallery.vault.record(row)
        return records

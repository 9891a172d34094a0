"""Keeps a gallery in memory and follows its store: what was added is appended, what is gone is erased.

One keeper serves all processes of a machine (`gaitstream.gallery.people.People` reads what it keeps). Its
thread waits for the store, not the pipeline: a store that is away is told as a problem, what is known goes
on to be matched against, and all that was missed is caught up with when it is back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

from gaitstream.errors import GalleryError, MissingGalleryError
from gaitstream.gallery import audit
from gaitstream.gallery.base import Mark, Reading, TemplateRow
from gaitstream.gallery.checksum import Damage
from gaitstream.gallery.feed import FeedWriter, LimitsLine, ModelLine, PersonLine, StateLine
from gaitstream.gallery.gallery import Gallery
from gaitstream.gallery.merged import parts_of, read_merged, survivor
from gaitstream.gallery.people import People
from gaitstream.gallery.quantise import Layout
from gaitstream.gallery.records import PersonRecord
from gaitstream.gallery.retention import ClockWatch, RetentionRules, sweep
from gaitstream.gallery.site import kept_calibration
from gaitstream.gallery.table import TemplateTable
from gaitstream.gallery.upstream import read_upstream
from gaitstream.gallery.vault import Template

log = logging.getLogger(__name__)
WAIT_S = 0.5
"""Longest sleep between looks at the store; most stores wake the thread before."""
RETRY_S = 1.0
CLOSE_S = 5.0
"""How long, beyond a look that is due, the end waits for a store that does not answer."""
SWEEP_S = 60.0
"""Between looks at what is past its time."""
USE_STARTED, USE_ENDED = "use.started", "use.ended"
_BATCH = 256
"""Templates opened and added at a time."""


class Keeper:
    """A gallery in memory.

    Args:
        where: the gallery's file or URL.
        models: names of those that will ask; None for all.
        rules: what is erased in time, looked at once a minute; None erases nothing.
        key: where the gallery's key comes from; see `gaitstream.gallery.keys`.
        holds: whether somebody, by uid, is kept here; None keeps everybody.

    Attributes:
        feed: what it tells.
        tables: of the models the gallery has, by name.
        merged: who was ever merged into whom, by uid; see `read_merged`.

    A gallery that is not there yet is looked for until it is.

    Raises:
        GalleryError: it cannot be opened, or a template is damaged.
    """

    def __init__(
        self,
        where: str | Path,
        models: Iterable[str] | None = None,
        key: str | None = None,
        rules: RetentionRules | None = None,
        holds: Callable[[str], bool] | None = None,
    ) -> None:
        self._holds = holds or (lambda _: True)
        self.feed = FeedWriter()
        self.tables: dict[str, TemplateTable] = {}
        self.merged: Mapping[str, str] = {}
        self._where, self._key = where, key
        self._models = None if models is None else frozenset(models)
        self._told_models: dict[str, ModelLine] = {}
        self._mark: Mark | None = None
        self._persons: dict[str, _Kept] = {}
        self._next = 0
        self._limits: dict[str, LimitsLine] = {}
        self._problem = ""
        self._rules = rules
        self._sweep_s = 0.0
        self._clock = ClockWatch()
        self._in_use = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._gallery: Gallery | None = None
        try:
            self.sync()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Follow the store in a thread of its own, and record that the gallery is in use."""
        try:
            self.note_use(USE_STARTED)
        except GalleryError as error:  # it is tried again
            log.error("the use of the gallery is not recorded yet: %s", error)
        self._thread = threading.Thread(target=self._follow, name="gallery", daemon=True)
        self._thread.start()

    def adjust(self, rules: RetentionRules | None) -> None:
        """Erase by these rules from now on; from any thread."""
        self._rules, self._sweep_s = rules, 0.0

    def people(self) -> People:
        """The gallery as this process sees it."""
        people = People(self.feed.reader())
        people.poll()
        return people

    def sync(self) -> bool:
        """Take over what has changed; True when anything has.

        Raises:
            GalleryError: the store is away, or what it has cannot be used.
        """
        gallery = self._open()
        if gallery is None:
            return False
        with gallery.store.reading() as reading:
            mark = reading.mark()
            if not gallery.is_current(reading):  # another one is in its place, or it has another key
                self._gallery, self._mark = None, None
                gallery.close()
                return self.sync()
            if mark == self._mark:
                return False
            known = self._tell_models(reading)
            changed = reading.changes(self._mark) if known and self._mark is not None else None
            copy = _Copy(gallery, reading, self._models)
            self.merged = copy.merged  # before anybody is told of who is gone
            if changed is None:
                self._take_all(copy)
            else:
                for uid in changed:
                    self._take(copy, uid)
            self._tell_limits(copy)
            self._mark = mark
        return True

    def note_use(self, action: str) -> None:
        """Record in the gallery's log that a period of use began or ended: Article 12(3) of the AI Act."""
        if self._gallery is None or self._in_use is (action == USE_STARTED):
            return
        with self._gallery.writing() as writing:
            mark = writing.mark()
            detail = f"gallery {self._gallery.id} at change {mark.sequence}"
            audit.note(writing, self._gallery.sealer, action, detail=detail)
        self._in_use = action == USE_STARTED

    def close(self) -> None:
        """Stop following, and let go of the store; what is in memory stays for those who have it open."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(WAIT_S + RETRY_S + CLOSE_S)
            if self._thread.is_alive():  # and has the store to itself until it answers
                log.error("the gallery's store does not answer; the end of the use is not recorded")
                return
        if self._gallery is not None:
            try:
                if self._in_use:
                    self.note_use(USE_ENDED)
            except GalleryError as error:
                log.error("the end of the use is not recorded: %s", error)
            self._gallery.close()

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Gallery | None:
        if self._gallery is None:
            with suppress(MissingGalleryError):
                self._gallery = Gallery(self._where, key=self._key)
        return self._gallery

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                if self._gallery is None:
                    self._stop.wait(WAIT_S)
                else:
                    self._gallery.store.wait(WAIT_S)
                if not self._stop.is_set():
                    self.sync()
                    self._attend()
                self._tell_problem("")
            except GalleryError as error:  # what is known goes on
                self._tell_problem(str(error))
                self._stop.wait(RETRY_S)
            except Exception as error:  # without this thread nobody who is erased would be forgotten here
                if self._tell_problem(f"{type(error).__name__}: {error}"):
                    log.exception("the gallery cannot be followed now; it is tried again")
                self._mark = None  # everything is read again
                self._stop.wait(RETRY_S)

    def _attend(self) -> None:
        """Record the use of a gallery that has just appeared, and erase what is past its time."""
        if self._gallery is None:
            return
        self.note_use(USE_STARTED)
        now_s = time.monotonic()
        trusted = self._clock.trusted()
        if self._rules is not None and now_s >= self._sweep_s and trusted:
            self._sweep_s = now_s + SWEEP_S
            done = sweep(self._gallery, self._rules, time.time_ns())
            if done:
                log.info("retention erased %d people and %d pictures", len(done.persons), done.pictures)

    def _tell_problem(self, problem: str) -> bool:
        """Tell of one, or that there is none any more; whether that is news."""
        if problem == self._problem:
            return False
        self._problem = problem
        self.feed.tell(StateLine(problem))
        return True

    def _tell_models(self, reading: Reading) -> bool:
        """Tell which models there are; False when one was filled by another bundle than before."""
        same = True
        for row in reading.models():
            before = self._told_models.get(row.name)
            now = ModelLine(row.name, row.fingerprint, upstream=tuple(read_upstream(reading, row.name)))
            if before == now:
                continue
            if before is not None and before.fingerprint != now.fingerprint:  # the gallery was replaced
                same = False
                self._empty(row.name)
            self._told_models[row.name] = now
            self._tell_model(row.name)
        return same

    def _tell_model(self, model: str) -> None:
        table = self.tables.get(model)
        line = self._told_models[model]
        self.feed.tell(msgspec.structs.replace(line, table=table.handle if table else None))

    def _empty(self, model: str) -> None:
        for kept in self._persons.values():
            for number in [number for number, (kind, _) in kept.places.items() if kind == model]:
                self.tables[model].drop([kept.places.pop(number)[1]])
                kept.checksums.pop(number, None)
        self.tables.pop(model, None)

    def _take_all(self, copy: _Copy) -> None:
        """Bring memory to what the store has, whatever happened between."""
        everybody = copy.gallery.vault.records(copy.reading)
        records = {uid: record for uid, record in everybody.items() if self._holds(uid)}
        wanted: dict[str, set[int]] = {uid: set() for uid in records}
        self._add(copy, copy.reading.templates(), wanted)
        for uid in [uid for uid in self._persons if uid not in records]:
            self._keep_only(uid, set())
            self._tell_person(copy, uid, None)
        for uid, record in records.items():
            self._keep_only(uid, wanted[uid])
            self._tell_person(copy, uid, record)

    def _take(self, copy: _Copy, uid: str) -> None:
        """Bring one person to what the store has of them."""
        if not self._holds(uid):
            return
        row = copy.reading.person(uid)
        wanted: dict[str, set[int]] = {uid: set()}
        if row is not None:
            self._add(copy, copy.reading.templates(person=uid), wanted)
        elif uid not in self._persons:
            return
        self._keep_only(uid, wanted[uid])
        self._tell_person(copy, uid, copy.gallery.vault.record(row) if row is not None else None)

    def _add(self, copy: _Copy, rows: Iterator[TemplateRow], wanted: Mapping[str, set[int]]) -> None:
        """Add the templates that are not in memory yet; `wanted` takes the numbers of all."""
        batches: dict[str, list[tuple[Template, int]]] = {}
        for row in rows:
            if not copy.asked(row.model) or not self._holds(row.person):
                continue
            wanted[row.person].add(row.number)
            if self._person(row.person).checksums.get(row.number) == row.checksum:
                continue
            batch = batches.setdefault(row.model, [])
            batch.append((copy.open(row), row.checksum))
            if len(batch) >= _BATCH:
                self._flush(copy, row.model, batches.pop(row.model))
        for model, batch in batches.items():
            self._flush(copy, model, batch)

    def _flush(self, copy: _Copy, model: str, batch: Sequence[tuple[Template, int]]) -> None:
        row = copy.models[model]
        table = self.tables.get(model)
        if table is None:
            table = self.tables[model] = TemplateTable.create(Layout(row.parts, row.dim))
            self._tell_model(model)
        templates = [template for template, _ in batch]
        owners = [self._person(template.person).index for template in templates]
        parts = np.stack([template.parts for template in templates])
        places = table.add([template.number for template in templates], owners, parts)
        for (template, checksum), place in zip(batch, places, strict=True):
            kept = self._person(template.person)
            before = kept.places.pop(template.number, None)
            if before is not None:  # the template of this number is another now
                self.tables[before[0]].drop([before[1]])
            kept.places[template.number] = (model, place)
            kept.checksums[template.number] = checksum

    def _keep_only(self, uid: str, wanted: set[int]) -> None:
        kept = self._person(uid)
        for number in [number for number in kept.places if number not in wanted]:
            model, place = kept.places.pop(number)
            kept.checksums.pop(number, None)
            self.tables[model].drop([place])

    def _tell_person(self, copy: _Copy, uid: str, record: PersonRecord | None) -> None:
        """Tell of somebody; of a visitor only while there are templates to compare with."""
        kept = self._person(uid)
        models = tuple(sorted({model for model, _ in kept.places.values()}))
        if record is not None and record.visitor and not models:
            record = None
        if record is not None:
            self.feed.tell(PersonLine(kept.index, uid, record.name, models, record.visitor))
            kept.told = True
            return
        if kept.told:
            self.feed.tell(copy.gone(kept.index, uid))
        del self._persons[uid]

    def _person(self, uid: str) -> _Kept:
        kept = self._persons.get(uid)
        if kept is None:
            kept = self._persons[uid] = _Kept(self._next)
            self._next += 1
        return kept

    def _tell_limits(self, copy: _Copy) -> None:
        for row in copy.models.values():
            found = copy.gallery.vault.calibration(row)
            if found is None and copy.asked(row.name):
                found = copy.gallery.tuner.peek(copy.reading, row, copy.gallery.url)
            limits = (found.threshold, found.margin) if found else (None, None)
            site = kept_calibration(copy.gallery, copy.reading, row.name)
            if site is None:
                line = LimitsLine(row.name, *limits)
            else:
                cameras = {camera: one.threshold for camera, one in site.cameras.items()}
                line = LimitsLine(row.name, site.threshold, limits[1] or 0.0, cameras)
            if self._limits.get(row.name) != line:
                self._limits[row.name] = line
                self.feed.tell(line)


class _Kept:
    """What is in memory of one person: where each template is, and its checksum, by number.

    `told` says whether those who read the feed know of them.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.told = False
        self.places: dict[int, tuple[str, int]] = {}
        self.checksums: dict[int, int] = {}


class _Copy:
    """The gallery as it is in one transaction."""

    def __init__(self, gallery: Gallery, reading: Reading, models: frozenset[str] | None) -> None:
        self.gallery = gallery
        self.reading = reading
        self.models = {row.name: row for row in reading.models()}
        self.merged = read_merged(reading)
        self._asked = models

    def gone(self, index: int, uid: str) -> PersonLine:
        """The line of somebody who is not there any more."""
        into = survivor(self.merged, uid)
        there = into != uid and self.reading.person(into) is not None
        parts = () if there else tuple(sorted(parts_of(self.merged, uid)))
        return PersonLine(index, uid, None, into=into if there else "", parts=parts)

    def asked(self, model: str) -> bool:
        """Whether anybody will ask for a model."""
        return self._asked is None or model in self._asked

    def open(self, row: TemplateRow) -> Template:
        """A template.

        Raises:
            GalleryError: it is damaged.
        """
        opened = self.gallery.vault.template(row, self.models[row.model])
        if isinstance(opened, Damage):
            self.gallery.tuner.complain(self.reading, opened, self.gallery.url)
        return opened

"""The gallery: people and their templates, bound to the models they came from, in whatever store.

Names are checked and folded, rows sealed and opened, thresholds kept up to date and everything noted in the
audit log here; what a store does is `gaitstream.gallery.base`, and matching is `gaitstream.gallery.matching`.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import GalleryError
from gaitstream.gallery import audit
from gaitstream.gallery.base import Mark, ModelRow, PictureRow, Reading, Store, Writing
from gaitstream.gallery.calibration import Calibration
from gaitstream.gallery.checksum import Damage
from gaitstream.gallery.matching import Matcher
from gaitstream.gallery.names import clean_name, fold_name
from gaitstream.gallery.opening import ID, LOCK, unlock
from gaitstream.gallery.records import VISITOR_NAME, PersonRecord, new_uid
from gaitstream.gallery.sealing import Sealer
from gaitstream.gallery.stores import open_store
from gaitstream.gallery.tally import TalliedWriting
from gaitstream.gallery.tuning import Tuner
from gaitstream.gallery.upstream import Upstream, note_upstream, read_upstream
from gaitstream.gallery.vault import Template, Vault

Floats = NDArray[np.float32]
LARGEST = 1e12
"""Of a template's values: the squares of far larger ones are no numbers in single precision."""
A_VISITOR = "a visitor"
"""Stands in the audit log where it was no person with a name who was erased."""


@dataclass(frozen=True)
class Enrolment:
    """Templates of one person to add.

    Attributes:
        person: the name that events will carry.
        model: name of the recognizer.
        fingerprint: of the bundle the templates came from.
        templates: float32 `[n, parts, dim]`, none of them 0.
        source: where they came from; free of credentials.
        pictures: JPEGs of the person, in the order of the templates, to be kept beside them.
        upstream: what found the joints and masks that the recognizer was given, of all that did.
    """

    person: str
    model: str
    fingerprint: str
    templates: Floats
    source: str = ""
    pictures: Sequence[bytes] = ()
    upstream: Sequence[Upstream] = ((),)


@dataclass(frozen=True)
class PersonEntry:
    """One line of the gallery's listing."""

    name: str
    created_ns: int
    """UTC nanoseconds of the first enrolment."""
    templates: dict[str, int]
    """How many, by model."""
    uid: str = ""
    """Names the person for ever and says nothing of them."""
    expires_ns: int | None = None
    """When the person is erased; None for never."""


class Gallery:
    """Persons and templates; use an instance from one thread.

    Args:
        where: the file, or the URL of a store, or a store.
        create: make it when missing.
        key: where the key comes from, see `gaitstream.gallery.keys`; None for `<file>.key`, made with a
            new gallery; `none` makes one that is not encrypted.

    Attributes:
        url: where it is, for messages; free of credentials.
        id: of the gallery, the same for ever and in all copies.
        encrypted: whether it can be read without a key.

    Raises:
        MissingGalleryError: there is no such gallery, and `create` is False.
        GalleryKeyError: the key is missing, or does not open it.
        GalleryError: it is no gallery of this version, or cannot be reached.
    """

    def __init__(self, where: str | Path | Store, *, create: bool = False, key: str | None = None) -> None:
        self.store = open_store(where, create=create) if isinstance(where, str | Path) else where
        self.url = self.store.url
        try:
            if isinstance(where, str | Path):
                self.id, sealer = unlock(self.store, where, key, create=create)
            else:
                self.id, sealer = unlock(self.store, self.url, key, create=True)
            with self.store.reading() as reading:
                identity = self.identify(reading)
        except BaseException:
            self.store.close()
            raise
        self.use_sealer(sealer, identity)

    def is_current(self, reading: Reading) -> bool:
        """Whether this is still the gallery that was opened, under the key it had then."""
        return self.identify(reading) == self._identity

    def is_still_there(self) -> bool:
        """`is_current` in a transaction of its own: False where it has to be opened again."""
        with self.store.reading() as reading:
            return self.is_current(reading)

    def identify(self, reading: Reading) -> tuple[bytes | None, bytes | None]:
        """Id and lock of the gallery that is in the store now."""
        return reading.setting(ID), reading.setting(LOCK)

    def use_sealer(self, sealer: Sealer, identity: tuple[bytes | None, bytes | None]) -> None:
        """Seal and open rows with this from now on; `identity` is the gallery's since then."""
        self._identity = identity
        self.sealer = sealer
        self.encrypted = sealer.encrypted
        self.vault = Vault(sealer)
        self.tuner = Tuner(self.vault)

    def enroll(
        self, person: str, model: str, fingerprint: str, templates: Floats, *, source: str = ""
    ) -> None:
        """Add templates of one person, made when new; see `Enrolment` and `enroll_many`."""
        self.enroll_many([Enrolment(person, model, fingerprint, templates, source)])

    def enroll_many(self, enrolments: Iterable[Enrolment]) -> int:
        """Add templates of any number of persons, and calibrate once; all or nothing.

        All are collected before the store is written to.

        Returns:
            How many templates were added.

        Raises:
            GalleryError: a model differs from the one that filled the gallery, or a name or shape is wrong.
        """
        given = list(enrolments)  # what makes them may look into this gallery
        now = time.time_ns()
        count = 0
        changed: dict[str, set[str]] = {}
        with self.writing() as writing:
            for enrolment in given:
                uid = self.add(writing, enrolment, now)
                count += len(enrolment.templates)
                changed.setdefault(enrolment.model, set()).add(uid)
            for model, uids in sorted(changed.items()):
                self.tuner.follow(writing, model, uids, self.url)
            for uid in {uid for uids in changed.values() for uid in uids}:
                writing.note_change(uid)
        return count

    def remove(self, person: str) -> int:
        """Erase a person with templates and pictures, and overwrite them in the store.

        Returns:
            How many templates were erased.

        Raises:
            GalleryError: nobody of that name is in the gallery.
        """
        with self.writing() as writing:
            uid, _ = self.person(writing, person)
            count = self.erase(writing, uid)
        self.store.purge()
        return count

    def erase(self, writing: Writing, uid: str, action: str = "erased") -> int:
        """Delete a person in a transaction; returns how many templates went with them."""
        count = writing.count(person=uid)
        row = writing.person(uid)
        detail = ""
        if row is not None:
            with suppress(GalleryError):  # damaged, which keeps nobody from being erased
                detail = _also_erased(uid, self.vault.record(row))
        writing.drop_person(uid)
        for model in writing.models():
            self.tuner.follow(writing, model.name, {uid}, self.url, leave_out_damaged=True)
        writing.note_change(uid)
        audit.note(writing, self.sealer, action, person=uid, count=count, detail=detail)
        return count

    def person(self, reading: Reading, name: str) -> tuple[str, PersonRecord]:
        """Uid and record of the person of a name, however it is written.

        Raises:
            GalleryError: nobody of that name is in the gallery; the message names the nearest, not everybody.
        """
        found = self.vault.find(reading, name)
        if found is not None:
            return found
        names = [record.name for record in self.vault.readable(reading).values()]
        folded = {known.casefold(): known for known in names}
        close = [folded[near] for near in difflib.get_close_matches(name.casefold(), folded, 1)]
        near = f"the nearest of {len(names)} is {close[0]!r}" if close else f"none of {len(names)} is near it"
        raise GalleryError(
            f"{name!r} is not in {self.url}; {near}, and 'gaitstream gallery list' shows who is there"
        )

    def persons(self) -> list[PersonEntry]:
        """Everybody who was named, by name; `gaitstream.gallery.visitors` has the others."""
        with self.store.reading() as reading:
            counts: dict[str, dict[str, int]] = {}
            for (uid, model), count in sorted(reading.counts().items()):
                counts.setdefault(uid, {})[model] = count
            records = self.vault.records(reading)
        entries = [
            PersonEntry(record.name, record.created_ns, counts.get(uid, {}), uid, record.expires_ns)
            for uid, record in records.items()
            if not record.visitor
        ]
        return sorted(entries, key=lambda entry: entry.name)

    def models(self) -> dict[str, str]:
        """Fingerprint by model."""
        with self.store.reading() as reading:
            return {model.name: model.fingerprint for model in reading.models()}

    def upstream(self, model: str) -> list[Upstream]:
        """What found the joints and masks of a model's templates; see `gaitstream.gallery.upstream`."""
        with self.store.reading() as reading:
            return read_upstream(reading, model)

    def matcher(self, model: str, fingerprint: str, *, nearest: int = 1) -> Matcher:
        """A snapshot of one model's templates, by name; empty when it has none.

        Args:
            model: name of the recognizer.
            fingerprint: of the bundle whose embeddings will be compared.
            nearest: how many of a person's nearest templates are averaged; 1 takes the best.

        Raises:
            GalleryError: the gallery was filled by another model, or a template is damaged.
        """
        with self.store.reading() as reading:
            row = find_model(reading, model)
            if row is None:
                return Matcher.build([], nearest)
            check_fingerprint(row.name, row.fingerprint, fingerprint, self.url)
            by_uid = self.tuner.gather(reading, row, self.url)
            records = self.vault.records(reading)
        named = sorted((records[uid].name, list(templates.values())) for uid, templates in by_uid.items())
        return Matcher.build([(name, np.stack(maps)) for name, maps in named], nearest)

    def damaged(self) -> list[Damage]:
        """The templates of all models whose bytes are not those that were enrolled."""
        with self.store.reading() as reading:
            records = self.vault.records(reading)
            return [
                self.tuner.named(template, records)
                for model in reading.models()
                for template in self.vault.templates(reading, model)
                if isinstance(template, Damage)
            ]

    def calibrate(self, model: str, target_fpir: float | None = None) -> Calibration | None:
        """Compute threshold and margin from the templates and keep them, in the place of a site's own.

        Args:
            model: name of the recognizer.
            target_fpir: the false positive identification rate to aim for, now and at all later changes;
                None for the usual rule.

        Raises:
            GalleryError: the gallery has none of the model, or too few people for the rate.
        """
        with self.writing() as writing:
            if find_model(writing, model) is None:
                raise GalleryError(f"{self.url} has no templates of {model!r}; enrol somebody first")
            found = self.tuner.aim(writing, model, target_fpir, self.url)
            writing.set(f"site/{model}", None)
            writing.note_change("")  # readers take the limits over with any change
            audit.note(writing, self.sealer, "calibrated", model=model, detail=str(target_fpir or "as usual"))
            return found

    def thresholds(self, model: str) -> tuple[float | None, float | None]:
        """The calibrated threshold and margin of a model; None where there is none."""
        kept = self.calibration(model)
        return (kept.threshold, kept.margin) if kept else (None, None)

    def calibration(self, model: str) -> Calibration | None:
        """Threshold and margin of a model with what they rest on, as of the last change; None without.

        A gallery of an older version gets them here.
        """
        with self.store.reading() as reading:
            row = find_model(reading, model)
            if row is None or row.calibration or not reading.count(model):
                return self.vault.calibration(row) if row else None
            return self.tuner.peek(reading, row, self.url)

    def mark(self) -> Mark:
        """The last change; differs when anybody has changed the gallery, or another one is in its place."""
        with self.store.reading() as reading:
            return reading.mark()

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """A transaction; what was learnt for it is forgotten when it fails.

        Raises:
            GalleryError: rows would be sealed with a key that opens nothing here any more.
        """
        with self.resealing() as writing:
            if not self.encrypted:
                yield writing
                return
            tallied = TalliedWriting(writing, self.sealer)
            yield cast(Writing, tallied)
            tallied.close()

    @contextmanager
    def resealing(self) -> Iterator[Writing]:
        """As `writing`, for whoever seals every row anew: the sum of the rows is left to them.

        Raises:
            GalleryError: as for `writing`.
        """
        try:
            with self.store.writing() as writing:
                if not self.is_current(writing):
                    raise GalleryError(
                        f"{self.url} has got another key since it was opened, or another gallery is in its "
                        "place: open it again"
                    )
                yield writing
        except BaseException:
            self.tuner.forget()
            raise

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, writing: Writing, enrolment: Enrolment, now_ns: int) -> str:
        """Add templates of one person in a transaction; whoever calls it calibrates. Returns the uid.

        Raises:
            GalleryError: the model differs from the one that filled the gallery, or a name or shape is wrong.
        """
        name = clean_name(enrolment.person)
        templates = np.asarray(enrolment.templates)
        numbers = templates.dtype.kind in "fiu" and templates.ndim == 3 and templates.size
        if not numbers or not (np.abs(templates) <= LARGEST).all():  # which NaN is not, either
            raise GalleryError(
                f"templates of {name!r} have shape {templates.shape} and type {templates.dtype}: finite "
                f"numbers up to {LARGEST:g} are needed, [n, parts, dim] with none of these 0"
            )
        if not enrolment.model or not enrolment.fingerprint:
            raise GalleryError(
                f"templates of {name!r} are of the model {enrolment.model!r} {enrolment.fingerprint!r}: give "
                "the recognizer's name and its fingerprint"
            )
        self._bind(writing, enrolment, templates.shape[1:])
        note_upstream(writing, enrolment.model, enrolment.upstream)
        found = self.vault.find(writing, name)
        check_free(name, found[1] if found else None)
        uid = found[0] if found else new_uid()
        if found is None:
            writing.put_person(self.vault.person_row(uid, PersonRecord(name, now_ns)))
        self.add_templates(writing, uid, enrolment.model, templates, enrolment.source, now_ns)
        pictures = (PictureRow(0, uid, now_ns, 0, data) for data in enrolment.pictures)
        writing.add_pictures(self.vault.picture_row(picture) for picture in pictures)
        audit.note(writing, self.sealer, "enrolled", person=uid, model=enrolment.model, count=len(templates))
        return uid

    def add_templates(
        self, writing: Writing, uid: str, model: str, templates: Floats, source: str, now_ns: int
    ) -> None:
        """Add rows of templates `[n, parts, dim]` of somebody who is there, and nothing else."""
        writing.add_templates(
            self.vault.template_row(Template(0, uid, model, now_ns, source, np.asarray(parts, np.float32)))
            for parts in templates
        )

    def _bind(self, writing: Writing, enrolment: Enrolment, shape: tuple[int, ...]) -> None:
        """Bind an empty model slot to a fingerprint and `[parts, dim]`, or check those that are bound."""
        row = find_model(writing, enrolment.model)
        if row is None:
            writing.put_model(ModelRow(enrolment.model, enrolment.fingerprint, shape[0], shape[1]))
            return
        check_fingerprint(row.name, row.fingerprint, enrolment.fingerprint, self.url)
        if shape != (row.parts, row.dim):
            raise GalleryError(
                f"templates of {row.name} {row.fingerprint[:12]} are [{row.parts}, {row.dim}] in {self.url}, "
                f"these are {list(shape)}: enrol with the bundle that filled it"
            )


def _also_erased(uid: str, record: PersonRecord) -> str:
    """What the log says of an erasure beside whose it is."""
    merged = " ".join(one for one in dict(record.merged) if one != uid)
    return " ".join(filter(None, (A_VISITOR if record.visitor else "", f"also {merged}" if merged else "")))


def find_model(reading: Reading, model: str) -> ModelRow | None:
    """The row of a model; None when the gallery has none of it."""
    return next((row for row in reading.models() if row.name == model), None)


def check_free(name: str, holder: PersonRecord | None) -> None:
    """See that a person may have a name.

    Raises:
        GalleryError: it is a visitor's, or could be one's.
    """
    if holder is not None and holder.visitor:
        raise GalleryError(
            f"{holder.name!r} is a visitor: name them with 'gaitstream gallery promote {holder.name} "
            "--person NAME'"
        )
    if VISITOR_NAME.fullmatch(fold_name(name)):
        raise GalleryError(f"{name!r} is what visitors are called; give another name")


def check_fingerprint(model: str, held: str, given: str, where: str) -> None:
    """See that embeddings of a bundle may be compared with a gallery's.

    Raises:
        GalleryError: the gallery was filled by another.
    """
    if given != held:
        raise GalleryError(
            f"{where} was filled by {model} {held[:12]}, this is {model} {given[:12]}: embeddings of "
            "different models cannot be compared; use that bundle again, or enrol into a new gallery"
        )


def name_of(records: Mapping[str, PersonRecord], uid: str) -> str:
    """A person's name; the uid where there is none."""
    return records[uid].name if uid in records else uid

"""The gallery on disk: persons and their templates, bound to the models they came from.

An SQLite file in WAL mode with mode 0600: a process that is killed at any moment leaves it readable, other
processes may read while one writes, and erased templates are overwritten (`secure_delete`).
"""

from __future__ import annotations

import functools
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import GalleryError
from gaitstream.gallery.calibration import Calibration, calibrate
from gaitstream.gallery.checksum import Damage, add_checksums, checksum, read_templates
from gaitstream.gallery.matching import Matcher

Floats = NDArray[np.float32]
Method = TypeVar("Method", bound=Callable[..., object])
APPLICATION_ID = 0x47414954  # "GAIT"
SCHEMA = 3
"""1 kept a threshold and a margin by the rule of thumb alone, 1 and 2 no checksums."""
_TABLES = """
CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_ns INTEGER NOT NULL);
CREATE TABLE model (
    name TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, parts INTEGER NOT NULL, dim INTEGER NOT NULL,
    calibration TEXT
);
CREATE TABLE template (
    id INTEGER PRIMARY KEY,
    person INTEGER NOT NULL REFERENCES person(id) ON DELETE CASCADE,
    model TEXT NOT NULL REFERENCES model(name),
    source TEXT NOT NULL, created_ns INTEGER NOT NULL, checksum INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX template_by_model ON template (model, person, id);
"""


def _explained(method: Method) -> Method:
    """SQLite's errors as errors that name the file and the next step."""

    @functools.wraps(method)
    def explained(self: Gallery, *args: object, **kwargs: object) -> object:
        try:
            return method(self, *args, **kwargs)
        except sqlite3.OperationalError as error:
            raise GalleryError(
                f"{self.path} cannot be used now ({error}); see that no other process holds it, that it may "
                "be written, and that the disk has room"
            ) from error
        except sqlite3.DatabaseError as error:
            raise GalleryError(
                f"{self.path} is damaged ({error}); put a backup in its place, or move it away and enrol "
                "again"
            ) from error

    return cast(Method, explained)


@dataclass(frozen=True)
class Enrolment:
    """Templates of one person to add.

    Attributes:
        person: the name that events will carry.
        model: `biggait` or `gaitheat`.
        fingerprint: of the bundle the templates came from.
        templates: float32 `[n, parts, dim]`, n >= 1.
        source: where they came from; free of credentials.
    """

    person: str
    model: str
    fingerprint: str
    templates: Floats
    source: str = ""


@dataclass(frozen=True)
class PersonEntry:
    """One line of the gallery's listing."""

    name: str
    created_ns: int
    """UTC nanoseconds of the first enrolment."""
    templates: dict[str, int]
    """How many, by model."""


class Gallery:
    """Persons and templates; use an instance from one thread.

    Args:
        path: the file.
        create: make it when missing.

    Raises:
        GalleryError: there is no such file, or it is no gallery of this version.
    """

    def __init__(self, path: str | Path, *, create: bool = False) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_file():
            raise GalleryError(f"{self.path} is no file; give the gallery's file, such as people.gallery")
        if not self.path.exists():
            if not create:
                raise GalleryError(
                    f"{self.path}: no such gallery; make one with "
                    "'gaitstream enroll --person NAME --video FILE --cameras FILE'"
                )
            self._make_file()
        try:
            self._db = sqlite3.connect(self.path, timeout=10.0, isolation_level=None)
            self._open()
        except sqlite3.DatabaseError as error:
            raise GalleryError(
                f"{self.path} is no gallery ({error}); give the file that 'gaitstream enroll' wrote"
            ) from error

    def enroll(
        self, person: str, model: str, fingerprint: str, templates: Floats, *, source: str = ""
    ) -> None:
        """Add templates of one person, made when new; see `Enrolment` and `enroll_many`."""
        self.enroll_many([Enrolment(person, model, fingerprint, templates, source)])

    @_explained
    def enroll_many(self, enrolments: Iterable[Enrolment]) -> int:
        """Add templates of any number of persons, and calibrate once; all or nothing.

        Other processes cannot write meanwhile, so collect the templates first.

        Returns:
            How many templates were added.

        Raises:
            GalleryError: a model differs from the one that filled the gallery, or a name or shape is wrong.
        """
        now = time.time_ns()
        count, models = 0, set()
        with self._transaction():
            for enrolment in enrolments:
                self._add(enrolment, now)
                count += len(enrolment.templates)
                models.add(enrolment.model)
            for model in sorted(models):
                self.calibrate(model)
        return count

    @_explained
    def remove(self, person: str) -> int:
        """Erase a person and overwrite the templates in the file.

        Returns:
            How many templates were erased.

        Raises:
            GalleryError: nobody of that name is in the gallery.
        """
        with self._transaction():
            query = (
                "SELECT count(t.id) FROM person p LEFT JOIN template t ON t.person = p.id WHERE p.name = ?"
            )
            [count] = self._db.execute(query, (person,)).fetchone()
            if not self._db.execute("DELETE FROM person WHERE name = ?", (person,)).rowcount:
                known = ", ".join(entry.name for entry in self.persons()) or "nobody"
                raise GalleryError(f"{person!r} is not in {self.path}; it has {known}")
            for model in self.models():
                self._calibrate(model, leave_out_damaged=True)  # of others: they must not keep this one in
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # nothing stays behind in the log
        return int(count)

    @_explained
    def persons(self) -> list[PersonEntry]:
        """Everybody, by name."""
        rows = self._db.execute(
            "SELECT p.name, p.created_ns, t.model, count(t.id) FROM person p LEFT JOIN template t "
            "ON t.person = p.id GROUP BY p.id, t.model ORDER BY p.name"
        )
        entries: dict[str, PersonEntry] = {}
        for name, created_ns, model, count in rows:
            entry = entries.setdefault(name, PersonEntry(name, created_ns, {}))
            if model is not None:
                entry.templates[model] = count
        return list(entries.values())

    @_explained
    def models(self) -> dict[str, str]:
        """Fingerprint by model."""
        return dict(self._db.execute("SELECT name, fingerprint FROM model ORDER BY name").fetchall())

    @_explained
    def matcher(self, model: str, fingerprint: str, *, nearest: int = 1) -> Matcher:
        """A snapshot of one model's templates; empty when it has none.

        Args:
            model: `biggait` or `gaitheat`.
            fingerprint: of the bundle whose embeddings will be compared.
            nearest: how many of a person's nearest templates are averaged; 1 takes the best.

        Raises:
            GalleryError: the gallery was filled by another model, or a template is damaged.
        """
        bound = self.models().get(model)
        if bound is not None:
            self._check_model(model, fingerprint, bound)
        return self._match(model, nearest=nearest)

    @_explained
    def damaged(self) -> list[Damage]:
        """The templates of all models whose bytes are not those that were enrolled."""
        read = (template for model in self.models() for _, template in self._read(model))
        return [template for template in read if isinstance(template, Damage)]

    @_explained
    def calibrate(self, model: str) -> Calibration | None:
        """Compute threshold and margin from the templates and keep them."""
        return self._calibrate(model)

    def _read(self, model: str) -> Iterator[tuple[str, Floats | Damage]]:
        """A model's templates by person, each `[parts, dim]` or damaged."""
        shape = self._db.execute("SELECT parts, dim FROM model WHERE name = ?", (model,)).fetchone()
        for name, data in read_templates(self._db, model, shape) if shape else ():
            yield name, data if isinstance(data, Damage) else np.frombuffer(data, "<f4").reshape(shape)

    def _match(self, model: str, *, nearest: int = 1, leave_out_damaged: bool = False) -> Matcher:
        grouped: dict[str, list[Floats]] = {}
        for name, template in self._read(model):
            if not isinstance(template, Damage):
                grouped.setdefault(name, []).append(template)
            elif not leave_out_damaged:
                raise GalleryError(
                    f"{self.path}: {template}; put a backup in its place, or erase {name!r} with 'gaitstream "
                    "gallery remove' and enrol again; 'gaitstream gallery info' lists all that is damaged"
                )
        return Matcher.build([(name, np.stack(maps)) for name, maps in grouped.items()], nearest)

    def _calibrate(self, model: str, *, leave_out_damaged: bool = False) -> Calibration | None:
        result = calibrate(self._match(model, leave_out_damaged=leave_out_damaged))
        kept = msgspec.json.encode(result).decode() if result else None
        self._db.execute("UPDATE model SET calibration = ? WHERE name = ?", (kept, model))
        return result

    def thresholds(self, model: str) -> tuple[float | None, float | None]:
        """The calibrated threshold and margin of a model; None where there is none."""
        kept = self.calibration(model)
        return (kept.threshold, kept.margin) if kept else (None, None)

    @_explained
    def calibration(self, model: str) -> Calibration | None:
        """Threshold and margin of a model with what they rest on, as of the last change; None without."""
        row = self._db.execute("SELECT calibration FROM model WHERE name = ?", (model,)).fetchone()
        return msgspec.json.decode(row[0], type=Calibration) if row and row[0] else None

    @property
    def version(self) -> int:
        """Changes when another process has changed the gallery."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def __enter__(self) -> Gallery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make_file(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
        except OSError as error:
            raise GalleryError(f"{self.path} cannot be made ({error}); set gallery.path") from error

    def _open(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.execute("PRAGMA secure_delete = ON")
        with self._transaction():
            [application] = self._db.execute("PRAGMA application_id").fetchone()
            [schema] = self._db.execute("PRAGMA user_version").fetchone()
            [tables] = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not tables and not application:
                for statement in filter(str.strip, _TABLES.split(";")):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {SCHEMA}")
            elif application == APPLICATION_ID and schema in (1, 2):
                self._migrate(schema)
            elif application != APPLICATION_ID or schema != SCHEMA:
                raise GalleryError(
                    f"{self.path} is no gallery of schema {SCHEMA} (it says {schema}); enrol into a new file"
                )

    def _migrate(self, schema: int) -> None:
        add_checksums(self._db)
        if schema == 1:
            self._db.execute("ALTER TABLE model ADD COLUMN calibration TEXT")
            for model in self.models():
                self.calibrate(model)
        self._db.execute(f"PRAGMA user_version = {SCHEMA}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _add(self, enrolment: Enrolment, now: int) -> None:
        person, templates = enrolment.person, enrolment.templates
        if not person.strip():
            raise GalleryError("a person needs a name: --person NAME")
        if templates.ndim != 3 or not len(templates) or not np.isfinite(templates).all():
            raise GalleryError(
                f"templates of {person!r} have shape {templates.shape}: finite [n, parts, dim] with n >= 1 "
                "needed"
            )
        self._bind(enrolment.model, enrolment.fingerprint, templates.shape[1:])
        self._db.execute("INSERT OR IGNORE INTO person (name, created_ns) VALUES (?, ?)", (person, now))
        blobs = (np.ascontiguousarray(template, "<f4").tobytes() for template in templates)
        self._db.executemany(
            "INSERT INTO template (person, model, source, created_ns, checksum, data) "
            "VALUES ((SELECT id FROM person WHERE name = ?), ?, ?, ?, ?, ?)",
            ((person, enrolment.model, enrolment.source, now, checksum(blob), blob) for blob in blobs),
        )

    def _bind(self, model: str, fingerprint: str, shape: tuple[int, ...]) -> None:
        """Bind an empty model slot to a fingerprint, or check the one that is bound."""
        query = "SELECT fingerprint, parts, dim FROM model WHERE name = ?"
        row = self._db.execute(query, (model,)).fetchone()
        if row is None:
            self._db.execute(
                "INSERT INTO model (name, fingerprint, parts, dim) VALUES (?, ?, ?, ?)",
                (model, fingerprint, *shape),
            )
        else:
            self._check_model(model, fingerprint, row[0])
            if shape != row[1:]:
                raise GalleryError(
                    f"templates of {model} {fingerprint[:12]} are {list(row[1:])} in {self.path}, these are "
                    f"{list(shape)}: enrol with the bundle that filled it"
                )

    def _check_model(self, model: str, fingerprint: str, bound: str) -> None:
        if fingerprint != bound:
            raise GalleryError(
                f"{self.path} was filled by {model} {bound[:12]}, this is {model} {fingerprint[:12]}: "
                "embeddings of different models cannot be compared; use that bundle again, or enrol into a "
                "new gallery"
            )

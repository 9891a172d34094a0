"""The store: rows in dictionaries, a copy of them for every transaction."""

from __future__ import annotations

import copy
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from gaitstream.errors import GalleryError, MissingGalleryError
from gaitstream.gallery.base import Mark, ModelRow, PersonRow, PictureRow, SightingRow, TemplateRow


@dataclass
class Rows:
    """All rows of a gallery; a transaction for whoever has a copy of them."""

    settings: dict[str, bytes] = field(default_factory=dict)
    people: dict[str, PersonRow] = field(default_factory=dict)
    kinds: dict[str, ModelRow] = field(default_factory=dict)
    vectors: dict[int, TemplateRow] = field(default_factory=dict)
    images: dict[int, PictureRow] = field(default_factory=dict)
    walks: dict[int, SightingRow] = field(default_factory=dict)
    history: list[tuple[str, str]] = field(default_factory=list)
    lines: dict[int, bytes] = field(default_factory=dict)
    last: int = 0

    def mark(self) -> Mark:
        return Mark(len(self.history), self.history[-1][0]) if self.history else Mark()

    def changes(self, since: Mark) -> list[str] | None:
        if not since.sequence and not self.history:
            return []
        if not 0 < since.sequence <= len(self.history) or self.history[since.sequence - 1][0] != since.token:
            return None
        return list(dict.fromkeys(uid for _, uid in self.history[since.sequence :]))

    def setting(self, name: str) -> bytes | None:
        return self.settings.get(name)

    def persons(self) -> Iterable[PersonRow]:
        return self.people.values()

    def person(self, uid: str) -> PersonRow | None:
        return self.people.get(uid)

    def find(self, key: bytes) -> PersonRow | None:
        return next((row for row in self.people.values() if row.key == key), None)

    def models(self) -> list[ModelRow]:
        return [self.kinds[name] for name in sorted(self.kinds)]

    def templates(self, model: str | None = None, person: str | None = None) -> Iterator[TemplateRow]:
        return (
            row
            for row in self.vectors.values()
            if model in (None, row.model) and person in (None, row.person)
        )

    def select(self, numbers: Sequence[int]) -> Iterator[TemplateRow]:
        return (self.vectors[number] for number in numbers if number in self.vectors)

    def count(self, model: str | None = None, person: str | None = None) -> int:
        return sum(1 for _ in self.templates(model, person))

    def counts(self) -> dict[tuple[str, str], int]:
        found: dict[tuple[str, str], int] = {}
        for row in self.vectors.values():
            found[row.person, row.model] = found.get((row.person, row.model), 0) + 1
        return found

    def pictures(self, person: str | None = None) -> Iterator[PictureRow]:
        return (row for row in self.images.values() if person in (None, row.person))

    def sightings(self, person: str | None = None, since_ns: int = 0) -> Iterator[SightingRow]:
        return (
            row
            for row in list(self.walks.values())
            if person in (None, row.person) and row.seen_ns >= since_ns
        )

    def audit(self, after: int = 0) -> Iterator[tuple[int, bytes]]:
        return iter(sorted((number, line) for number, line in self.lines.items() if number > after))

    def set(self, name: str, value: bytes | None) -> None:
        self.settings.pop(name, None)
        if value is not None:
            self.settings[name] = value

    def put_person(self, row: PersonRow) -> None:
        other = self.find(row.key)
        if other is not None and other.uid != row.uid:
            raise GalleryError("two people have one key")
        self.people[row.uid] = row

    def drop_person(self, uid: str) -> bool:
        self.drop_templates([row.number for row in self.templates(person=uid)])
        self.drop_pictures([row.number for row in self.pictures(uid)])
        self.drop_sightings([row.number for row in self.sightings(uid)])
        return self.people.pop(uid, None) is not None

    def put_model(self, row: ModelRow) -> None:
        self.kinds[row.name] = row

    def add_templates(self, rows: Iterable[TemplateRow]) -> list[int]:
        numbers = []
        for row in rows:
            numbers.append(self._number())
            self.vectors[numbers[-1]] = replace(row, number=numbers[-1])
        return numbers

    def put_template(self, row: TemplateRow) -> None:
        self.vectors[row.number] = row

    def drop_templates(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.vectors.pop(number, None)

    def add_pictures(self, rows: Iterable[PictureRow]) -> None:
        for row in rows:
            number = self._number()
            self.images[number] = replace(row, number=number)

    def put_picture(self, row: PictureRow) -> None:
        self.images[row.number] = row

    def drop_pictures(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.images.pop(number, None)

    def add_sightings(self, rows: Iterable[SightingRow]) -> list[int]:
        numbers = []
        for row in rows:
            numbers.append(self._number())
            self.walks[numbers[-1]] = replace(row, number=numbers[-1])
        return numbers

    def put_sighting(self, row: SightingRow) -> None:
        self.walks[row.number] = row

    def drop_sightings(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.walks.pop(number, None)

    def note_change(self, uid: str) -> None:
        self.history.append((secrets.token_hex(8), uid))

    def append_audit(self, number: int, line: bytes) -> None:
        self.lines[number] = line

    def clear_audit(self) -> None:
        self.lines.clear()

    def _number(self) -> int:
        self.last += 1
        return self.last


class _Shared:
    """One gallery of this process, for all who open its URL."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.writing = threading.RLock()
        self.changed = threading.Condition()


_GALLERIES: dict[str, _Shared] = {}


class MemoryStore:
    """`memory:NAME`: gone with the process."""

    def __init__(self, url: str, *, create: bool = False) -> None:
        self.url = url
        if url not in _GALLERIES and not create:
            raise MissingGalleryError(f"{url}: no such gallery in this process")
        self._shared = _GALLERIES.setdefault(url, _Shared())
        self._seen = self._shared.rows

    @contextmanager
    def reading(self) -> Iterator[Rows]:
        yield self._shared.rows

    @contextmanager
    def writing(self) -> Iterator[Rows]:
        with self._shared.writing:
            rows = copy.deepcopy(self._shared.rows)
            yield rows
            with self._shared.changed:
                self._shared.rows = rows
                self._shared.changed.notify_all()

    def wait(self, seconds: float) -> None:
        with self._shared.changed:
            self._shared.changed.wait_for(lambda: self._shared.rows is not self._seen, seconds)
            self._seen = self._shared.rows

    def purge(self) -> list[str]:
        return []

    def check(self) -> list[str]:
        return []

    def files(self) -> list[Path]:
        return []

    def close(self) -> None:
        pass

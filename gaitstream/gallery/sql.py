"""The rows of a gallery in SQL, as SQLite and PostgreSQL both understand it.

Statements are written with `?`; a store whose driver wants other marks replaces them in its `execute`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from gaitstream.gallery.base import Mark, ModelRow, PersonRow, PictureRow, SightingRow, TemplateRow

HISTORY = 10_000
"""Changes remembered; who is further behind reads everything again."""
_BLOCK = 500
"""Rows fetched or named in one statement."""
_TEMPLATE = (
    "SELECT t.id, p.uid, t.model, t.created_ns, t.source, t.checksum, t.data FROM template t "
    "JOIN person p ON p.id = t.person "
)
_PICTURE = (
    "SELECT c.id, p.uid, c.created_ns, c.checksum, c.data FROM picture c JOIN person p ON p.id = c.person "
)

_SIGHTING = (
    "SELECT s.id, p.uid, s.seen_ns, s.checksum, s.data FROM sighting s JOIN person p ON p.id = s.person "
)


class Cursor(Protocol):
    """What a driver gives for a statement."""

    @property
    def rowcount(self) -> int:
        """Rows that were changed."""

    def fetchone(self) -> Any:
        """The next row; None at the end."""

    def fetchmany(self, size: int) -> Sequence[Any]:
        """The next rows."""


Execute = Callable[[str, Sequence[object]], Cursor]


class SqlTransaction:
    """`Reading` and `Writing` over one connection; the store begins and ends the transaction.

    Args:
        execute: runs a statement.
        stream: runs a query whose result may be large.
    """

    def __init__(self, execute: Execute, stream: Execute | None = None) -> None:
        self._execute = execute
        self._stream = stream or execute
        self.changed = False

    def mark(self) -> Mark:
        """See `Reading`."""
        row = self._one("SELECT sequence, token FROM change ORDER BY sequence DESC LIMIT 1")
        return Mark(int(row[0]), str(row[1])) if row else Mark()

    def changes(self, since: Mark) -> list[str] | None:
        """See `Reading`."""
        if not since.sequence and not self._one("SELECT 1 FROM change LIMIT 1"):
            return []
        row = self._one("SELECT token FROM change WHERE sequence = ?", since.sequence)
        if row is None or row[0] != since.token:
            return None
        rows = self._rows("SELECT DISTINCT person FROM change WHERE sequence > ?", since.sequence)
        return [str(uid) for (uid,) in rows]

    def setting(self, name: str) -> bytes | None:
        """See `Reading`."""
        row = self._one("SELECT value FROM setting WHERE name = ?", name)
        return _bytes(row[0]) if row else None

    def persons(self) -> Iterator[PersonRow]:
        """See `Reading`."""
        return map(_person, self._rows("SELECT uid, lookup, record FROM person ORDER BY id"))

    def person(self, uid: str) -> PersonRow | None:
        """See `Reading`."""
        if not uid.isascii():  # a name, and maybe one that no store takes
            return None
        row = self._one("SELECT uid, lookup, record FROM person WHERE uid = ?", uid)
        return _person(row) if row else None

    def find(self, key: bytes) -> PersonRow | None:
        """See `Reading`."""
        row = self._one("SELECT uid, lookup, record FROM person WHERE lookup = ?", key)
        return _person(row) if row else None

    def models(self) -> list[ModelRow]:
        """See `Reading`."""
        rows = self._rows("SELECT name, fingerprint, parts, dim, calibration FROM model ORDER BY name")
        return [ModelRow(row[0], row[1], row[2], row[3], _bytes(row[4] or b"")) for row in rows]

    def templates(self, model: str | None = None, person: str | None = None) -> Iterator[TemplateRow]:
        """See `Reading`."""
        where, values = _where(model, person)
        return map(_template, self._rows(f"{_TEMPLATE}{where} ORDER BY t.id", *values))

    def select(self, numbers: Sequence[int]) -> Iterator[TemplateRow]:
        """See `Reading`."""
        for block in _blocks(numbers):
            yield from map(_template, self._rows(f"{_TEMPLATE}WHERE t.id IN ({_marks(block)})", *block))

    def count(self, model: str | None = None, person: str | None = None) -> int:
        """See `Reading`."""
        if person is None:
            query, values = "SELECT count(*) FROM template t", [model] if model is not None else []
            return int(self._one(query + (" WHERE t.model = ?" if values else ""), *values)[0])
        where, values = _where(model, person)
        query = f"SELECT count(*) FROM template t JOIN person p ON p.id = t.person {where}"
        return int(self._one(query, *values)[0])

    def counts(self) -> dict[tuple[str, str], int]:
        """See `Reading`."""
        rows = self._rows(
            "SELECT p.uid, t.model, count(*) FROM template t JOIN person p ON p.id = t.person "
            "GROUP BY p.uid, t.model"
        )
        return {(str(uid), str(model)): int(count) for uid, model, count in rows}

    def pictures(self, person: str | None = None) -> Iterator[PictureRow]:
        """See `Reading`."""
        where = () if person is None else (person,)
        query = _PICTURE + ("WHERE p.uid = ? " if where else "") + "ORDER BY c.id"
        rows = self._rows(query, *where)
        return (PictureRow(row[0], row[1], row[2], row[3], _bytes(row[4])) for row in rows)

    def sightings(self, person: str | None = None, since_ns: int = 0) -> Iterator[SightingRow]:
        """See `Reading`."""
        where, values = "WHERE s.seen_ns >= ? ", [since_ns, *([] if person is None else [person])]
        query = f"{_SIGHTING}{where}{'' if person is None else 'AND p.uid = ? '}ORDER BY s.id"
        rows = self._rows(query, *values)
        return (SightingRow(row[0], row[1], row[2], row[3], _bytes(row[4])) for row in rows)

    def audit(self, after: int = 0) -> Iterator[tuple[int, bytes]]:
        """See `Reading`."""
        rows = self._rows("SELECT number, line FROM audit WHERE number > ? ORDER BY number", after)
        return ((int(number), _bytes(line)) for number, line in rows)

    def set(self, name: str, value: bytes | None) -> None:
        """See `Writing`."""
        self._execute("DELETE FROM setting WHERE name = ?", (name,))
        if value is not None:
            self._execute("INSERT INTO setting (name, value) VALUES (?, ?)", (name, value))

    def put_person(self, row: PersonRow) -> None:
        """See `Writing`."""
        values = (row.key, row.record, row.uid)
        done = self._execute("UPDATE person SET lookup = ?, record = ? WHERE uid = ?", values)
        if not done.rowcount:
            self._execute("INSERT INTO person (lookup, record, uid) VALUES (?, ?, ?)", values)

    def drop_person(self, uid: str) -> bool:
        """See `Writing`."""
        return bool(self._execute("DELETE FROM person WHERE uid = ?", (uid,)).rowcount)

    def put_model(self, row: ModelRow) -> None:
        """See `Writing`."""
        values = (row.fingerprint, row.parts, row.dim, row.calibration, row.name)
        done = self._execute(
            "UPDATE model SET fingerprint = ?, parts = ?, dim = ?, calibration = ? WHERE name = ?", values
        )
        if not done.rowcount:
            self._execute(
                "INSERT INTO model (fingerprint, parts, dim, calibration, name) VALUES (?, ?, ?, ?, ?)",
                values,
            )

    def add_templates(self, rows: Iterable[TemplateRow]) -> list[int]:
        """See `Writing`."""
        numbers = []
        for row in rows:
            done = self._execute(
                "INSERT INTO template (person, model, created_ns, source, checksum, data) "
                "VALUES ((SELECT id FROM person WHERE uid = ?), ?, ?, ?, ?, ?) RETURNING id",
                (row.person, row.model, row.created_ns, row.source, row.checksum, row.data),
            )
            numbers.append(int(done.fetchone()[0]))
        return numbers

    def put_template(self, row: TemplateRow) -> None:
        """See `Writing`."""
        self._execute(
            "UPDATE template SET person = (SELECT id FROM person WHERE uid = ?), model = ?, created_ns = ?, "
            "source = ?, checksum = ?, data = ? WHERE id = ?",
            (row.person, row.model, row.created_ns, row.source, row.checksum, row.data, row.number),
        )

    def drop_templates(self, numbers: Sequence[int]) -> None:
        """See `Writing`."""
        for block in _blocks(numbers):
            self._execute(f"DELETE FROM template WHERE id IN ({_marks(block)})", block)

    def add_pictures(self, rows: Iterable[PictureRow]) -> None:
        """See `Writing`."""
        for row in rows:
            self._execute(
                "INSERT INTO picture (person, created_ns, checksum, data) "
                "VALUES ((SELECT id FROM person WHERE uid = ?), ?, ?, ?)",
                (row.person, row.created_ns, row.checksum, row.data),
            )

    def put_picture(self, row: PictureRow) -> None:
        """See `Writing`."""
        self._execute(
            "UPDATE picture SET person = (SELECT id FROM person WHERE uid = ?), created_ns = ?, "
            "checksum = ?, data = ? WHERE id = ?",
            (row.person, row.created_ns, row.checksum, row.data, row.number),
        )

    def drop_pictures(self, numbers: Sequence[int]) -> None:
        """See `Writing`."""
        for block in _blocks(numbers):
            self._execute(f"DELETE FROM picture WHERE id IN ({_marks(block)})", block)

    def add_sightings(self, rows: Iterable[SightingRow]) -> list[int]:
        """See `Writing`."""
        numbers = []
        for row in rows:
            done = self._execute(
                "INSERT INTO sighting (person, seen_ns, checksum, data) "
                "VALUES ((SELECT id FROM person WHERE uid = ?), ?, ?, ?) RETURNING id",
                (row.person, row.seen_ns, row.checksum, row.data),
            )
            numbers.append(int(done.fetchone()[0]))
        return numbers

    def put_sighting(self, row: SightingRow) -> None:
        """See `Writing`."""
        self._execute(
            "UPDATE sighting SET person = (SELECT id FROM person WHERE uid = ?), seen_ns = ?, checksum = ?, "
            "data = ? WHERE id = ?",
            (row.person, row.seen_ns, row.checksum, row.data, row.number),
        )

    def drop_sightings(self, numbers: Sequence[int]) -> None:
        """See `Writing`."""
        for block in _blocks(numbers):
            self._execute(f"DELETE FROM sighting WHERE id IN ({_marks(block)})", block)

    def note_change(self, uid: str) -> None:
        """See `Writing`."""
        done = self._execute(
            "INSERT INTO change (token, person) VALUES (?, ?) RETURNING sequence",
            (secrets.token_hex(8), uid),
        )
        oldest = int(done.fetchone()[0]) - HISTORY
        self._execute("DELETE FROM change WHERE sequence <= ?", (oldest,))
        self.changed = True

    def append_audit(self, number: int, line: bytes) -> None:
        """See `Writing`."""
        self._execute("INSERT INTO audit (number, line) VALUES (?, ?)", (number, line))

    def clear_audit(self) -> None:
        """See `Writing`."""
        self._execute("DELETE FROM audit", ())

    def _one(self, query: str, *values: object) -> Any:
        return self._execute(query, values).fetchone()

    def _rows(self, query: str, *values: object) -> Iterator[Any]:
        cursor = self._stream(query, values)
        while rows := cursor.fetchmany(_BLOCK):
            yield from rows


def _person(row: Sequence[Any]) -> PersonRow:
    return PersonRow(str(row[0]), _bytes(row[1]), _bytes(row[2]))


def _template(row: Sequence[Any]) -> TemplateRow:
    number, person, model, created_ns, source, checksum, data = row
    # A gallery of an older schema keeps sources as text, and damage may leave anything.
    return TemplateRow(number, person, model, created_ns, _bytes(source), checksum, _bytes(data))


def _bytes(value: object) -> bytes:
    """A value as it is kept; SQLite takes text and numbers in their place."""
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()


def _where(model: str | None, person: str | None) -> tuple[str, list[str]]:
    given = {"t.model": model, "p.uid": person}
    wanted = {column: value for column, value in given.items() if value is not None}
    where = " AND ".join(f"{column} = ?" for column in wanted)
    return (f"WHERE {where}" if where else ""), list(wanted.values())


def _blocks(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    return (numbers[start : start + _BLOCK] for start in range(0, len(numbers), _BLOCK))


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))

"""Whether the rows of a gallery are those that were written.

A sealed value opens only where it was made for. What stands beside it in clear (times, fingerprints, who was
merged), which of several values of one place is the newest, and which rows there are at all, no single seal
says. So an encrypted gallery keeps sums, sealed: of each person's rows, and in the head of the audit log one
over the sums of all persons, the models and some settings. Of each of these a keyed hash counts, as a number,
which is added when it is written and taken away when it goes (an additive hash of a multiset: Clarke and
others, Incremental Multiset Hash Functions, 2003). Every transaction brings them up to date, and
`gallery verify` computes them anew. A whole gallery that is put back from before fits. Whoever is erased
takes their sum along, so that damage goes with whose it is.

Galleries of versions that kept no sums get theirs with the first change, and again once such a version wrote.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec

from gaitstream.errors import GalleryError
from gaitstream.gallery.audit import has_log, read_tally, write_tally
from gaitstream.gallery.base import (
    ModelRow,
    PersonRow,
    PictureRow,
    Reading,
    SightingRow,
    TemplateRow,
    Writing,
)
from gaitstream.gallery.sealing import Sealer

_MODULUS = 1 << 256
_BYTES = 32
_SETTINGS = ("merged", "visitors")
_SEALED = ("site/", "searches/")
_OF_MODELS = ("target/", *_SEALED)
_HEADER, _TAG = 13, 16
One = TypeVar("One", PictureRow, SightingRow)
Row = TypeVar("Row", TemplateRow, PictureRow, SightingRow)
OwnedRow = PersonRow | TemplateRow | PictureRow | SightingRow


def verify_tally(reading: Reading, sealer: Sealer) -> list[str]:
    """What is wrong with the rows as a whole, a line each; nothing where no sums were kept yet."""
    kept = read_tally(reading, sealer) if has_log(reading) else None
    if kept is None:
        return []
    sums = _sums(reading, sealer)
    told = {uid: _read_sum(reading, sealer, uid) for uid in sums}
    found = [
        f"rows are not those that were written of {uid}: a time or a limit was changed, or some were put "
        "back or deleted"
        for uid, total in sums.items()
        if total != told[uid]
    ]
    all_told = {uid: total for uid, total in told.items() if total is not None}
    if kept != _whole(reading, sealer, all_told):
        found.append(
            "rows are not those that were written: people were put back or deleted, or models, targets or "
            "who was merged changed"
        )
    if found:
        found.append(
            "this was somebody who may write to the gallery, or a version of gaitstream that keeps no sums "
            "of its rows; look at a backup, and 'gaitstream gallery rekey' takes the rows as they are"
        )
    return found


def keep_tally(writing: Writing, sealer: Sealer) -> None:
    """Compute all sums anew, and keep them."""
    sums = _sums(writing, sealer)
    for uid, total in sums.items():
        _write_sum(writing, sealer, uid, total)
    write_tally(writing, sealer, _whole(writing, sealer, sums))


class TalliedWriting:
    """`Writing`, with the sums of the rows brought up to date by `close`.

    Args:
        writing: of the store.
        sealer: of the gallery.
    """

    def __init__(self, writing: Writing, sealer: Sealer) -> None:
        self._writing = writing
        self._sealer = sealer
        self._whole = _begin(writing, sealer)
        self._changed = False
        self._before: dict[str, int | None] = {}
        """Sums of the people whose rows were touched, as they were; and as they are, None for who is gone."""
        self._now: dict[str, int | None] = {}
        self._seen: dict[tuple[type, int], tuple[str, bytes]] = {}
        """Pictures and sightings that were read: whose, and as they count."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._writing, name)

    def close(self) -> None:
        """Keep the sums, where anything was changed; at the end of the transaction."""
        if not self._changed:
            return
        if self._whole is None:
            keep_tally(self._writing, self._sealer)
            return
        for uid, now in self._now.items():
            before = self._before[uid]
            if before is not None:
                self._whole -= _number(self._sealer, _sum(uid, before))
            if now is not None:
                self._whole += _number(self._sealer, _sum(uid, now % _MODULUS))
            _write_sum(self._writing, self._sealer, uid, now)
        write_tally(self._writing, self._sealer, self._whole % _MODULUS)

    def pictures(self, person: str | None = None) -> Iterator[PictureRow]:
        """See `Reading`."""
        return self._seeing(self._writing.pictures(person))

    def sightings(self, person: str | None = None, since_ns: int = 0) -> Iterator[SightingRow]:
        """See `Reading`."""
        return self._seeing(self._writing.sightings(person, since_ns))

    def set(self, name: str, value: bytes | None) -> None:
        """See `Writing`."""
        self._changed = True
        if self._whole is not None and (name in _SETTINGS or name.startswith(_OF_MODELS)):
            before = self._writing.setting(name)
            if before is not None:
                self._whole -= _number(self._sealer, _setting(name, before))
            if value is not None:
                self._whole += _number(self._sealer, _setting(name, value))
        self._writing.set(name, value)

    def put_person(self, row: PersonRow) -> None:
        """See `Writing`."""
        before = self._writing.person(row.uid)
        if before is not None:
            self._count(row.uid, _row(before), -1)
        self._count(row.uid, _row(row))
        self._writing.put_person(row)

    def drop_person(self, uid: str) -> bool:
        """See `Writing`; nothing of the person is read: it may be damaged."""
        self._touch(uid)
        self._now[uid] = None
        return self._writing.drop_person(uid)

    def put_model(self, row: ModelRow) -> None:
        """See `Writing`."""
        self._changed = True
        if self._whole is not None:
            before = [one for one in self._writing.models() if one.name == row.name]
            self._whole -= sum(_number(self._sealer, _model(one)) for one in before)
            self._whole += _number(self._sealer, _model(row))
        self._writing.put_model(row)

    def add_templates(self, rows: Iterable[TemplateRow]) -> list[int]:
        """See `Writing`."""
        return self._writing.add_templates(self._counted(rows))

    def put_template(self, row: TemplateRow) -> None:
        """See `Writing`."""
        for before in self._writing.select([row.number]):
            self._count(before.person, _row(before), -1)
            self._count(row.person, _row(row))
        self._writing.put_template(row)

    def drop_templates(self, numbers: Sequence[int]) -> None:
        """See `Writing`."""
        for row in self._writing.select(numbers):
            self._count(row.person, _row(row), -1)
        self._writing.drop_templates(numbers)

    def add_pictures(self, rows: Iterable[PictureRow]) -> None:
        """See `Writing`."""
        self._writing.add_pictures(self._counted(rows))

    def put_picture(self, row: PictureRow) -> None:
        """See `Writing`."""
        self._put_again(row)
        self._writing.put_picture(row)

    def drop_pictures(self, numbers: Sequence[int]) -> None:
        """See `Writing`."""
        self._drop(PictureRow, numbers)
        self._writing.drop_pictures(numbers)

    def add_sightings(self, rows: Iterable[SightingRow]) -> list[int]:
        """See `Writing`."""
        return self._writing.add_sightings(self._counted(rows))

    def put_sighting(self, row: SightingRow) -> None:
        """See `Writing`."""
        self._put_again(row)
        self._writing.put_sighting(row)

    def drop_sightings(self, numbers: Sequence[int]) -> None:
        """See `Writing`."""
        self._drop(SightingRow, numbers)
        self._writing.drop_sightings(numbers)

    def _touch(self, uid: str) -> None:
        self._changed = True
        if self._whole is not None and uid not in self._now:
            self._before[uid] = self._now[uid] = _read_sum(self._writing, self._sealer, uid)

    def _count(self, uid: str, row: bytes, sign: int = 1) -> None:
        self._touch(uid)
        if self._whole is not None:
            self._now[uid] = (self._now[uid] or 0) + sign * _number(self._sealer, row)

    def _counted(self, rows: Iterable[Row]) -> list[Row]:
        added = list(rows)
        for row in added:
            self._count(row.person, _row(row))
        return added

    def _put_again(self, row: PictureRow | SightingRow) -> None:
        for owner, before in self._known(type(row), [row.number]):
            self._count(owner, before, -1)
            self._count(row.person, _row(row))
            self._seen[type(row), row.number] = row.person, _row(row)

    def _drop(self, kind: type[PictureRow | SightingRow], numbers: Sequence[int]) -> None:
        for owner, row in self._known(kind, numbers):
            self._count(owner, row, -1)
        for number in numbers:
            self._seen.pop((kind, number), None)

    def _known(self, kind: type[PictureRow | SightingRow], numbers: Sequence[int]) -> list[tuple[str, bytes]]:
        """Rows by their numbers: whoever changes them has mostly read them just before."""
        self._changed = True
        if self._whole is None:
            return []
        if any((kind, number) not in self._seen for number in numbers):
            for _ in self.pictures() if kind is PictureRow else self.sightings():
                pass
        return [self._seen[kind, number] for number in numbers if (kind, number) in self._seen]

    def _seeing(self, rows: Iterable[One]) -> Iterator[One]:
        for row in rows:
            if self._whole is not None:
                self._seen[type(row), row.number] = row.person, _row(row)
            yield row


def _begin(writing: Writing, sealer: Sealer) -> int | None:
    """The sum of all as it was kept; None where all have to be computed."""
    if has_log(writing):
        return read_tally(writing, sealer)
    new = not writing.models() and next(iter(writing.persons()), None) is None
    return 0 if new and all(writing.setting(name) is None for name in _SETTINGS) else None


def _sums(reading: Reading, sealer: Sealer) -> dict[str, int]:
    """The sum of each person's rows, by uid."""
    sums: dict[str, int] = defaultdict(int)
    for person in reading.persons():
        sums[person.uid] += _number(sealer, _row(person))
    for kind in (reading.templates(), reading.pictures(), reading.sightings()):
        for row in kind:
            sums[row.person] += _number(sealer, _row(row))
    return {uid: total % _MODULUS for uid, total in sums.items()}


def _whole(reading: Reading, sealer: Sealer, sums: dict[str, int]) -> int:
    """The sum over the sums of all persons, the models and the settings that count."""
    models = reading.models()
    counted = [_sum(uid, total) for uid, total in sums.items()] + [_model(row) for row in models]
    for name in (*_SETTINGS, *(place + model.name for model in models for place in _OF_MODELS)):
        value = reading.setting(name)
        if value is not None:
            counted.append(_setting(name, value))
    return sum(_number(sealer, one) for one in counted) % _MODULUS


def _place(uid: str) -> str:
    return f"tally/{uid}"


def _read_sum(reading: Reading, sealer: Sealer, uid: str) -> int | None:
    """The sum of a person's rows as it was kept; None without, or of a changed one."""
    kept = reading.setting(_place(uid))
    try:
        return int.from_bytes(sealer.open(kept, _place(uid)), "big") if kept else None
    except GalleryError:
        return None


def _write_sum(writing: Writing, sealer: Sealer, uid: str, total: int | None) -> None:
    value = None if total is None else sealer.seal((total % _MODULUS).to_bytes(_BYTES, "big"), _place(uid))
    writing.set(_place(uid), value)


def _number(sealer: Sealer, counted: bytes) -> int:
    return int.from_bytes(sealer.digest(counted), "big")


def _row(row: OwnedRow) -> bytes:
    """A row as it counts: of a sealed value nonce and tag, which no other one has."""
    match row:
        case PersonRow():
            values: tuple[object, ...] = "person", row.uid, row.key, _seal(row.record)
        case TemplateRow():
            seals = _seal(row.source), _seal(row.data)
            values = "template", row.person, row.model, row.created_ns, *seals
        case PictureRow():
            values = "picture", row.person, row.created_ns, _seal(row.data)
        case SightingRow():
            values = "sighting", row.person, row.seen_ns, _seal(row.data)
    return msgspec.msgpack.encode(values)


def _model(row: ModelRow) -> bytes:
    values = "model", row.name, row.fingerprint, row.parts, row.dim, _seal(row.calibration)
    return msgspec.msgpack.encode(values)


def _sum(uid: str, total: int) -> bytes:
    return msgspec.msgpack.encode(("sum", uid, total.to_bytes(_BYTES, "big")))


def _setting(name: str, value: bytes) -> bytes:
    return msgspec.msgpack.encode(("setting", name, _seal(value) if name.startswith(_SEALED) else value))


def _seal(sealed: bytes) -> bytes:
    return sealed[:_HEADER] + sealed[_HEADER:][-_TAG:]

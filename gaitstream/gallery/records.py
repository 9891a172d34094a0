"""What is known of a person beside the templates, and how it is written."""

from __future__ import annotations

import re
import secrets

import msgspec

VISITOR_NAME = re.compile(r"visitor-[0-9]+")
"""What visitors are called, and nobody else."""


class PersonRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The part of a person's row that is sealed.

    Attributes:
        name: as events carry it.
        created_ns: UTC nanoseconds of the first enrolment.
        expires_ns: when the person is erased; None for never.
        visitor: this is nobody who was named, but a stranger who may come again.
        apart: uids of visitors and people of whom somebody said that this is not them.
        consent: what the person agreed to and where that is kept, or on what other ground they are enrolled.
        merged: uid and name of everybody who was found to be this person, and the person's own earlier names:
            what `forget` looks for. A visitor's name stands for nobody and is left empty.
    """

    name: str
    created_ns: int
    expires_ns: int | None = None
    visitor: bool = False
    apart: tuple[str, ...] = ()
    consent: str = ""
    merged: tuple[tuple[str, str], ...] = ()


_RECORD = msgspec.json.Decoder(PersonRecord)
"""Made while one thread is here: msgspec breaks down when two meet a type for the first time."""


def with_merged(record: PersonRecord, *others: tuple[str, PersonRecord]) -> PersonRecord:
    """A person's record that also says who else, by uid and record, is this person."""
    merged = list(record.merged)
    for uid, other in others:
        merged += [(uid, "" if other.visitor else other.name), *other.merged]
    return msgspec.structs.replace(record, merged=tuple(dict.fromkeys(merged)))


def as_one(record: PersonRecord, uid: str, other: PersonRecord) -> PersonRecord:
    """The record of a person who another one was found to be.

    What was promised of either holds for both: of two times of erasure the earlier one, and what the other
    is not. Retention counts from the first enrolment.

    Args:
        record: of who stays.
        uid: of the other.
        other: record of the other.
    """
    limits = [one.expires_ns for one in (record, other) if one.expires_ns is not None]
    return msgspec.structs.replace(
        with_merged(record, (uid, other)),
        created_ns=min(record.created_ns, other.created_ns),
        expires_ns=min(limits, default=None),
        apart=tuple(dict.fromkeys((*record.apart, *other.apart))) if record.visitor else record.apart,
        consent=record.consent or other.consent,
    )


def visitor_number(name: str) -> int:
    """The number in a visitor's name."""
    return int(name.removeprefix("visitor-"))


def new_uid() -> str:
    """A name for a person that says nothing of them, 20 hexadecimal digits."""
    return secrets.token_hex(10)


def encode_record(record: PersonRecord) -> bytes:
    """As JSON."""
    return msgspec.json.encode(record)


def decode_record(data: bytes) -> PersonRecord:
    """What `encode_record` wrote."""
    return _RECORD.decode(data)

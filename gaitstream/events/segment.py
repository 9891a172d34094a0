"""One file of the journal: a header, then records that each carry their own mark and checksum.

    header   "GSJ2", 16 bytes of journal id, u64 first sequence number, u64 time of creation, u32 CRC-32
    record   4 bytes of mark, u32 length of the body, u32 CRC-32 of the body
             body: u64 sequence number, u64 time of publishing (UTC ns), 8 bytes of epoch,
                   u16 length of the topic, topic (UTF-8), payload

All integers are big-endian. A record is written by one `pwrite`, so a process that is killed leaves at most
one torn record, at the end of the last file. The mark is what reading goes on from behind a damaged one: its
first byte occurs in no UTF-8 text. A record without a topic is the journal's own: `EPOCHS`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import NamedTuple
from zlib import crc32

from gaitstream.errors import EventError

MAGIC = b"GSJ2"
MARK = b"\xf5GSR"
MAX_BODY_BYTES = 1024 * 1024
"""Largest record; an event has a few hundred bytes."""
MAX_TOPIC_BYTES = 0xFFFF
_HEADER = struct.Struct(">4s16sQQ")
_CRC = struct.Struct(">I")
HEADER_BYTES = _HEADER.size + _CRC.size
_FRAME = struct.Struct(">4sII")
FRAME_BYTES = _FRAME.size
_BODY = struct.Struct(">QQ8sH")
_WHOLE = struct.Struct(">4sIIQQ8sH")


class Record(NamedTuple):
    """One event as it is stored and sent.

    Attributes:
        topic: where it is published.
        seq: its number; unique within an epoch, and rising through the whole journal.
        payload: the encoded event.
        time_ns: UTC nanoseconds of publishing.
        epoch: hexadecimal id of one opening of the journal.
    """

    topic: str
    seq: int
    payload: bytes
    time_ns: int = 0
    epoch: str = ""


record_of: Callable[[tuple[str, int, bytes, int, str]], Record] = partial(tuple.__new__, Record)
"""`Record(*fields)`, at half of its price: one is made for every event that is published or read."""


class Header(NamedTuple):
    """What a file begins with."""

    journal: bytes
    first: int
    created_ns: int


class Parsed(NamedTuple):
    """What some bytes of a file hold.

    Attributes:
        records: the whole, undamaged ones with their offsets in the bytes.
        end: offset behind the last byte that was made sense of; what follows is incomplete or damaged.
        damaged: stretches of bytes that were skipped because they are no record.
    """

    records: list[tuple[int, Record]]
    end: int
    damaged: int


def pack_header(header: Header) -> bytes:
    """The first `HEADER_BYTES` of a file."""
    data = _HEADER.pack(MAGIC, header.journal, header.first, header.created_ns)
    return data + _CRC.pack(crc32(data))


def unpack_header(data: bytes) -> Header | None:
    """A file's header; None when these bytes are none, or damaged."""
    if len(data) < HEADER_BYTES or not data.startswith(MAGIC):
        return None
    if _CRC.unpack_from(data, _HEADER.size)[0] != crc32(data[: _HEADER.size]):
        return None
    _, journal, first, created_ns = _HEADER.unpack_from(data)
    return Header(journal, first, created_ns)


def pack(record: Record) -> bytes:
    """A record's bytes.

    Raises:
        EventError: it is larger than 1 MiB, or its topic than 64 KiB.
    """
    return pack_event(record.topic, record.seq, record.payload, record.time_ns, bytes.fromhex(record.epoch))


def pack_event(topic: str, seq: int, payload: bytes, time_ns: int, epoch: bytes) -> bytes:
    """`pack` of what a record consists of; the epoch as its eight bytes.

    Raises:
        EventError: as for `pack`.
    """
    name = topic.encode()
    if len(name) > MAX_TOPIC_BYTES:
        raise EventError(
            f"a topic of {len(name)} bytes ({topic[:80]}...): at most {MAX_TOPIC_BYTES} are allowed; give "
            "the camera a shorter id"
        )
    if len(name) + len(payload) > MAX_BODY_BYTES:
        raise EventError(
            f"an event of {len(payload)} bytes on {topic[:80]}: at most {MAX_BODY_BYTES} are "
            "allowed; leave out what is not needed"
        )
    body = _BODY.pack(seq, time_ns, epoch, len(name)) + name + payload
    return _FRAME.pack(MARK, len(body), crc32(body)) + body


def unpack(data: bytes, offset: int) -> tuple[Record, int] | None:
    """The record at `offset` and the offset behind it; None when there is no whole, undamaged one."""
    if offset + _WHOLE.size > len(data):
        return None
    mark, length, crc, seq, time_ns, epoch, topic_bytes = _WHOLE.unpack_from(data, offset)
    start = offset + FRAME_BYTES
    end = start + length
    if mark != MARK or length < _BODY.size + topic_bytes or end > len(data):
        return None
    body = data[start:end]
    if crc32(body) != crc:
        return None
    split = _BODY.size + topic_bytes
    try:
        topic = body[_BODY.size : split].decode()
    except UnicodeDecodeError:
        return None
    return record_of((topic, seq, body[split:], time_ns, epoch.hex())), end


def parse(data: bytes, *, whole: bool) -> Parsed:
    """All records in some bytes of a file that begin at a record or anywhere before one.

    Args:
        data: bytes of the file.
        whole: nothing follows. Else an incomplete record at the end is left for the next call.
    """
    records: list[tuple[int, Record]] = []
    offset = damaged = 0
    while offset < len(data):
        found = unpack(data, offset)
        if found is not None:
            records.append((offset, found[0]))
            offset = found[1]
            continue
        resumed = _resume(data, offset)
        if resumed is None:
            if not whole and _may_grow(data, offset):
                break
            offset = len(data) if whole else max(offset, len(data) - len(MARK) + 1)
            damaged += 1
            break
        damaged += 1
        offset = resumed
    return Parsed(records, offset, damaged)


def _resume(data: bytes, offset: int) -> int | None:
    """Where the next whole record behind a bad one begins."""
    at = data.find(MARK, offset + 1)
    while at >= 0:
        if unpack(data, at) is not None:
            return at
        at = data.find(MARK, at + 1)
    return None


def _may_grow(data: bytes, offset: int) -> bool:
    """Whether the bytes at `offset` could be the beginning of a record that ends behind the data."""
    head = data[offset : offset + FRAME_BYTES]
    if len(head) < FRAME_BYTES:
        return MARK.startswith(head[: len(MARK)])
    mark, length, _ = _FRAME.unpack(head)
    plausible = _BODY.size <= length <= MAX_BODY_BYTES + _BODY.size + 0xFFFF
    return bool(mark == MARK and plausible and offset + FRAME_BYTES + length > len(data))
